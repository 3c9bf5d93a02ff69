package access_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
)

func TestAccessAPI(t *testing.T) { // table C
	t.Run("memory", func(t *testing.T) { admintest.AccessAPI(t, admintest.Memory) })
	t.Run("file", func(t *testing.T) { admintest.AccessAPI(t, admintest.File) })
}

func TestMediaType(t *testing.T) { // C32
	s := admintest.Memory(t)
	for _, kind := range []string{"text/plain", "application/xml", "application/jsonx", "nonsense/", ""} {
		a := s.Want(t, 415, "POST", "/consumers", `{"name":"a"}`, "Content-Type", kind)
		if a.JSON["reason"] != "unsupported_media_type" {
			t.Errorf("%q: got %s", kind, a.Text)
		}
	}
	s.Want(t, 201, "POST", "/consumers", `{"name":"a"}`, "Content-Type", "application/json; charset=utf-8")
}

// TestFromNothing is the way of a new user: five commands to a consumer with a
// key, an ACL and a limit (issue: tried as a new user would).
func TestFromNothing(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/consumers", `name=alice&groups=staff&key=s3cret`)
	s.Want(t, 201, "POST", "/apis/echo/acls", `groups=staff`)
	s.Want(t, 201, "POST", "/apis/echo/plugins", `name=rate-limiting&config.second=5`)
	s.WantDecisions(t, map[string]int{"GET /echo/x s3cret": 200, "GET /echo/x": 401, "GET /echo/x wrong": 401})
	if _, limit := s.Decide(t, "GET /echo/x s3cret"); limit != 5 {
		t.Errorf("the limit is %d, want 5", limit)
	}
}

func TestLocationsWithoutADatabase(t *testing.T) { // C29
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/filters", `name=here&locations=us`)
	s.Want(t, 201, "POST", "/apis/x/acls", `locations=ca`)
	if n := strings.Count(s.Log.String(), "no geoip database is configured"); n != 2 {
		t.Errorf("%d warnings, want 2: %s", n, s.Log.String())
	}
	s.WantDecisions(t, map[string]int{"GET /x/y": 403})
}

// TestManyKeys deletes a consumer with more keys than a transaction holds.
func TestManyKeys(t *testing.T) { // C35
	admintest.Run(t, func(t *testing.T, s *admintest.Server) {
		s.Want(t, 201, "POST", "/consumers", `name=a`)
		for i := range 130 {
			s.Want(t, 201, "POST", "/consumers/a/key-auth", fmt.Sprint("key=k", i))
		}
		s.Want(t, 201, "POST", "/consumers", `name=b&key=other`)
		s.Want(t, 204, "DELETE", "/consumers/a", "")
		if objects, err := s.Store.List(t.Context(), string(policy.KindCredentials)); err != nil || len(objects) != 1 {
			t.Errorf("%d keys are left, %v", len(objects), err)
		}
		s.Want(t, 404, "GET", "/consumers/a", "")
	})
}
