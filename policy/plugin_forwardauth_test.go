package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/policy"
)

// wheres names the authorities that a verdict wants asked.
func wheres(v *policy.Verdict) (all []string) {
	for _, a := range v.Asks() {
		name := a.Where()
		if a.Report {
			name += " (report)"
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func TestWhoPassesAllElseIsAskedAbout(t *testing.T) { // P3
	_, set := newStore(t, policy.Options{}, with("acls/1", `{"api":"svc","consumers":["ann"]}`,
		"plugins/all", `{"name":"forward-auth","config":{"service":"auth"}}`,
		"plugins/svc", `{"name":"forward-auth","config":{"url":"http://auth.ex:4180","path":"/a?b=c"}}`, "plugin-mappings/1", `{"api":"svc","plugins":["svc"]}`,
		"plugins/try", `{"name":"forward-auth","mode":"report","config":{"service":"new"}}`, "plugin-mappings/2", `{"api":"pub","plugins":["try"]}`,
		"plugins/t", `{"name":"request-termination"}`, "plugin-mappings/3", `{"api":"off","plugins":["t"]}`,
		"plugins/limit", `{"name":"rate-limiting","config":{"minute":1}}`)...)
	for line, want := range map[string]string{
		"GET http://x/svc/1 ka": "http://auth.ex:4180 /a?b=c",
		"GET http://x/svc/1":    "", // refused by the ACL: nobody is asked
		"GET http://x/pub/1":    "service auth / service new / (report)",
		"GET http://x/off/1":    "",
		"GET http://x/other/1":  "service auth /",
	} {
		v := decide(set, ask(t, line))
		if got := strings.Join(wheres(&v), " "); got != want {
			t.Errorf("%s: %q is asked, want %q", line, got, want)
		}
	}
}

// A path that can be read as one of another API is no way round its authority.
func TestEveryReadingOfAPathIsAskedAbout(t *testing.T) { // P3
	docs := []string{"plugins/a", `{"name":"forward-auth","config":{"service":"a"}}`, "plugin-mappings/a", `{"api":"adm","plugins":["a"]}`,
		"apis/adm", `{"filters":["adm"]}`, "filters/adm", `{"paths":["/svc/adm"]}`}
	_, set := newStore(t, policy.Options{}, docs...)
	for line, want := range map[string]string{"GET http://x/svc/adm/x": "service a /", "GET http://x/svc/pub/x": "", "GET http://x/svc/pub/..;/adm/x": "service a /"} {
		v := decide(set, ask(t, line))
		if got := strings.Join(wheres(&v), " "); got != want || !v.Allowed() {
			t.Errorf("%s: %q is asked, want %q; %s", line, got, want, v.Reason)
		}
	}
}

// Whom to ask is bounded, and past the bound nobody passes.
func TestTooManyReadingsWithAuthoritiesOfTheirOwnAreRefused(t *testing.T) { // P3
	var docs []string
	for i, path := range []string{"/svc/a", "/svc/b", "/svc/c", "/svc/d", "/d"} {
		n := fmt.Sprint("x", i)
		docs = append(docs, "plugins/"+n, `{"name":"forward-auth","config":{"service":"`+n+`"}}`, "plugin-mappings/"+n, `{"api":"`+n+`","plugins":["`+n+`"]}`,
			"filters/"+n, `{"paths":["`+path+`"]}`, "apis/"+n, `{"filters":["`+n+`"]}`)
	}
	_, set := newStore(t, policy.Options{}, docs...)
	for path, want := range map[string]int{"/svc/a/x": 1, `/svc/a/x%2F..%2F..%2Fb/y\..\..\c`: 3, `/svc/a/x%2F..%2F..%2Fb/y\..\..\c/..;/..;/d`: 5} {
		v := decide(set, ask(t, "GET http://x"+path))
		if want < 5 && (!v.Allowed() || len(v.Asks()) != want) || want > 4 && (v.Reason != policy.ReasonForwardAuth || v.Status != 503) {
			t.Errorf("%s: %q, %v are asked, want %d", path, v.Reason, wheres(&v), want)
		}
	}
}

func TestWhatLastsHadToBeLetInByTheSameAuthority(t *testing.T) { // P3, X14
	const plugin = `{"name":"forward-auth","config":{"service":"auth"%s}}`
	s, set := newStore(t, policy.Options{}, "plugins/a", fmt.Sprintf(plugin, ""))
	r := ask(t, "GET http://x/svc/1")
	route := set.Route(r)
	var v policy.Verdict
	if p := set.Decide(r, &route, &v, nil); !p.Forwards() || len(v.Asks()) != 1 {
		t.Fatalf("got %+v", v)
	}
	facts := r.Facts(&route, &v)
	for _, tt := range []struct {
		name, doc string
		want      policy.Reason
	}{
		{"nothing changed", fmt.Sprintf(plugin, ""), ""},
		{"its time changed", fmt.Sprintf(plugin, `,"timeout":"1s","cache":"1s"`), ""},
		{"another question", fmt.Sprintf(plugin, `,"path":"/admins"`), "forward_auth"},
		{"another authority", strings.ReplaceAll(fmt.Sprintf(plugin, ""), "auth\"}", "a2\"}"), "forward_auth"},
		{"in report mode", `{"name":"forward-auth","mode":"report","config":{"service":"b"}}`, ""},
		{"gone", "-", ""},
	} {
		set, _ = s.put(t, "plugins/a", tt.doc)
		if set.Recheck(facts, noon, &v); v.Reason != tt.want || tt.want != "" && v.Status != 503 {
			t.Errorf("%s: got %q %d, want %q", tt.name, v.Reason, v.Status, tt.want)
		}
	}
}

func TestAForwardAuthIsTheSameUntilItChanges(t *testing.T) { // P3
	s, set := newStore(t, policy.Options{}, "plugins/a", `{"name":"forward-auth","config":{"service":"auth","cache":"10s","timeout":"500ms"}}`)
	first := decide(set, ask(t, "GET http://x/svc"))
	set, _ = s.put(t, "plugins/b", `{"name":"request-size-limiting"}`)
	second := decide(set, ask(t, "GET http://x/svc"))
	a, b := first.Asks()[0], second.Asks()[0]
	if a.ForwardAuth != b.ForwardAuth || a.Cache != 10*time.Second || a.Timeout != 500*time.Millisecond || !slices.Equal(a.CacheHeaders, a.RequestHeaders) || len(a.RequestHeaders) != 4 {
		t.Errorf("got %+v and %+v", a.ForwardAuth, b.ForwardAuth)
	}
	if p := a.Permit(); !p.Asks() || p.Forwards() || p.Looks() || p.Service() != "auth" {
		t.Errorf("got %+v", p)
	}
	set, _ = s.put(t, "plugins/a", `{"name":"forward-auth","config":{"service":"auth","cache":"10s"}}`)
	if third := decide(set, ask(t, "GET http://x/svc")); third.Asks()[0].ForwardAuth == a.ForwardAuth {
		t.Error("it is the same after a change")
	}
}

func TestBadSettingsOfForwardAuthAreNamed(t *testing.T) { // P3
	for _, tt := range []struct{ config, want string }{
		{`{}`, "config.service: want either this or config.url"},
		{`{"service":"a","url":"http://h"}`, "config.service: want either this or config.url"},
		{`{"service":"a/b"}`, `config.service: "a/b" is no name of a service`},
		{`{"url":"ftp://h"}`, "config.url: "},
		{`{"url":"http://u:p@h"}`, "config.url: "},
		{`{"service":"a","path":"auth"}`, "config.path: "},
		{`{"service":"a","path":"//h/x"}`, "config.path: "},
		{`{"service":"a","path":"/x y"}`, "config.path: "},
		{`{"service":"a","path":"/x\r\nX: y"}`, "config.path: "},
		{`{"service":"a","path":"/#x"}`, "config.path: "},
		{`{"service":"a","request_headers":["X Y"]}`, "config.request_headers: "},
		{`{"service":"a","request_headers":["X-*"]}`, "config.request_headers: "},
		{`{"service":"a","request_headers":["Cookie","cookie"]}`, `config.request_headers: "cookie" is there twice`},
		{`{"service":"a","request_headers":["X-Forwarded-For"]}`, "is lictor's own to set"},
		{`{"service":"a","request_headers":["Proxy-Authorization"]}`, "is lictor's own to set"},
		{`{"service":"a","response_headers":["*"]}`, `config.response_headers: "*" is no name`},
		{`{"service":"a","response_headers":["X-*-Y"]}`, "config.response_headers: "},
		{`{"service":"a","response_headers":["content_length"]}`, "is lictor's own to set"},
		{`{"service":"a","response_headers":["X-Consumer-*"]}`, "is lictor's own to set"},
		{`{"service":"a","timeout":"1ms"}`, "config.timeout: "},
		{`{"service":"a","timeout":"31s"}`, "config.timeout: "},
		{`{"service":"a","timeout":"soon"}`, "config.timeout: "},
		{`{"service":"a","cache":"2h"}`, "config.cache: "},
		{`{"service":"a","cache":"-1s"}`, "config.cache: "},
		{`{"service":"a","cache_by":["cookie:s"]}`, "config.cache_by: says what config.cache goes by"},
		{`{"service":"a","cache":"1s","cache_by":["s"]}`, `config.cache_by: "s": want header:NAME or cookie:NAME`},
		{`{"service":"a","cache":"1s","cache_by":["header:X"]}`, "the authority is not told it"},
		{`{"service":"a","cache":"1s","cache_by":["cookie:s"]}`, "config.cache_by: does not name Authorization"},
		{`{"service":"a","cache":"1s","cache_by":["header:Authorization"]}`, "config.cache_by: does not name Cookie"},
		{`{"service":"a","cache":"1s","cache_by":["cookie:s"],"request_headers":["X"]}`, "config.cache_by: does not name X"},
	} {
		s := &store{Builder: policy.NewBuilder(policy.Options{})}
		_, rejected := s.put(t, "plugins/p", `{"name":"forward-auth","config":`+tt.config+`}`)
		if len(rejected) != 1 || !strings.Contains(fmt.Sprint(rejected[0].Problems), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.config, rejected, tt.want)
		}
	}
	for _, config := range []string{`{"service":"a","cache":"1s","cache_by":["header:authorization","cookie:s"]}`, `{"url":"https://h/base/","response_headers":["X-Auth-*"]}`,
		`{"service":"a","cache":"1s","request_headers":["Cookie","User-Agent"],"cache_by":["cookie:s","cookie:t"]}`} {
		s := &store{Builder: policy.NewBuilder(policy.Options{})}
		if _, rejected := s.put(t, "plugins/p", `{"name":"forward-auth","config":`+config+`}`); len(rejected) > 0 {
			t.Errorf("%s: %v", config, rejected[0].Problems)
		}
	}
}
