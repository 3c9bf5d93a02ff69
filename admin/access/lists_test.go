package access_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/admintest"
	"lictor/internal/eventually"
	"lictor/policy"
	dirstore "lictor/policy/store/dir"
)

// names are those of the objects that a list shows.
func names(a admintest.Answer) string {
	var all []string
	data, _ := a.JSON["data"].([]any)
	for _, o := range data {
		m := o.(map[string]any)
		for _, name := range []string{"name", "id"} {
			if text, ok := m[name].(string); ok {
				all = append(all, text)
				break
			}
		}
	}
	return strings.Join(all, " ")
}

func TestListsAreNarrowed(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/consumers", `name=a&custom_id=1&groups=g,h`)
	s.Want(t, 201, "POST", "/consumers", `name=b&custom_id=2&groups=g`)
	s.Want(t, 201, "POST", "/consumers", `name=c&groups=h`)
	s.Want(t, 201, "POST", "/plugins", `id=p&name=key-auth&enabled=false`)
	s.Want(t, 201, "POST", "/plugins", `id=q&name=rate-limiting&config.minute=5`)
	s.Want(t, 201, "PUT", "/mappings/acls/x", `api=svc&consumers=a&methods=GET`)
	s.Want(t, 201, "PUT", "/mappings/acls/y", `api=other&groups=g`)
	s.Want(t, 201, "PUT", "/apis/svc/plugins/r", `name=key-auth&groups=g`)
	s.Want(t, 201, "PUT", "/v1/t/mapping", `{"domain":"a.example","backends":["http://h"]}`)
	s.Want(t, 201, "PUT", "/v1/t/mapping", `{"domain":"b.example","backends":["http://h"]}`)
	for _, tt := range []struct{ path, want string }{
		{"/consumers?custom_id=nobody", ""},
		{"/consumers?custom_id=2", "b"},
		{"/consumers?name=a", "a"},
		{"/consumers?username=c", "c"},
		{"/consumers?groups=g", "a b"},
		{"/consumers?groups=g&groups=h", "a"},
		{"/consumers?groups=g&custom_id=2", "b"},
		{"/consumers?custom_id=", ""},
		{"/consumers?held", ""},
		{"/consumers?held=false", "a b c"},
		{"/consumers?limit=2", "a b"},
		{"/consumers?size=1", "a"},
		{"/consumers?size=1&groups=h", "a"},
		{"/plugins?name=key-auth", "key-auth key-auth"},
		{"/plugins?enabled=false", "key-auth"},
		{"/plugins?id=q", "rate-limiting"},
		{"/mappings/acls?api=svc", "x"},
		{"/mappings/acls?consumers=a", "x"},
		{"/apis/svc/acls?methods=GET", "x"},
		{"/apis/svc/acls?methods=PUT", ""},
		{"/mappings?groups=g&type=acl", "y"},
		{"/apis/svc/plugins?groups=g", "key-auth"},
		{"/apis/svc/plugins?groups=h", ""},
	} {
		if got := names(s.Want(t, 200, "GET", tt.path, "")); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
	}
	for _, path := range []string{
		"/consumers?nonsense=1", "/consumers?key=k", "/plugins?config=x", "/consumers?size=0", "/consumers?limit=x", "/consumers?limit=1001",
		"/consumers?size=1&limit=2", "/consumers?held=x", "/apis/svc/acls?plugins=p", "/apis/svc/plugins?nonsense", "/mappings?nonsense=1", "/blacklist?x=%zz",
		"/v1/t/mapping?nonsense=1", "/v1/t/mapping?size=1&limit=2", "/policy/objects?nonsense",
	} {
		s.Want(t, 400, "GET", path, "")
	}
	for path, want := range map[string]float64{"/v1/t/mapping?size=1": 2, "/v1/t/mapping?limit=1": 2, "/v1/t/mapping?domain=B.example.": 1, "/v1/t/mapping?domain=c.example": 0, "/v1/t/mapping?held": 0} {
		a := s.Want(t, 200, "GET", path, "")
		if routes := a.JSON["routes"].([]any); a.JSON["total"] != want || len(routes) > 1 {
			t.Errorf("%s: got %s", path, a.Text)
		}
	}
	// The next page is one of what was asked for.
	first := s.Want(t, 200, "GET", "/consumers?groups=h&limit=1", "")
	if got := names(s.Want(t, 200, "GET", first.JSON["next"].(string), "")); names(first) != "a" || got != "c" || first.JSON["total"] != float64(2) {
		t.Errorf("got %s, then %s", first.Text, got)
	}
}

func TestWhatTheClientHasIsNotSentAgain(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/consumers", `name=a`)
	s.Want(t, 201, "PUT", "/v1/t/mapping", `{"domain":"a.example","backends":["http://h"]}`)
	s.Want(t, 201, "POST", "/groups", `name=g`)
	for _, path := range []string{"/consumers/a", "/v1/t/mapping/a.example"} {
		tag := s.Want(t, 200, "GET", path, "").Header.Get("ETag")
		for _, have := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			if a := s.Want(t, 304, "GET", path, "", "If-None-Match", have); a.Text != "" || a.Header.Get("ETag") != tag {
				t.Errorf("%s: got %q with the tag %s", have, a.Text, a.Header.Get("ETag"))
			}
		}
		s.Want(t, 200, "GET", path, "", "If-None-Match", `"x"`)
	}
	// Who is in a group is not said by its own ETag.
	tag := s.Want(t, 200, "GET", "/groups/g", "").Header.Get("ETag")
	s.Want(t, 200, "GET", "/groups/g", "", "If-None-Match", tag)
}

// TestSpellings changes settings by their other names, and numbers by theirs.
func TestSpellings(t *testing.T) {
	for _, tt := range []struct{ name, made, changed, want string }{
		{"plural by singular", `config.seconds=5`, `config.second=6`, `{"second":6}`},
		{"singular by plural", `config.minute=5`, `{"config":{"minutes":6}}`, `{"minutes":6}`},
		{"taken away by the other name", `config.seconds=5&config.minutes=9`, `{"config":{"second":null}}`, `{"minutes":9}`},
		{"a decimal", `config.second=5`, `{"config":{"second":10.0}}`, `{"second":10}`},
		{"an exponent", `config.second=5`, `{"config":{"second":1e1}}`, `{"second":10}`},
		{"a decimal in a form", `config.second=5`, `config.second=1.2e1`, `{"second":12}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := admintest.Memory(t)
			s.Want(t, 201, "POST", "/plugins", `id=p&name=rate-limiting&`+tt.made)
			text, err := json.Marshal(s.Want(t, 200, "PATCH", "/plugins/p", tt.changed).JSON["config"])
			if err != nil || string(text) != tt.want {
				t.Errorf("got %s, want %s", text, tt.want)
			}
			for _, bad := range []string{"10.5", "1e-1", "1e400", "0x10", "NaN", "1e30", "1_0", "-1"} {
				s.Want(t, 400, "PATCH", "/plugins/p", "config.second="+bad)
			}
			s.Want(t, 400, "PATCH", "/plugins/p", `{"config":{"second":1,"seconds":1}}`)
		})
	}
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/plugins", `id=p&name=key-auth&config.keynames=a`)
	s.Play(t, admintest.Step{Method: "PATCH", Path: "/plugins/p", Body: `config.key_names=b`, Status: 200, Want: `{"config":{"key_names":["b"]}}`})
	s.Want(t, 201, "POST", "/consumers", "\xef\xbb\xbf"+`{"name":"x"}`, "Content-Type", "application/json")
	s.Want(t, 201, "PUT", "/v1/t/mapping", "\xef\xbb\xbf"+`{"domain":"a.example","backends":["http://h"]}`)
	s.Want(t, 200, "POST", "/policy/objects", "\xef\xbb\xbf"+`{"operations":[{"op":"put","key":"groups/g","value":"e30="}]}`, "Content-Type", "application/json")
}

// TestHeldObjects loses a whole kind, which is not believed, and then reads,
// changes and revokes what is held.
func TestHeldObjects(t *testing.T) {
	dir := t.TempDir()
	files, err := dirstore.New(dirstore.Config{Dir: dir, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	s := admintest.Start(t, files)
	for _, name := range []string{"a", "b", "c", "d"} {
		s.Want(t, 201, "POST", "/consumers", "name="+name+"&key=k"+name)
	}
	s.Want(t, 201, "POST", "/apis/x/acls", `consumers=a,b,c,d`)
	s.Want(t, 201, "PUT", "/v1/t/mapping", `{"domain":"a.example","backends":["http://h"]}`)
	// At one moment: files that go one by one are deleted ones.
	if err := os.Rename(filepath.Join(dir, string(policy.KindConsumers)), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "four objects are held", func() bool { return len(files.Held()) == 4 })
	if got := names(s.Want(t, 200, "GET", "/consumers?held", "")); got != "a b c d" {
		t.Errorf("held are %q", got)
	}
	if n := len(s.Want(t, 200, "GET", "/policy/objects?held", "").JSON["objects"].([]any)); n != 4 {
		t.Errorf("%d documents are held", n)
	}
	shown := s.Play(t, admintest.Step{Method: "GET", Path: "/consumers/a", Status: 200, Want: `{"name":"a","held":true}`})
	s.Play(t, admintest.Step{Method: "PATCH", Path: "/consumers/a", Body: `custom_id=1`, Status: 200, Want: `{"custom_id":"1","held":null}`})
	s.Want(t, 204, "DELETE", "/consumers/b", "")
	s.Want(t, 404, "GET", "/consumers/b", "")
	s.WantDecisions(t, map[string]int{"GET /x/y ka": 200, "GET /x/y kb": 401, "GET /x/y kc": 200})
	s.Want(t, 200, "PUT", "/consumers/a", shown.Compact()) // with held, as it was shown
	s.Want(t, 409, "POST", "/consumers", `name=c`)
	if got := names(s.Want(t, 200, "GET", "/consumers?held", "")); got != "c d" {
		t.Errorf("held are %q", got)
	}
}

func TestACustomIDIsOneConsumers(t *testing.T) {
	s := admintest.Memory(t)
	s.Want(t, 201, "POST", "/consumers", `name=a&custom_id=1`)
	s.Want(t, 201, "POST", "/consumers", `name=b`)
	for _, tt := range [][3]string{{"POST", "/consumers", `name=c&custom_id=1`}, {"PATCH", "/consumers/b", `custom_id=1`}, {"PUT", "/consumers/b", `custom_id=1`}, {"PUT", "/consumers/c", `custom_id=1`}} {
		a := s.Want(t, 409, tt[0], tt[1], tt[2])
		if a.JSON["reason"] != "already_exists" || !strings.Contains(a.Text, `"custom_id"`) {
			t.Errorf("%v: got %s", tt, a.Text)
		}
	}
	s.Want(t, 200, "PUT", "/consumers/a", `custom_id=1&groups=g`)
	s.Want(t, 200, "PATCH", "/consumers/a", `custom_id=2`)
	s.Want(t, 200, "PATCH", "/consumers/b", `custom_id=1`)
}

// TestAnswersWarn writes what is valid and does not do what it seems to.
func TestAnswersWarn(t *testing.T) {
	s := admintest.Memory(t)
	s.Notes = true
	s.Write(t, policy.KindACLs, "ghosts", `{"api":"x","consumers":["ghost"],"groups":["nobody"],"filters":["none"]}`)
	for _, tt := range []struct {
		status             int
		method, path, body string
		want               []string
	}{
		{201, "PUT", "/apis/chaat/acls/a", `groups=staff`, []string{"chaat"}},
		{200, "PATCH", "/mappings/acls/a", `mode=report`, []string{"chaat"}},
		{200, "GET", "/mappings/acls/ghosts", "", []string{"ghost", "nobody", "none"}},
		{201, "POST", "/apis/chaat/plugins", `name=key-auth`, []string{"chaat"}},
		{201, "POST", "/mappings", `api=chaat&methods=GET`, []string{"chaat"}},
		{201, "POST", "/consumers", `name=c`, nil},
		{200, "POST", "/policy/objects", `{"operations":[{"op":"put","key":"acls/b","value":"eyJhcGkiOiJjaGFhdCIsImdyb3VwcyI6WyJnaG9zdHMiXX0="}]}`, []string{"acls/b", "chaat", "ghosts"}},
	} {
		a := s.Want(t, tt.status, tt.method, tt.path, tt.body)
		text := fmt.Sprint(a.JSON["warnings"])
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s %s: got the warnings %s, want %q among them", tt.method, tt.path, text, want)
			}
		}
		if tt.want == nil && a.JSON["warnings"] != nil {
			t.Errorf("%s %s: got the warnings %s", tt.method, tt.path, text)
		}
	}
}
