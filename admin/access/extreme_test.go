package access_test

import (
	"testing"

	"lictor/admin/admintest"
)

func TestSmoke(t *testing.T) {
	admintest.Run(t, func(t *testing.T, s *admintest.Server) {
		for _, x := range [][2]string{
			{"/consumers/", `name="thefosk"&groups=["only_get"]`},
			{"/consumers/", `name="sinzone"&groups=["get_and_post"]`},
			{"/apis/mockbin/acls/", `groups=["only_get"]&methods=["GET"]`},
			{"/apis/mockbin/acls/", `groups=["get_and_post"]&methods=["GET", "POST"]`},
			{"/apis/mockbin/plugins/", `name="rate-limiting"&config.seconds=10`},
			{"/apis/mockbin/plugins/", `name="rate-limiting"&groups=["get_and_post"]&config.seconds=1000`},
			{"/consumers/thefosk/key-auth", `key=abc`},
		} {
			a := s.Want(t, 201, "POST", x[0], x[1])
			t.Log(a.Text, a.Header)
		}
		for _, p := range []string{"/consumers", "/groups/only_get", "/filters", "/plugins", "/apis/mockbin/plugins", "/apis/mockbin/acls", "/mappings", "/mappings/plugins", "/consumers/thefosk/key-auth"} {
			t.Log(p, s.Want(t, 200, "GET", p, "").Text)
		}
		t.Log(s.Policy.Rejected())
	})
}
