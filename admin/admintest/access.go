package admintest

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"lictor/policy"
)

// AccessAPI holds table C against a server.
func AccessAPI(t *testing.T, open Open) {
	RunCases(t, open, accessCases)
	RunCases(t, open, ruleCases)
	RunCases(t, open, bodyCases)
	for name, example := range map[string][]Step{"short form": ExtremeShort, "filters": ExtremeFilters, "mappings": ExtremeLong} {
		t.Run("the extreme example in the "+name, func(t *testing.T) { extreme(t, open(t), example) })
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Server)
	}{
		{"C2 C21 a request that fails changes nothing", nothingHalf},
		{"C12 a plugin that was mapped is not global again", mappedMark},
		{"C14 of ten who make the same plugin at once one does", onePlugin},
		{"C21 the store has no key", hashedKeys},
		{"C28 an inline filter lives with its ACL", inlineFilter},
		{"C32 multipart", multipartBody},
		{"C32 a body of more than 10 MB is refused", func(t *testing.T, s *Server) {
			s.Play(t, Step{"POST", "/consumers", `{"name":"` + strings.Repeat("x", 10<<20) + `"}`, 413, `{"reason":"body_too_large"}`})
		}},
		{"C33 every object takes every verb", everyVerb},
		{"C33 If-Match", ifMatch},
		{"C34 pages stay as they are while others write", stablePages},
		{"C35 a consumer who is gone leaves nothing to the next of the name", consumerGone},
		{"C35 nor does one who was written by hand", handWrittenGone},
		{"C35 the last objects can be deleted together", lastObjects},
		{"what is written by hand is shown and edited", handWritten},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// The extreme example, as the seed prints it.
var ExtremeShort = []Step{
	{"POST", "/consumers/", `name="thefosk"&groups=["only_get"]`, 201, `{"name":"thefosk","username":"thefosk","groups":["only_get"]}`},
	{"POST", "/consumers/", `name="sinzone"&groups=["get_and_post"]`, 201, ""},
	{"POST", "/apis/mockbin/acls/", `groups=["only_get"]&methods=["GET"]`, 201, `{"api":"mockbin","groups":["only_get"],"methods":["GET"]}`},
	{"POST", "/apis/mockbin/acls/", `groups=["get_and_post"]&methods=["GET", "POST"]`, 201, `{"methods":["GET","POST"]}`},
	{"POST", "/apis/mockbin/plugins/", `name="rate-limiting"&config.seconds=10`, 201, `{"name":"rate-limiting","config":{"seconds":10},"api":"mockbin","groups":[],"global":false}`},
	{"POST", "/apis/mockbin/plugins/", `name="rate-limiting"&groups=["get_and_post"]&config.seconds=1000`, 201, `{"config":{"seconds":1000},"groups":["get_and_post"]}`},
}

// The same with filters of their own.
var ExtremeFilters = []Step{
	{"POST", "/consumers/", `name="thefosk"&groups=["only_get"]`, 201, ""},
	{"POST", "/consumers/", `name="sinzone"&groups=["get_and_post"]`, 201, ""},
	{"POST", "/filters/", `name="only_get_filter"&methods=["GET"]`, 201, `{"name":"only_get_filter","methods":["GET"],"hosts":null}`},
	{"POST", "/filters/", `name="get_and_post_filter"&methods=["GET", "POST"]`, 201, ""},
	{"POST", "/apis/mockbin/acls/", `groups=["only_get"]&filters=["only_get_filter"]`, 201, `{"filters":["only_get_filter"],"methods":null}`},
	{"POST", "/apis/mockbin/acls/", `groups=["get_and_post"]&filters=["get_and_post_filter"]`, 201, ""},
	{"POST", "/apis/mockbin/plugins/", `name="rate-limiting"&config.seconds=10`, 201, ""},
	{"POST", "/apis/mockbin/plugins/", `name="rate-limiting"&groups=["get_and_post"]&config.seconds=1000`, 201, ""},
}

// The same in the long form of the middle sections.
var ExtremeLong = []Step{
	{"POST", "/consumers/", `name="thefosk"`, 201, ""},
	{"POST", "/consumers/", `name="sinzone"`, 201, ""},
	{"POST", "/groups/", `name="only_get"&consumers=["thefosk"]`, 201, `{"name":"only_get","consumers":["thefosk"],"plugins":[]}`},
	{"POST", "/groups/", `name="get_and_post"&consumers=["sinzone"]`, 201, ""},
	{"POST", "/mappings/acls/", `api="mockbin"&groups=["only_get"]&methods=["GET"]`, 201, ""},
	{"POST", "/mappings/acls/", `api="mockbin"&groups=["get_and_post"]&methods=["GET", "POST"]`, 201, ""},
	{"POST", "/plugins/", `id="plugin_configuration_1"&name="rate-limiting"&config.seconds=10`, 201, `{"id":"plugin_configuration_1","global":true}`},
	{"POST", "/mappings/plugins/", `api="mockbin"&plugins=["plugin_configuration_1"]`, 201, ""},
	{"POST", "/plugins/", `id="plugin_configuration_2"&name="rate-limiting"&config.seconds=1000`, 201, ""},
	{"POST", "/mappings/plugins/", `api="mockbin"&groups=["get_and_post"]&plugins=["plugin_configuration_2"]`, 201, ""},
}

// ExtremeKeys gives the two consumers of the example keys.
var ExtremeKeys = []Step{
	{"POST", "/consumers/thefosk/key-auth/", `key=k-thefosk`, 201, `{"key":"k-thefosk"}`},
	{"POST", "/consumers/sinzone/key-auth/", `key=k-sinzone`, 201, ""},
}

func extreme(t *testing.T, s *Server, steps []Step) {
	for _, step := range append(steps, ExtremeKeys...) {
		s.Play(t, step)
	}
	s.WantDecisions(t, map[string]int{ // C4, C5, C7, C22
		"GET /mockbin/x k-thefosk": 200, "POST /mockbin/x k-thefosk": 403, "HEAD /mockbin/x k-thefosk": 403,
		"GET /mockbin/x k-sinzone": 200, "POST /mockbin/x k-sinzone": 200, "DELETE /mockbin/x k-sinzone": 403,
		"GET /mockbin/x": 401, "GET /mockbin/x nobody": 401, "GET /other/x": 200, "POST /other/x k-thefosk": 200,
	})
	for line, want := range map[string]int{"GET /mockbin/x k-thefosk": 10, "GET /mockbin/x k-sinzone": 1000, "GET /other/x": 0} { // C15
		if _, limit := s.Decide(t, line); limit != want {
			t.Errorf("%s: the limit is %d, want %d", line, limit, want)
		}
	}
}

func nothingHalf(t *testing.T, s *Server) {
	s.Want(t, 201, "POST", "/consumers", `name=a&key=secret`)
	s.Play(t, Step{"POST", "/consumers", `name=b&groups=new&key=fresh&keys=secret`, 409, "key is already in use"})
	s.Want(t, 404, "GET", "/consumers/b", "")
	s.Want(t, 404, "GET", "/groups/new", "")
	s.WantDecisions(t, map[string]int{"GET /x fresh": 200})
	s.Play(t, Step{"GET", "/consumers/a/key-auth", "", 200, `{"total":1}`})
	s.Want(t, 400, "POST", "/groups", `name=g&consumers=a,nobody`)
	s.Play(t, Step{"GET", "/consumers/a", "", 200, `{"groups":[]}`})
	s.Want(t, 400, "POST", "/mappings/acls", `api=x&groups=g2&filters=none`)
	s.Want(t, 404, "GET", "/groups/g2", "")
}

func mappedMark(t *testing.T, s *Server) {
	limit := func(line string, want int) {
		t.Helper()
		if _, got := s.Decide(t, line); got != want {
			t.Errorf("%s: the limit is %d, want %d", line, got, want)
		}
	}
	s.Want(t, 201, "POST", "/plugins", `id=p&name=rate-limiting&config.second=7`)
	limit("GET /a/x", 7)
	limit("GET /b/x", 7)
	id := s.Want(t, 201, "POST", "/mappings/plugins", `api=a&plugins=p`).JSON["id"].(string)
	s.Play(t, Step{"GET", "/plugins/p", "", 200, `{"global":false}`})
	limit("GET /a/x", 7)
	limit("GET /b/x", 0)
	s.Play(t, Step{"PATCH", "/plugins/p", `global=true`, 409, `{"reason":"in_use"}`})
	s.Want(t, 204, "DELETE", "/mappings/plugins/"+id, "")
	s.Play(t, Step{"GET", "/plugins/p", "", 200, `{"global":false}`})
	limit("GET /a/x", 0)
	s.Want(t, 200, "PUT", "/plugins/p", `name=rate-limiting&config.second=8`) // PUT does not take the mark away
	limit("GET /a/x", 0)
	s.Play(t, Step{"PATCH", "/plugins/p", `global=true`, 200, `{"global":true,"config":{"second":8}}`})
	limit("GET /b/x", 8)

	// The same through a group, whichever comes first.
	s.Want(t, 201, "POST", "/groups", `name=g&plugins=p`)
	limit("GET /b/x", 8)
	s.Want(t, 201, "POST", "/mappings/plugins", `api=a&groups=g`)
	limit("GET /a/x", 8)
	limit("GET /b/x", 0)
	s.Want(t, 201, "POST", "/plugins", `id=q&name=key-auth`)
	s.WantDecisions(t, map[string]int{"GET /b/x": 401})
	s.Want(t, 200, "PATCH", "/groups/g", `plugins=p,q`)
	s.WantDecisions(t, map[string]int{"GET /a/x": 401, "GET /b/x": 200})
	s.Want(t, 200, "PATCH", "/groups/g", `plugins=p`)
	s.WantDecisions(t, map[string]int{"GET /a/x": 200, "GET /b/x": 200})
}

func onePlugin(t *testing.T, s *Server) {
	const clients = 10
	status := make([]int, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			status[i] = s.Do("POST", "/apis/x/plugins", `name=rate-limiting&groups=g&methods=get&config.second=5`).Status
		})
	}
	wg.Wait()
	slices.Sort(status)
	if status[0] != 201 || status[1] != 409 || status[clients-1] != 409 {
		t.Errorf("got %v, want one 201 and else 409", status)
	}
	s.Play(t, Step{"GET", "/apis/x/plugins", "", 200, `{"total":1}`})
	s.Play(t, Step{"GET", "/plugins", "", 200, `{"total":1}`})
	s.Want(t, 409, "POST", "/apis/x/plugins", `name=rate-limiting&groups=g&methods=GET&config.second=6`)
	s.Want(t, 201, "POST", "/apis/x/plugins", `name=rate-limiting&groups=g&methods=PUT&config.second=6`)
}

func hashedKeys(t *testing.T, s *Server) {
	s.Want(t, 201, "POST", "/consumers", `name=a`)
	made := s.Want(t, 201, "POST", "/consumers/a/key-auth", "")
	key, id := made.JSON["key"].(string), made.JSON["id"].(string)
	if len(key) < 20 {
		t.Errorf("got the key %q, want one that cannot be guessed", key)
	}
	for _, path := range []string{"/consumers/a/key-auth", "/consumers/a/key-auth/" + id, "/consumers/a", "/consumers"} {
		if a := s.Want(t, 200, "GET", path, ""); strings.Contains(a.Text, key) {
			t.Errorf("%s shows the key: %s", path, a.Text)
		}
	}
	for _, kind := range policy.Kinds {
		objects, err := s.Store.List(t.Context(), string(kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if strings.Contains(o.Name+string(o.Value), key) {
				t.Errorf("%s has the key", o.Key())
			}
		}
	}
	s.Want(t, 201, "POST", "/mappings/acls", `api=x&consumers=a`)
	s.WantDecisions(t, map[string]int{"GET /x/y " + key: 200, "GET /x/y": 401})
	s.Want(t, 404, "GET", "/consumers/b/key-auth", "")
	s.Want(t, 201, "POST", "/consumers", `name=b`)
	s.Want(t, 404, "DELETE", "/consumers/b/key-auth/"+id, "")
	s.Want(t, 409, "POST", "/consumers/b/key-auth", `key=`+key)
	s.Want(t, 204, "DELETE", "/consumers/a/key-auth/"+id, "")
	s.Want(t, 404, "DELETE", "/consumers/a/key-auth/"+id, "")
	s.WantDecisions(t, map[string]int{"GET /x/y " + key: 401})
}

func inlineFilter(t *testing.T, s *Server) {
	acl := s.Want(t, 201, "POST", "/apis/x/acls", `methods=["GET"]`)
	id := acl.JSON["id"].(string)
	name := acl.JSON["filters"].([]any)[0].(string)
	s.Play(t, Step{"GET", "/filters", "", 200, fmt.Sprintf(`{"data":[{"name":%q,"inline":true,"methods":["GET"]}]}`, name)})
	s.Play(t, Step{"DELETE", "/filters/" + name, "", 409, `{"reason":"in_use"}`})
	s.Play(t, Step{"POST", "/apis/x/acls", `filters=` + name, 400, "was made for another"})
	s.WantDecisions(t, map[string]int{"GET /x/y": 200, "PUT /x/y": 403})

	s.Play(t, Step{"PATCH", "/apis/x/acls/" + id, `methods=PUT`, 200, fmt.Sprintf(`{"filters":[%q],"methods":["PUT"]}`, name)})
	s.WantDecisions(t, map[string]int{"GET /x/y": 403, "PUT /x/y": 200})
	s.Play(t, Step{"PATCH", "/apis/x/acls/" + id, `paths=/x/y`, 200, `{"methods":["PUT"],"paths":["/x/y"]}`})
	s.WantDecisions(t, map[string]int{"PUT /x/z": 403, "PUT /x/y": 200})
	s.Want(t, 201, "POST", "/filters", `name=mine&hosts=gateway`)
	s.Play(t, Step{"PATCH", "/apis/x/acls/" + id, `filters=mine`, 200, fmt.Sprintf(`{"filters":["mine",%q],"methods":["PUT"]}`, name)})

	// What was got can be put back as it is.
	got := s.Want(t, 200, "GET", "/apis/x/acls/"+id, "")
	s.Play(t, Step{"PUT", "/apis/x/acls/" + id, got.Compact(), 200, got.Compact()})
	s.Play(t, Step{"GET", "/filters", "", 200, `{"total":2}`})
	s.Play(t, Step{"PUT", "/apis/x/acls/" + id, `{"filters":["mine"]}`, 200, `{"filters":["mine"],"methods":null}`})
	s.Want(t, 404, "GET", "/filters/"+name, "")
	s.Want(t, 200, "PATCH", "/apis/x/acls/"+id, `methods=DELETE`)
	s.Play(t, Step{"GET", "/filters", "", 200, `{"total":2}`})
	s.Want(t, 204, "DELETE", "/apis/x/acls/"+id, "")
	s.Play(t, Step{"GET", "/filters", "", 200, `{"data":[{"name":"mine"}]}`})
}

func multipartBody(t *testing.T, s *Server) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range [][2]string{{"name", `"thefosk"`}, {"groups[]", "a,b"}, {"groups", `["c"]`}, {"custom_id", "x,y"}} {
		if err := w.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	s.Want(t, 400, "POST", "/consumers", body.String(), "Content-Type", w.FormDataContentType()) // a,b is no group's name
	text := strings.Replace(body.String(), "a,b", "a", 1)
	a := s.Want(t, 201, "POST", "/consumers", text, "Content-Type", w.FormDataContentType())
	if got := a.Compact("id", "created_at"); got != `{"custom_id":"x,y","groups":["a","c"],"name":"thefosk","username":"thefosk"}` {
		t.Errorf("got %s", got)
	}
	s.Want(t, 400, "POST", "/consumers", text[:len(text)-30], "Content-Type", w.FormDataContentType())
	s.Want(t, 400, "POST", "/consumers", text, "Content-Type", "multipart/form-data")
}

func everyVerb(t *testing.T, s *Server) {
	s.Want(t, 201, "POST", "/consumers", `name=owner`)
	for _, c := range []struct{ path, name, made, changed string }{
		{"/consumers", "c", `{}`, `{"custom_id":"7"}`},
		{"/groups", "g", `{}`, `{"consumers":["owner"]}`},
		{"/filters", "f", `{"methods":["GET"]}`, `{"methods":["PUT"],"ips":["10.0.0.0/8"]}`},
		{"/plugins", "p", `{"name":"rate-limiting","config":{"second":5}}`, `{"config":{"second":6}}`},
		{"/apis", "a", `{"backends":["http://h"]}`, `{"backends":["http://i"]}`},
		{"/apis/x/acls", "l", `{"consumers":["owner"]}`, `{"methods":["GET"]}`},
		{"/mappings/acls", "k", `{"api":"x","consumers":["owner"]}`, `{"mode":"report"}`},
		{"/mappings/plugins", "m", `{"api":"x","plugins":["p"]}`, `{"consumers":["owner"]}`},
		{"/apis/x/plugins", "q", `{"name":"key-auth"}`, `{"config":{"key_names":["k"]}}`},
		{"/consumers/owner/key-auth", "i", `{"key":"k"}`, `{"not_after":"2099-01-01T00:00:00Z"}`},
		{"/blacklist", "b", `{"entries":["/admin"]}`, `{"entries":["10.0.0.1"],"reason":"because"}`},
		{"/whitelist", "w", `{"entries":["example.org"]}`, `{"mode":"report"}`},
	} {
		one := c.path + "/" + c.name
		s.Play(t, Step{"GET", one, "", 404, "Not found"})
		s.Play(t, Step{"PATCH", one, c.changed, 404, "Not found"})
		s.Play(t, Step{"PUT", one, c.made, 201, c.made[:0]})
		s.Play(t, Step{"GET", one + "/", "", 200, without(c.made, "key")})
		s.Play(t, Step{"PATCH", one + "/", c.changed, 200, c.changed})
		got := s.Play(t, Step{"GET", one, "", 200, c.changed})
		s.Play(t, Step{"PUT", one, got.Compact(), 200, got.Compact()})
		s.Play(t, Step{"PUT", one, without(c.made, "key"), 200, without(c.made, "key")})
		if list := s.Want(t, 200, "GET", c.path+"/", ""); list.JSON["total"].(float64) < 1 {
			t.Errorf("%s is empty: %s", c.path, list.Text)
		}
		if a := s.Play(t, Step{"POST", one, c.made, 405, "Method not allowed"}); a.Header.Get("Allow") != "DELETE, GET, HEAD, PATCH, PUT" {
			t.Errorf("%s: Allow is %q", one, a.Header.Get("Allow"))
		}
		if a := s.Want(t, 405, "DELETE", c.path, ""); a.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: Allow is %q", c.path, a.Header.Get("Allow"))
		}
		if c.path == "/groups" {
			s.Want(t, 200, "PATCH", one, `{"consumers":[]}`)
		}
		if c.path == "/plugins" {
			continue // a mapping of it is still to come
		}
		s.Want(t, 204, "DELETE", one+"/", "")
		s.Play(t, Step{"DELETE", one, "", 404, "Not found"})
	}
	s.Want(t, 204, "DELETE", "/plugins/p", "")
}

// without takes a field out of a JSON object that has nothing else.
func without(body, field string) string {
	if strings.Contains(body, `"`+field+`"`) {
		return `{}`
	}
	return body
}

func ifMatch(t *testing.T, s *Server) {
	first := s.Want(t, 201, "POST", "/blacklist", `name=b&entries=/a`).Header.Get("ETag")
	s.Want(t, 412, "PUT", "/blacklist/b", `entries=/b`, "If-None-Match", "*")
	s.Want(t, 412, "PUT", "/blacklist/c", `entries=/b`, "If-Match", "*")
	second := s.Want(t, 200, "PATCH", "/blacklist/b", `entries=/b`, "If-Match", `"1x", `+first).Header.Get("ETag")
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		s.Want(t, 412, method, "/blacklist/b", `entries=/c`, "If-Match", first)
	}
	if got := s.Want(t, 200, "GET", "/blacklist/b", "").Header.Get("ETag"); got != second {
		t.Errorf("got %s, want %s", got, second)
	}
	s.Want(t, 204, "DELETE", "/blacklist/b", "", "If-Match", second)
	s.Want(t, 412, "DELETE", "/blacklist/b", "", "If-Match", second)
}

func stablePages(t *testing.T, s *Server) {
	for i := range 10 {
		s.Want(t, 201, "POST", "/consumers", fmt.Sprintf(`name=c%d`, 9-i))
	}
	var names []string
	next := "/consumers?size=3"
	for round := 0; next != "" && round < 9; round++ {
		a := s.Want(t, 200, "GET", next, "")
		for _, o := range a.JSON["data"].([]any) {
			names = append(names, o.(map[string]any)["name"].(string))
		}
		next, _ = a.JSON["next"].(string)
		if offset, _ := a.JSON["offset"].(string); next != "" && !strings.Contains(next, url.QueryEscape(offset)) {
			t.Errorf("next is %q, offset %q", next, offset)
		}
		// Others write: what was shown goes, what was shown changes, new ones come.
		if round == 1 {
			s.Want(t, 204, "DELETE", "/consumers/c9", "")
			s.Want(t, 204, "DELETE", "/consumers/c4", "") // the last one of the page
			s.Want(t, 200, "PATCH", "/consumers/c8", `custom_id=x`)
			s.Want(t, 200, "PATCH", "/consumers/c3", `custom_id=y`)
			s.Want(t, 201, "POST", "/consumers", `name=a0`)
		}
	}
	if got, want := strings.Join(names, " "), "c9 c8 c7 c6 c5 c4 c3 c2 c1 c0 a0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
