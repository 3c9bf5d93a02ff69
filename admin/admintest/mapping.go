package admintest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"lictor/policy"
)

const something = `{"domain":"something.wmflabs.org","backends":["http://instance-01:3000","http://instance-02:4000"]}`

// MappingAPI holds table B against a server.
func MappingAPI(t *testing.T, open Open) {
	RunCases(t, open, mappingCases)
	RunCases(t, open, mappingValidation)
	t.Run("B2 the answer says where the mapping is", func(t *testing.T) {
		s := open(t)
		a := s.Want(t, 201, "PUT", "/v1/t/mapping", something)
		if got := a.Header.Get("Location"); got != "/v1/t/mapping/something.wmflabs.org" {
			t.Errorf("Location: got %q", got)
		}
		if s.Want(t, 200, "GET", a.Header.Get("Location"), "").Header.Get("ETag") != a.Header.Get("ETag") {
			t.Error("GET has another ETag than the answer to PUT")
		}
	})
	t.Run("B2 a body is JSON whatever its type says, elsewhere it has to say so", func(t *testing.T) {
		s := open(t)
		s.Want(t, 201, "PUT", "/v1/t/mapping", something, "Content-Type", "application/json; charset=utf-8")
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""} {
			s.Want(t, 200, "PUT", "/v1/t/mapping", something, "Content-Type", kind)
			s.Want(t, 200, "PUT", "/v1/t/mapping/something.wmflabs.org", something, "Content-Type", kind)
			s.Want(t, 415, "POST", "/policy/objects", `{"operations":[]}`, "Content-Type", kind)
		}
		s.Want(t, 415, "POST", "/v1/t/mapping/something.wmflabs.org", something, "Content-Type", "text/plain") // there is no token
	})
	t.Run("B4 of twenty tenants who create a domain at once one gets it", func(t *testing.T) { oneGetsIt(t, open(t)) })
	t.Run("B8 the order is that of creation, over update and rename", func(t *testing.T) { insertOrder(t, open(t)) })
	t.Run("B13 a body of more than 1 MB is refused", func(t *testing.T) {
		long := `{"domain":"a.b","backends":["http://h/` + strings.Repeat("x", 1<<20) + `"]}`
		open(t).Play(t, Step{"PUT", "/v1/t/mapping", long, 413, `{"reason":"body_too_large"}`})
	})
	t.Run("B18 a tenant may be long, but not longer", func(t *testing.T) {
		s := open(t)
		s.Want(t, 201, "PUT", "/v1/"+strings.Repeat("t", 256)+"/mapping", something)
		s.Want(t, 400, "GET", "/v1/"+strings.Repeat("t", 257)+"/mapping", "")
	})
	t.Run("B19 another method gets Allow", func(t *testing.T) {
		s := open(t)
		for path, want := range map[string]string{"/v1/t/mapping": "GET, HEAD, PUT", "/v1/t/mapping/a.b": "DELETE, GET, HEAD, POST, PUT"} {
			if got := s.Want(t, 405, "PATCH", path, "{}").Header.Get("Allow"); got != want {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
		}
	})
	t.Run("an update that lost the race is refused by its ETag", func(t *testing.T) {
		s := open(t)
		first := s.Want(t, 201, "PUT", "/v1/t/mapping", something).Header.Get("ETag")
		second := s.Want(t, 200, "POST", "/v1/t/mapping/something.wmflabs.org", something, "If-Match", first).Header.Get("ETag")
		s.Want(t, 412, "POST", "/v1/t/mapping/something.wmflabs.org", something, "If-Match", first)
		s.Want(t, 412, "DELETE", "/v1/t/mapping/something.wmflabs.org", "", "If-Match", first)
		s.Want(t, 412, "PUT", "/v1/t/mapping", something, "If-None-Match", "*")
		s.Want(t, 204, "DELETE", "/v1/t/mapping/something.wmflabs.org", "", "If-Match", second)
	})
}

var mappingCases = []Case{
	{"B1 versions", []Step{
		{"GET", "/v1/t/mapping", "", 200, ""},
		{"GET", "/t/mapping", "", 404, ""},
		{"GET", "/v2/t/mapping", "", 404, "Unsupported API version v2; supported: v1"},
		{"PUT", "/v2/t/mapping", something, 404, `{"reason":"unsupported_version"}`},
		{"GET", "/v10", "", 404, `{"reason":"unsupported_version"}`},
		{"GET", "/v1/t/other", "", 404, `{"reason":"not_found"}`},
	}},
	{"B2 B5 B12 create, get, delete", []Step{
		{"PUT", "/v1/t/mapping", something, 201, something},
		{"GET", "/v1/t/mapping/something.wmflabs.org", "", 200, something},
		{"GET", "/v1/t/mapping/Something.WMFlabs.org.", "", 200, something},
		{"DELETE", "/v1/t/mapping/something.wmflabs.org", "", 204, ""},
		{"GET", "/v1/t/mapping/something.wmflabs.org", "", 404, "Not found"},
		{"DELETE", "/v1/t/mapping/something.wmflabs.org", "", 404, "Not found"},
	}},
	{"B3 create again replaces", []Step{
		{"PUT", "/v1/t/mapping", something, 201, ""},
		{"PUT", "/v1/t/mapping", something, 200, something},
		{"PUT", "/v1/t/mapping", `{"domain":"something.wmflabs.org","backends":["http://h"]}`, 200, `{"backends":["http://h"]}`},
	}},
	{"B4 B5 a domain of another tenant", []Step{
		{"PUT", "/v1/a/mapping", something, 201, ""},
		{"PUT", "/v1/b/mapping", something, 409, "Domain already in use"},
		{"GET", "/v1/b/mapping/something.wmflabs.org", "", 404, ""},
		{"POST", "/v1/b/mapping/something.wmflabs.org", something, 404, ""},
		{"DELETE", "/v1/b/mapping/something.wmflabs.org", "", 404, ""},
		{"GET", "/v1/a/mapping/something.wmflabs.org", "", 200, something},
	}},
	{"B6 B7 lists", []Step{
		{"GET", "/v1/t/mapping", "", 200, `{"project":"t","routes":[],"total":0,"offset":0,"limit":50}`},
		{"PUT", "/v1/t/mapping", `{"domain":"b.x","backends":["http://h"]}`, 201, ""},
		{"PUT", "/v1/t/mapping", `{"domain":"a.x","backends":["http://h"]}`, 201, ""},
		{"PUT", "/v1/u/mapping", `{"domain":"c.x","backends":["http://h"]}`, 201, ""},
		{"GET", "/v1/t/mapping", "", 200, `{"routes":[{"domain":"b.x","backends":["http://h"]},{"domain":"a.x"}],"total":2}`},
		{"GET", "/v1/t/mapping?offset=1&limit=1", "", 200, `{"routes":[{"domain":"a.x"}],"total":2,"offset":1,"limit":1}`},
		{"GET", "/v1/t/mapping?offset=7", "", 200, `{"routes":[],"total":2,"offset":7}`},
		{"GET", "/v1/t/mapping?limit=99999999999999999999", "", 200, `{"limit":1000}`},
		{"GET", "/v1/t/mapping?limit=0", "", 400, ""},
		{"GET", "/v1/t/mapping?limit=-1", "", 400, ""},
		{"GET", "/v1/t/mapping?limit=x", "", 400, ""},
		{"GET", "/v1/t/mapping?offset=-1", "", 400, ""},
		{"GET", "/v1/t/mapping?offset=", "", 400, ""},
	}},
	{"B9 B10 update by POST and PUT, of what there is", []Step{
		{"POST", "/v1/t/mapping/something.wmflabs.org", something, 404, "Not found"},
		{"PUT", "/v1/t/mapping/something.wmflabs.org", something, 404, "Not found"},
		{"PUT", "/v1/t/mapping", something, 201, ""},
		{"POST", "/v1/t/mapping/something.wmflabs.org", `{"domain":"something.wmflabs.org","backends":["http://a"]}`, 200, `{"backends":["http://a"]}`},
		{"PUT", "/v1/t/mapping/something.wmflabs.org", `{"domain":"something.wmflabs.org","backends":["http://b"]}`, 200, `{"backends":["http://b"]}`},
		{"GET", "/v1/t/mapping/something.wmflabs.org", "", 200, `{"backends":["http://b"]}`},
	}},
	{"B11 rename", []Step{
		{"PUT", "/v1/t/mapping", `{"domain":"a.x","backends":["http://h"]}`, 201, ""},
		{"PUT", "/v1/t/mapping", `{"domain":"b.x","backends":["http://h"]}`, 201, ""},
		{"PUT", "/v1/u/mapping", `{"domain":"c.x","backends":["http://h"]}`, 201, ""},
		{"POST", "/v1/t/mapping/a.x", `{"domain":"b.x","backends":["http://n"]}`, 409, "Domain already in use"},
		{"POST", "/v1/t/mapping/a.x", `{"domain":"c.x","backends":["http://n"]}`, 409, "Domain already in use"},
		{"GET", "/v1/t/mapping/a.x", "", 200, `{"backends":["http://h"]}`},
		{"GET", "/v1/t/mapping/b.x", "", 200, `{"backends":["http://h"]}`},
		{"POST", "/v1/t/mapping/a.x", `{"domain":"d.x","backends":["http://n"]}`, 200, `{"domain":"d.x","backends":["http://n"]}`},
		{"GET", "/v1/t/mapping/a.x", "", 404, ""},
		{"GET", "/v1/t/mapping/d.x", "", 200, `{"backends":["http://n"]}`},
	}},
	{"B14 wildcards", []Step{
		{"PUT", "/v1/t/mapping", `{"domain":"*.Example.org.","backends":["http://h"]}`, 201, `{"domain":"*.example.org"}`},
		{"GET", "/v1/t/mapping/*.example.org", "", 200, ""},
		{"GET", "/v1/t/mapping/%2A.example.org", "", 200, ""},
		{"PUT", "/v1/t/mapping", `{"domain":"a.*.org","backends":["http://h"]}`, 400, ""},
	}},
	{"B18 the form of tenants", []Step{
		{"PUT", "/v1/a.B_0~-/mapping", something, 201, ""},
		{"GET", "/v1/%61.B_0~-/mapping/something.wmflabs.org", "", 200, something},
		{"GET", "/v1/.../mapping", "", 200, `{"total":0}`},
		{"GET", "/v1/a%2Fb/mapping", "", 400, `{"reason":"invalid"}`},
		{"GET", "/v1/a%2561/mapping", "", 400, ""},
		{"GET", "/v1/%C3%A4/mapping", "", 400, ""},
	}},
	{"B20 a slash at the end changes nothing", []Step{
		{"PUT", "/v1/t/mapping/", something, 201, ""},
		{"GET", "/v1/t/mapping/", "", 200, `{"total":1}`},
		{"GET", "/v1/t/mapping/something.wmflabs.org/", "", 200, something},
	}},
}

var mappingValidation = func() []Case {
	c := Case{Name: "B13 validation"}
	for _, body := range []string{
		``, `nonsense`, `[]`, `null`, `{}`, `{"domain":"a.b"}`, `{"backends":["http://h"]}`,
		`{"Domain":"a.b","Backends":["http://h"]}`, `{"domain":5,"backends":["http://h"]}`, `{"domain":null,"backends":["http://h"]}`,
		`{"domain":"a.b","backends":[]}`, `{"domain":"a.b","backends":"http://h"}`, `{"domain":"a.b","backends":[null]}`,
		`{"domain":"nodot","backends":["http://h"]}`, `{"domain":"a..b","backends":["http://h"]}`, `{"domain":"-a.b","backends":["http://h"]}`,
		`{"domain":"a-.b","backends":["http://h"]}`, `{"domain":"a_b.c","backends":["http://h"]}`, `{"domain":"a.b..","backends":["http://h"]}`,
		`{"domain":"` + strings.Repeat("a", 64) + `.b","backends":["http://h"]}`, `{"domain":"` + strings.Repeat("a.", 127) + `ab","backends":["http://h"]}`,
		`{"domain":"a.b","backends":["h:80"]}`, `{"domain":"a.b","backends":["ftp://h"]}`, `{"domain":"a.b","backends":["http://"]}`,
		`{"domain":"a.b","backends":["http://h?q"]}`, `{"domain":"a.b","backends":["http://h#f"]}`, `{"domain":"a.b","backends":["http://u@h"]}`,
	} {
		c.Steps = append(c.Steps, Step{"PUT", "/v1/t/mapping", body, 400, `{"reason":"invalid"}`})
	}
	c.Steps = append(c.Steps,
		Step{"GET", "/v1/t/mapping", "", 200, `{"total":0}`},
		Step{"PUT", "/v1/t/mapping", `{"domain":"A.b.","backends":["http://h/p","http://h/p","https://[::1]:8"],"more":[1]}`, 201, `{"domain":"a.b","backends":["http://h/p","https://[::1]:8"],"more":null}`},
		Step{"PUT", "/v1/t/mapping", `{"domain":"` + strings.Repeat("a", 63) + `.b","backends":["http://h"]}`, 201, ""})
	return []Case{c}
}()

// oneGetsIt has twenty tenants ask for a domain at the same time (B4).
func oneGetsIt(t *testing.T, s *Server) {
	const tenants = 20
	status := make([]int, tenants)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range tenants {
		wg.Go(func() {
			<-start
			status[i] = s.Do("PUT", fmt.Sprintf("/v1/tenant-%d/mapping", i), something).Status
		})
	}
	close(start)
	wg.Wait()
	slices.Sort(status)
	if status[0] != 201 || status[1] != 409 || status[tenants-1] != 409 {
		t.Errorf("got %v, want one 201 and nineteen 409", status)
	}
}

// insertOrder updates and renames, and looks at the order (B3, B8).
func insertOrder(t *testing.T, s *Server) {
	body := func(domain string) string { return `{"domain":"` + domain + `","backends":["http://h"]}` }
	for _, domain := range []string{"d.x", "c.x", "b.x", "a.x"} {
		s.Want(t, 201, "PUT", "/v1/t/mapping", body(domain))
	}
	s.Want(t, 200, "PUT", "/v1/t/mapping", body("d.x"))
	s.Want(t, 200, "POST", "/v1/t/mapping/c.x", body("z.x"))
	s.Want(t, 200, "PUT", "/v1/t/mapping/z.x", body("y.x"))
	s.Want(t, 200, "PUT", "/v1/t/mapping/b.x", body("b.x"))
	s.Play(t, Step{"GET", "/v1/t/mapping", "", 200, `{"routes":[{"domain":"d.x"},{"domain":"y.x"},{"domain":"b.x"},{"domain":"a.x"}]}`})
	if value := s.Value(policy.KindMappings, "y.x"); !strings.Contains(value, `"seq":`) {
		t.Errorf("got %s, want a sequence number in the value", value)
	}
}
