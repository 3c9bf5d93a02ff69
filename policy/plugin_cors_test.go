package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
)

// decideFrom is a decision on a request to an API with header fields.
func decideFrom(t testing.TB, set *policy.Set, method, target string, h header) (v policy.Verdict, rec policy.Recorder) {
	t.Helper()
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &policy.Request{Method: method, Host: "x", Port: 80, Path: &path, Fields: h, Now: noon, Limiter: new(policy.Limiter)}
	route := set.Route(r)
	set.Decide(r, &route, &v, &rec)
	return v, rec
}

func from(origin string) header { return header{"Origin": {origin}} }

func preflight(origin string) header {
	return header{"Origin": {origin}, "Access-Control-Request-Method": {"PUT"}}
}

func TestOriginsAreComparedWhole(t *testing.T) { // P1
	for _, tt := range []struct {
		name, entry string
		allowed     []string
		not         []string
	}{
		{"an origin is itself alone", "https://example.org", []string{"https://example.org"},
			[]string{"http://example.org", "https://example.org.evil.com", "https://evilexample.org", "https://example.org:8443", "https://www.example.org",
				"https://example.org/", "https://example.org:443", "https://EXAMPLE.org", "https://example.org https://evil.com", "https://evil.com,https://example.org", "null", ""}},
		{"case, a closing dot and the scheme's port say nothing in an entry", "HTTPS://Example.ORG.:443", []string{"https://example.org"}, nil},
		{"a port is part of it", "http://localhost:3000", []string{"http://localhost:3000"}, []string{"http://localhost", "http://localhost:30000", "http://localhost:3001"}},
		{"an international name is the one that browsers send", "https://müller.example", []string{"https://xn--mller-kva.example"}, []string{"https://müller.example"}},
		{"an IPv6 address has one spelling", "http://[2001:DB8:0::1]:8080", []string{"http://[2001:db8::1]:8080"}, []string{"http://[2001:db8:0::1]:8080", "http://2001:db8::1"}},
		{"another scheme is one, too", "capacitor://localhost", []string{"capacitor://localhost"}, []string{"https://localhost"}},
		{"null is a word", "null", []string{"null"}, []string{"NULL", "https://null"}},
		{"a wildcard is what lies below, by https", "*.example.org", []string{"https://a.example.org", "https://a.b.example.org"},
			[]string{"https://example.org", "http://a.example.org", "https://a.example.org:8443", "https://aexample.org", "https://.example.org", "https://a..example.org",
				"https://evil.com/.example.org", "https://evil.com#.example.org", "https://evil.com?.example.org", "https://a@.example.org", "https://u:p@a.example.org",
				"https://evil.com:1.example.org", "https://a.example.org.evil.com", "https://A.example.org", "https://evil.com https://a.example.org", "https://\\.example.org", "https://a\x00.example.org"}},
		{"or by the scheme and port that it names", "http://*.example.org:8080", []string{"http://a.example.org:8080"}, []string{"https://a.example.org", "http://a.example.org", "http://a.example.org:80"}},
		{"an expression is about the whole", `~https://app-[0-9]+\.example\.org`, []string{"https://app-7.example.org"},
			[]string{"https://app-7.example.org.evil.com", "https://evil.com/https://app-7.example.org", "http://https://app-7.example.org", "https://app-.example.org"}},
		{"also one with alternatives", `~https://a\.example|https://b\.example`, []string{"https://a.example", "https://b.example"}, []string{"https://a.example.evil.com", "https://evil.com/https://b.example"}},
		{"also one of several lines", `~(?m)^https://a\.example$`, []string{"https://a.example"}, []string{"https://a.example\nhttps://evil.com"}},
		{"an expression sees origins alone", `~.*\.example\.org`, []string{"http://a.example.org"}, []string{"null", "https://evil.com/.example.org", "https://evil.com:0/.example.org", "https://evil.com:x.example.org"}},
	} {
		config := fmt.Sprintf(`{"name":"cors","config":{"origins":[%q]}}`, tt.entry)
		_, set := newStore(t, policy.Options{}, "plugins/c", config)
		for want, list := range map[policy.Access][]string{policy.AccessNamed: tt.allowed, policy.AccessNone: tt.not} {
			for _, origin := range list {
				if v, _ := decideFrom(t, set, "GET", "/svc", from(origin)); v.CORS.Rules == nil || v.CORS.Access != want {
					t.Errorf("%s: %q with %q: got %+v, want %d", tt.name, tt.entry, origin, v.CORS, want)
				}
			}
		}
	}
}

func TestCredentialsNeedAName(t *testing.T) { // P1
	for _, tt := range []struct {
		name, config, origin string
		want                 policy.Access
		varies               bool
	}{
		{"* is the same for all", `{}`, "https://a.example", policy.AccessAny, false},
		{"and for a request without an origin", `{}`, "", policy.AccessAny, false},
		{"and beside names, as long as no credentials are sent", `{"origins":["*","https://a.example"]}`, "https://a.example", policy.AccessAny, false},
		{"with credentials * names nobody", `{"credentials":true}`, "https://a.example", policy.AccessAny, false},
		{"with credentials who is named is", `{"credentials":true,"origins":["*","https://a.example"]}`, "https://a.example", policy.AccessNamed, true},
		{"with credentials another one is not", `{"credentials":true,"origins":["*","https://a.example"]}`, "https://b.example", policy.AccessAny, true},
		{"without * another one is nothing", `{"origins":["https://a.example"]}`, "https://b.example", policy.AccessNone, true},
		{"without * no origin is nothing", `{"origins":["https://a.example"]}`, "", policy.AccessNone, true},
	} {
		_, set := newStore(t, policy.Options{}, "plugins/c", `{"name":"cors","config":`+tt.config+`}`)
		h := header{}
		if tt.origin != "" {
			h = from(tt.origin)
		}
		v, _ := decideFrom(t, set, "GET", "/svc", h)
		if x := v.CORS; !v.Allowed() || x.Access != tt.want || x.Rules.Varies() != tt.varies {
			t.Errorf("%s: got %+v, varies %v", tt.name, x, x.Rules.Varies())
		}
		h["Origin"] = append(h["Origin"], "https://a.example", "https://a.example")
		if v, _ = decideFrom(t, set, "GET", "/svc", h); v.CORS.Access == policy.AccessNamed {
			t.Errorf("%s: an origin given twice is allowed by name", tt.name)
		}
	}
}

func TestPreflightsNeedNoCredentials(t *testing.T) { // P1
	docs := with("plugins/key", `{"name":"key-auth"}`, "plugins/limit", `{"name":"rate-limiting","config":{"minute":1}}`, "acls/1", `{"api":"svc","consumers":["ann"]}`,
		"acls/2", `{"api":"open","consumers":["ann"]}`, "blacklist/b", "/svc/shut\n",
		"plugins/c", `{"name":"cors","config":{"origins":["https://a.example"]}}`,
		"plugins/go", `{"name":"cors","config":{"preflight_continue":true}}`, "plugin-mappings/1", `{"api":"open","plugins":["go"]}`,
		"plugins/t", `{"name":"request-termination"}`, "plugin-mappings/2", `{"api":"noon","plugins":["t"]}`)
	_, set := newStore(t, policy.Options{}, docs...)
	for _, tt := range []struct {
		name, method, target string
		h                    header
		action               policy.Action
		status               int
	}{
		{"lictor answers a preflight", "OPTIONS", "/svc/x", preflight("https://a.example"), policy.Answer, 204},
		{"also one of an origin that is not allowed", "OPTIONS", "/svc/x", preflight("https://b.example"), policy.Answer, 204},
		{"also where the API is closed for a while", "OPTIONS", "/noon/x", preflight("https://a.example"), policy.Answer, 204},
		{"a blacklist comes first", "OPTIONS", "/svc/shut", preflight("https://a.example"), policy.Deny, 403},
		{"OPTIONS alone is none", "OPTIONS", "/svc/x", from("https://a.example"), policy.Deny, 401},
		{"nor is what names no origin", "OPTIONS", "/svc/x", header{"Access-Control-Request-Method": {"PUT"}}, policy.Deny, 401},
		{"nor is another method", "GET", "/svc/x", preflight("https://a.example"), policy.Deny, 401},
		{"nor is another spelling of it", "options", "/svc/x", preflight("https://a.example"), policy.Deny, 401},
		{"one that goes on needs none either", "OPTIONS", "/open/x", preflight("https://a.example"), policy.Allow, 0},
		{"the request itself does", "PUT", "/open/x", preflight("https://a.example"), policy.Deny, 401},
		{"nor is it the way to another API", "OPTIONS", "/open/..;/svc/x", preflight("https://a.example"), policy.Allow, 0},
	} {
		v, rec := decideFrom(t, set, tt.method, tt.target, tt.h)
		if v.Action != tt.action || v.Status != tt.status || v.CORS.Rules == nil {
			t.Errorf("%s: got %+v", tt.name, v)
		}
		if _, ok := rec.Plugins["cors"]; !ok || rec.Steps[0].Step != "cors" {
			t.Errorf("%s: explained as %+v", tt.name, rec.Steps)
		}
	}
}

func TestWhatHoldsForCORS(t *testing.T) { // P1
	_, set := newStore(t, policy.Options{}, with(
		"plugins/wide", `{"name":"cors","config":{"preflight_continue":true}}`, "plugin-mappings/1", `{"api":"svc","plugins":["wide"]}`,
		"plugins/tight", `{"name":"cors","config":{"origins":["https://a.example"]}}`, "plugin-mappings/2", `{"api":"svc","plugins":["tight"],"filters":["adm"]}`,
		"filters/adm", `{"paths":["/svc/adm"]}`,
		"plugins/ann", `{"name":"cors","config":{"origins":["https://ann.example"]}}`, "plugin-mappings/3", `{"plugins":["ann"],"consumers":["ann"]}`,
		"plugins/try", `{"name":"cors","mode":"report","config":{"origins":["https://a.example"]}}`, "plugin-mappings/4", `{"api":"try","plugins":["try"]}`)...)
	for _, tt := range []struct {
		name, target, origin, key string
		rules                     bool
		want                      policy.Access
		would                     int
	}{
		{"the API's", "/svc/x", "https://b.example", "", true, policy.AccessAny, 0},
		{"that of a filter wins", "/svc/adm", "https://b.example", "", true, policy.AccessNone, 0},
		{"none where it depends on the reading", "/svc/x/..;/adm", "https://a.example", "", true, policy.AccessNone, 0},
		{"none for a consumer", "/pub", "https://ann.example", "ka", false, 0, 0},
		{"none in report mode, which tells of a stranger", "/try", "https://b.example", "", false, 0, 1},
		{"but not of who would be allowed", "/try", "https://a.example", "", false, 0, 0},
		{"nor of a page of the same host", "/try", "http://x", "", false, 0, 0},
		{"nor of a request without an origin", "/try", "", "", false, 0, 0},
	} {
		h := header{}
		if tt.origin != "" {
			h["Origin"] = []string{tt.origin}
		}
		if tt.key != "" {
			h["apikey"] = []string{tt.key}
		}
		v, _ := decideFrom(t, set, "GET", tt.target, h)
		if (v.CORS.Rules != nil) != tt.rules || v.CORS.Access != tt.want || len(v.Would()) != tt.would || !v.Allowed() {
			t.Errorf("%s: got %+v", tt.name, v)
		}
	}
	if v, _ := decideFrom(t, set, "OPTIONS", "/svc/x/..;/adm", preflight("https://a.example")); v.Action != policy.Answer {
		t.Errorf("a preflight went on by the reading that its client chose: %+v", v)
	}
	var said []string
	for _, n := range set.Notes(nil) {
		said = append(said, n.Path+" "+n.Text)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "plugin-mappings/3") || strings.Count(all, "narrow") != 1 {
		t.Errorf("noted %s", all)
	}
}

// A preflight that a service answers slowly is not cut for want of a key, unless
// it would need one by now.
func TestPreflightsThatLastAreDecidedAgain(t *testing.T) { // P1, X14
	s, set := newStore(t, policy.Options{}, with("plugins/key", `{"name":"key-auth"}`, "plugins/go", `{"name":"cors","config":{"preflight_continue":true}}`)...)
	path := mustPath("/svc/x")
	r := &policy.Request{Method: "OPTIONS", Host: "x", Port: 80, Path: path, Fields: preflight("https://a.example"), Now: noon}
	route := set.Route(r)
	var v policy.Verdict
	if set.Decide(r, &route, &v, nil); !v.Allowed() {
		t.Fatalf("got %+v", v)
	}
	facts := r.Facts(&route, &v)
	set, _ = s.put(t, "acls/1", `{"api":"svc","consumers":["ann"]}`)
	if set.Recheck(facts, noon, &v); !v.Allowed() {
		t.Errorf("cut: %+v", v)
	}
	set, _ = s.put(t, "plugins/go", `{"name":"cors"}`)
	if set.Recheck(facts, noon, &v); v.Reason != policy.ReasonNoCredentials {
		t.Errorf("not cut: %+v", v)
	}
}

func TestBadSettingsOfCORSAreNamed(t *testing.T) { // P1
	many := `"https://a.example"` + strings.Repeat(`,"https://a.example"`, 256)
	for _, tt := range []struct{ config, want string }{
		{`{"origins":[]}`, "config.origins: is empty"},
		{`{"origins":["example.org"]}`, `config.origins: "example.org": want an origin such as "https://app.example.org"`},
		{`{"origins":["https://example.org/"]}`, "want an origin such as"},
		{`{"origins":["https://a@example.org"]}`, "want an origin such as"},
		{`{"origins":["https://example.org:0"]}`, "want an origin such as"},
		{`{"origins":["https://*.*.org"]}`, "want an origin such as"},
		{`{"origins":["https://a*.example.org"]}`, "want an origin such as"},
		{`{"origins":["*.0.0.1"]}`, "want a domain behind *."},
		{`{"origins":["https://*.[::1]"]}`, "want a domain behind *."},
		{`{"origins":["*.10.0.0.1"]}`, "want a domain behind *."},
		{`{"origins":["~a)|(b"]}`, "want a regular expression of RE2"},
		{`{"origins":["~` + strings.Repeat("a", 257) + `"]}`, "the expression has 257 bytes, want at most 256"},
		{`{"origins":[` + many + `]}`, "has 257 entries, of them 0 regular expressions, want at most 256 and 16"},
		{`{"origins":["~a"` + strings.Repeat(`,"~a"`, 16) + `]}`, "has 17 entries, of them 17 regular expressions"},
		{`{"credentials":true,"origins":["null"]}`, "want neither null nor an expression that matches any origin"},
		{`{"credentials":true,"origins":["~.*"]}`, "want neither null"},
		{`{"credentials":true,"origins":["~https?://[^/]+"]}`, "want neither null"},
		{`{"methods":["GET POST"]}`, `config.methods: "GET POST" is no name`},
		{`{"headers":["X: y"]}`, `config.headers: "X: y" is no name`},
		{`{"exposed_headers":["` + strings.Repeat("a", 4097) + `"]}`, "config.exposed_headers: has 4097 bytes, want at most 4096"},
		{`{"max_age":-1}`, "config.max_age: is -1, want a whole number"},
	} {
		s := &store{Builder: policy.NewBuilder(policy.Options{})}
		_, rejected := s.put(t, "plugins/p", `{"name":"cors","config":`+tt.config+`}`)
		if len(rejected) != 1 || !strings.Contains(fmt.Sprint(rejected[0].Problems), tt.want) {
			t.Errorf("%.80s: got %v, want %q", tt.config, rejected, tt.want)
		}
	}
	_, set := newStore(t, policy.Options{}, "plugins/c", `{"name":"cors","config":{"credentials":true}}`)
	if notes := set.Notes(nil); len(notes) != 1 || !strings.Contains(notes[0].Text, "name the origins that may") {
		t.Errorf("noted %v", notes)
	}
}

func TestCORSDoesNotAllocate(t *testing.T) { // P1
	_, set := newStore(t, policy.Options{}, "plugins/c", `{"name":"cors","config":{"origins":["https://a.example","*.b.example","~https://[a-z]+\\.c\\.example"],"credentials":true}}`)
	for _, origin := range []string{"https://a.example", "https://x.b.example", "https://x.c.example", "https://[2001:db8::1]", "https://evil.example"} {
		r := ask(t, "GET http://www.shop.example/api-7/orders/4711 from=203.0.113.7")
		r.Fields = oneField{"Origin", origin}
		var v policy.Verdict
		if n := testing.AllocsPerRun(100, func() {
			route := set.Route(r)
			set.Decide(r, &route, &v, nil)
		}); n != 0 || !v.Allowed() {
			t.Errorf("%s: %v allocations, want 0: %+v", origin, n, v)
		}
	}
}

// FuzzOrigins holds entries and origins against each other, as naively as can be.
func FuzzOrigins(f *testing.F) {
	for _, entry := range []string{"*", "null", "https://example.org", "*.example.org", "http://*.example.org:8080", `~https://[a-z]+\.example\.org`, "https://[2001:db8::1]:8443"} {
		for _, origin := range []string{"null", "https://example.org", "https://a.example.org", "http://a.example.org:8080", "https://example.org.evil.com", "https://evil.com/.example.org", "https://[2001:db8::1]:8443"} {
			f.Add(entry, origin)
		}
	}
	f.Fuzz(func(t *testing.T, entry, origin string) {
		o := &policy.Plugin{ID: "c", Name: "cors", Config: map[string]any{"origins": []string{entry}}}
		set, rejected := policy.NewBuilder(policy.Options{}).Apply(1, []policy.Change{{Key: policy.Key{Kind: policy.KindPlugins, Name: "c"}, Object: o}})
		if len(rejected) > 0 || entry == "*" {
			return
		}
		if v, _ := decideFrom(t, set, "GET", "/svc", from(origin)); v.CORS.Access == policy.AccessNamed && !naiveAllows(entry, origin) {
			t.Errorf("%q allows %q", entry, origin)
		}
	})
}
