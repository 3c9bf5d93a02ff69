package policy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/document"
)

// noon is when tests happen, in the middle of every window.
var noon = time.Date(2026, 7, 15, 12, 30, 30, 500, time.UTC)

// store is a policy in the making: a key below "policy/" and its document.
type store struct {
	*policy.Builder
	index uint64
}

func newStore(t testing.TB, o policy.Options, docs ...string) (*store, *policy.Set) {
	t.Helper()
	o.Prefix = "lictor/"
	s := &store{Builder: policy.NewBuilder(o)}
	set, rejected := s.put(t, docs...)
	for _, r := range rejected {
		t.Fatalf("rejected %+v", *r)
	}
	return s, set
}

// put writes key, document, key, document ...; an empty document deletes.
func (s *store) put(t testing.TB, docs ...string) (*policy.Set, []*policy.Rejection) {
	t.Helper()
	var changes []policy.Change
	for i := 0; i < len(docs); i += 2 {
		s.index++
		k, ok := policy.ParseKey("policy/" + docs[i])
		if !ok {
			t.Fatalf("bad key %q", docs[i])
		}
		c := document.Change(k, s.index, s.index, []byte(docs[i+1]))
		if docs[i+1] == "-" {
			c = document.Deleted(k)
		}
		changes = append(changes, c)
	}
	return s.Apply(s.index, changes)
}

func credential(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "credentials/" + hex.EncodeToString(sum[:])
}

// header is the header of a request in a test.
type header map[string][]string

func (h header) Field(name string) (string, int) {
	for k, v := range h {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0], len(v)
		}
	}
	return "", 0
}

// places is a GeoIP data base (F4).
type places map[string]string

func (p places) Country(a netip.Addr) string { return p[a.String()] }

var geo = places{"127.0.0.1": "US", "127.0.0.2": "CA", "127.0.0.3": "FR", "127.0.0.4": policy.CountryUnknown}

// ask makes a request of "METHOD url [key]"; a key goes into the header apikey.
func ask(t testing.TB, line string) *policy.Request {
	t.Helper()
	words := strings.Fields(line)
	rest := strings.TrimPrefix(words[1], "http://")
	hostport, target := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		hostport, target = rest[:i], rest[i:]
	}
	host, port, _, err := uri.Host(hostport, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if port == 0 {
		port = 80
	}
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	r := &policy.Request{Method: words[0], Host: host, Port: port, Path: &path, Client: netip.MustParseAddr("127.0.0.1"),
		Fields: header{}, Locator: geo, Now: noon}
	for _, word := range words[2:] {
		if from, ok := strings.CutPrefix(word, "from="); ok {
			r.Client = netip.MustParseAddr(from)
		} else {
			h := r.Fields.(header)
			h["Apikey"] = append(h["Apikey"], word)
		}
	}
	return r
}

// decide routes and decides.
func decide(set *policy.Set, r *policy.Request) policy.Verdict {
	var v policy.Verdict
	route := set.Route(r)
	set.Decide(r, &route, &v, nil)
	return v
}

// try asks for a line and returns the reason of the refusal, "" if it passes.
func try(t testing.TB, set *policy.Set, line string) policy.Reason {
	t.Helper()
	v := decide(set, ask(t, line))
	if v.Allowed() != (v.Reason == "") || v.Allowed() != (v.Status == 0) {
		t.Errorf("%s: a verdict that contradicts itself: %+v", line, v)
	}
	return v.Reason
}

// expect is a table of requests: what is asked, and the reason of the refusal.
type expect map[string]policy.Reason

func (e expect) check(t *testing.T, set *policy.Set) {
	t.Helper()
	for line, want := range e {
		if got := try(t, set, line); got != want {
			t.Errorf("%s: reason %q, want %q", line, got, want)
		}
	}
}

// extreme is the seed's extreme example, written straight into the store.
var extreme = []string{
	"consumers/thefosk", `{"groups":["only_get"]}`,
	"consumers/sinzone", `{"groups":["get_and_post"]}`,
	credential("k-thefosk"), `{"consumer":"thefosk"}`,
	credential("k-sinzone"), `{"consumer":"sinzone"}`,
	"filters/get", `{"methods":["GET"],"inline":true}`,
	"filters/both", `{"methods":["GET","POST"],"inline":true}`,
	"acls/1", `{"api":"mockbin","groups":["only_get"],"filters":["get"]}`,
	"acls/2", `{"api":"mockbin","groups":["get_and_post"],"filters":["both"]}`,
	"plugins/p1", `{"name":"rate-limiting","config":{"seconds":10}}`,
	"plugins/p2", `{"name":"rate-limiting","config":{"seconds":1000}}`,
	"plugin-mappings/m1", `{"api":"mockbin","plugins":["p1"]}`,
	"plugin-mappings/m2", `{"api":"mockbin","groups":["get_and_post"],"plugins":["p2"]}`,
}

func TestExtremeExample(t *testing.T) { // C5, C7, C15, C22
	_, set := newStore(t, policy.Options{}, extreme...)
	expect{
		"GET http://x/mockbin/a k-thefosk":      "",
		"POST http://x/mockbin/a k-thefosk":     policy.ReasonACL,
		"HEAD http://x/mockbin/a k-thefosk":     policy.ReasonACL,
		"OPTIONS http://x/mockbin/a k-thefosk":  policy.ReasonACL,
		"GET http://x/mockbin k-sinzone":        "",
		"POST http://x/mockbin k-sinzone":       "",
		"PUT http://x/mockbin k-sinzone":        policy.ReasonACL,
		"GET http://x/mockbin":                  policy.ReasonNoCredentials,
		"GET http://x/mockbin wrong":            policy.ReasonNoCredentials,
		"GET http://x/mockbin?apikey=k-thefosk": "",
		"GET http://x/other":                    "", // C4
	}.check(t, set)

	var l policy.Limiter
	for key, want := range map[string]int{"k-thefosk": 10, "k-sinzone": 1000} {
		passed := 0
		for range 1100 {
			r := ask(t, "GET http://x/mockbin/a "+key)
			r.Limiter = &l
			if v := decide(set, r); v.Allowed() {
				passed++
			} else if v.Reason != policy.ReasonRateLimit || v.Status != 429 {
				t.Fatalf("%+v", v)
			}
		}
		if passed != want {
			t.Errorf("%s: %d requests passed, want %d", key, passed, want)
		}
	}
}

func TestNothingWorksWithoutAPolicy(t *testing.T) { // X6
	var none *policy.Set
	if got := try(t, none, "GET http://x/svc"); got != policy.ReasonPolicyUnavailable {
		t.Errorf("a nil Set gives %q", got)
	}
	var v policy.Verdict
	if v.Allowed() {
		t.Error("the zero Verdict allows")
	}
	if d := (&policy.Destination{Host: "x"}); !none.Blacklisted(d, &v, nil) || v.Status != 503 || none.Whitelisted(d, &v, nil) {
		t.Errorf("a nil Set lets the egress out: %+v", v)
	}
	if _, set := newStore(t, policy.Options{}); try(t, set, "GET http://x/svc") != "" {
		t.Error("an empty policy refuses")
	}
}

func TestRoute(t *testing.T) { // X2, X3, B14, B15, C30, D1
	_, set := newStore(t, policy.Options{},
		"mappings/a.wm.org", `{"backends":["http://h1:1/base/","https://h2"]}`,
		"mappings/*.wm.org", `{"backends":["http://h3"]}`,
		"filters/na", `{"locations":["us","ca"],"methods":["GET","POST"]}`,
		"filters/host", `{"hosts":["api.example"]}`,
		"filters/wild", `{"hosts":["*.example"]}`,
		"filters/path", `{"paths":["/deep/er"]}`,
		"filters/short", `{"paths":["/deep"]}`,
		"filters/longhost", `{"hosts":["api.example"],"paths":["/long"]}`,
		"filters/inl", `{"methods":["DELETE"],"inline":true}`,
		"apis/mockbin", `{"filters":["na"]}`,
		"apis/byhost", `{"filters":["host"]}`,
		"apis/bywild", `{"filters":["wild"]}`,
		"apis/bypath", `{"filters":["path"]}`,
		"apis/byshort", `{"filters":["short"]}`,
		"apis/bylong", `{"filters":["longhost"]}`,
		"apis/byinline", `{"filters":["host","inl"]}`,
		"apis/lost", `{"filters":["nosuch"]}`,
		"apis/fixed", `{"backends":["http://h4:4"],"protected_headers":["X-In"]}`,
	)
	tests := []struct {
		line          string
		by            policy.RouteBy
		api, svc, fwd string
	}{
		{"GET http://a.wm.org:8000/x/y from=9.9.9.9", policy.ByHost, "a.wm.org", "", "/x/y"},
		{"GET http://b.wm.org/x from=9.9.9.9", policy.ByHost, "*.wm.org", "", "/x"},
		{"GET http://a.b.wm.org/x from=9.9.9.9", policy.BySegment, "x", "x", "/"},
		{"GET http://wm.org/x from=9.9.9.9", policy.BySegment, "x", "x", "/"},
		{"GET http://z/svc/y from=127.0.0.1", policy.ByFilter, "mockbin", "mockbin", "/svc/y"},
		{"GET http://z/mockbin/y from=127.0.0.2", policy.ByFilter, "mockbin", "mockbin", "/y"},
		{"GET http://z/mockbin/y from=127.0.0.3", policy.BySegment, "mockbin", "mockbin", "/y"},
		{"DELETE http://z/svc/y from=127.0.0.1", policy.BySegment, "svc", "svc", "/y"},
		{"PUT http://api.example/deep/er from=9.9.9.9", policy.ByFilter, "byhost", "byhost", "/deep/er"},
		{"GET http://api.example/long from=127.0.0.1", policy.ByFilter, "bylong", "bylong", "/long"},
		{"DELETE http://api.example/deep from=9.9.9.9", policy.ByFilter, "byinline", "byinline", "/deep"},
		{"PUT http://b.example/deep/er from=9.9.9.9", policy.ByFilter, "bywild", "bywild", "/deep/er"},
		{"PUT http://a.b.example/x from=9.9.9.9", policy.ByFilter, "bywild", "bywild", "/x"},
		{"PUT http://z/deep/er/x from=9.9.9.9", policy.ByFilter, "bypath", "bypath", "/deep/er/x"},
		{"GET http://z/deep/erx from=127.0.0.1", policy.ByFilter, "byshort", "byshort", "/deep/erx"},
		{"GET http://z/ from=9.9.9.9", policy.ByNothing, "", "", "/"},
		{"GET http://z//svc from=9.9.9.9", policy.ByNothing, "", "", "//svc"},
		{"GET http://z/fixed/a from=9.9.9.9", policy.BySegment, "fixed", "fixed", "/a"},
	}
	for _, tt := range tests {
		got := set.Route(ask(t, tt.line))
		if got.By != tt.by || got.API != tt.api || got.Service != tt.svc || got.Rest != tt.fwd {
			t.Errorf("%s: got %+v, want %+v", tt.line, got, tt)
		}
	}
	route := set.Route(ask(t, "GET http://a.wm.org/x"))
	want := policy.Backend{URL: "http://h1:1/base/", Host: "h1:1", Address: "h1:1", BasePath: "/base"}
	if route.Backends == nil || len(route.Backends.List) != 2 || route.Backends.List[0] != want || route.Backends.List[1].Address != "h2:443" {
		t.Errorf("backends %+v, want %+v first", route.Backends, want)
	}
	if r := set.Route(ask(t, "GET http://z/fixed/a from=9.9.9.9")); r.Backends == nil || len(r.Protected) != 1 || r.Rule.Key != "lictor/policy/apis/fixed" {
		t.Errorf("an API with backends gives %+v", r)
	}
}

func TestOlderAPIWinsATie(t *testing.T) { // C30
	for _, order := range [][]string{{"apis/b", "apis/a"}, {"apis/a", "apis/b"}} {
		s, _ := newStore(t, policy.Options{}, "filters/f", `{"methods":["GET"]}`)
		set, _ := s.put(t, order[0], `{"filters":["f"]}`, order[1], `{"filters":["f"]}`)
		if got := set.Route(ask(t, "GET http://z/x")); "apis/"+got.API != order[0] {
			t.Errorf("%s wins, want the older %s", got.API, order[0])
		}
	}
}
