package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// rewrites are rules that give requests below a prefix another path.
func rewrites(pairs ...string) func(*Settings) {
	var rules []middleware.Rule
	for i := 0; i < len(pairs); i += 2 {
		rules = append(rules, middleware.Rule{Name: pairs[i], Match: middleware.Match{Paths: []string{pairs[i]}}, Effect: middleware.Effect{Path: pairs[i+1]}})
	}
	return chainOf(rules...)
}

// tellPath answers with what a backend sees.
func tellPath(w http.ResponseWriter, req *http.Request) {
	io.WriteString(w, req.RequestURI+" "+req.Header.Get("X-Forwarded-Prefix")+" "+req.Header.Get("X-Consumer-Username"))
}

func TestAPathIsRewritten(t *testing.T) { // D26
	edit := rewrites("/shop/v1", "/v2{rest}", "/shop/fixed", "/index.html", "/shop/open", "{rest}", "/shop/v1/twice", "/last{rest}")
	r := newRig(t, edit)
	s := r.backend(tellPath)
	r.services(s.Listener.Addr().String(), "shop", "kept")
	for _, tt := range []struct{ target, want string }{
		{"/shop/v1/a?b=c", "/v2/a?b=c /shop"},
		{"/shop/v1", "/v2 /shop"},
		{"/shop/v1/", "/v2/ /shop"},
		{"/shop/v10/a", "/v10/a /shop"},
		{"/shop/fixed/a/b?x", "/index.html?x /shop"},
		{"/shop/open", "/ /shop"},
		{"/shop/open/a%2Fb/%61", "/a%2Fb/%61 /shop"},
		{"/sh%6Fp/v1/x", "/v2/x /shop"},
		{"/shop/v1/twice/x", "/last/x /shop"}, // both from what the client asked for
		{"/shop/v1/../v1/x", "/v2/x /shop"},
	} {
		if resp, body := r.get(tt.target); resp.StatusCode != 200 || strings.TrimSpace(body) != tt.want {
			t.Errorf("%s: got %d %q, want %q", tt.target, resp.StatusCode, body, tt.want)
		}
	}
	for target, reason := range map[string]string{
		"/shop/open/x/..%2f..%2fy":              "bad_path", // which some backend reads as above the root
		"/shop/v1/..%2f..%2fy":                  "bad_path",
		"/shop/v1" + strings.Repeat("/;", 3000): "bad_path",
	} {
		if resp, body := r.get(target); resp.StatusCode != 400 || !strings.Contains(body, reason) {
			t.Errorf("%.40s: got %d %s", target, resp.StatusCode, body)
		}
	}
	e, err := r.gw.Explain(&answer.Question{URL: "/shop/v1/a"})
	if err != nil || !e.Allowed || e.Path.Forwarded != "/v2/a" || e.Path.Received != "/shop/v1/a" {
		t.Errorf("explain: %+v %v", e, err)
	}
}

func TestAServiceThatKeepsItsSegmentIsRewrittenBehindIt(t *testing.T) { // D26
	r := newRig(t, rewrites("/svc/v1", "/v2{rest}"))
	s := r.backend(tellPath)
	r.src.set(resolver.Options{KeepSegment: true}, s.Listener.Addr().String())
	if resp, body := r.get("/svc/v1/a"); resp.StatusCode != 200 || strings.TrimSpace(body) != "/svc/v2/a" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// D26: the rules hold for what was asked for, and for what goes on.
func TestRewritingIsNoWayRoundTheRules(t *testing.T) {
	r := newRig(t, rewrites("/shop/open", "{rest}", "/shop/old", "/new{rest}", "/part/open", "{rest}", "/v1", "/v2{rest}"))
	s := r.backend(tellPath)
	r.services(s.Listener.Addr().String(), "shop", "part", "hosted")
	r.rules.apply(
		put(t, policy.KindBlacklist, "ops", `["/shop/admin", "/shop/old/secret", "http://mapped.example/v2/secret"]`),
		put(t, policy.KindConsumers, "anna", `{}`),
		put(t, policy.KindCredentials, digestOf("annakey"), `{"consumer": "anna"}`),
		put(t, policy.KindFilters, "staff", `{"name": "staff", "paths": ["/shop/staff"]}`),
		put(t, policy.KindPlugins, "p1", `{"name": "key-auth", "config": {"keynames": ["apikey"]}}`),
		put(t, policy.KindPluginMappings, "m1", `{"api": "shop", "plugins": ["p1"], "filters": ["staff"]}`),
		put(t, policy.KindFilters, "part-open", `{"name": "part-open", "paths": ["/part/open"]}`),
		put(t, policy.KindAPIs, "part-open", `{"name": "part-open", "service": "part", "filters": ["part-open"]}`),
		put(t, policy.KindFilters, "part-admin", `{"name": "part-admin", "paths": ["/part/admin"]}`),
		put(t, policy.KindAPIs, "part-admin", `{"name": "part-admin", "service": "part", "filters": ["part-admin"]}`),
		put(t, policy.KindACLs, "a1", `{"id": "a1", "api": "part-admin", "groups": ["nobody"]}`),
		put(t, policy.KindMappings, "mapped.example", `{"backends": ["http://`+s.Listener.Addr().String()+`"]}`),
	)
	for _, tt := range []struct {
		name, host, target string
		status             int
		body               string
	}{
		{"what may pass passes", "x", "/shop/open/x", 200, "/x /shop"},
		{"a list denies the new path", "x", "/shop/open/admin", 403, "blacklist"},
		{"in every reading", "x", "/shop/open/x/..%2fadmin", 403, "blacklist"},
		{"and the old one", "x", "/shop/old/secret", 403, "blacklist"},
		{"a key is asked for where the new path needs one", "x", "/shop/open/staff/x", 401, "no_credentials"},
		{"and makes it pass", "x", "/shop/open/staff/x?apikey=annakey", 200, "/staff/x?apikey=annakey /shop anna"},
		{"within a part of a service", "x", "/part/open/x", 200, "/x /part"},
		{"a part does not lead into another one", "x", "/part/open/admin/x", 401, "no_credentials"},
		{"a mapped host", "mapped.example", "/v1/x", 200, "/v2/x"},
		{"and what is denied there", "mapped.example", "/v1/secret", 403, "blacklist"},
	} {
		c := r.dial()
		c.send("GET " + tt.target + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
		resp, body := c.answer("GET")
		if resp.StatusCode != tt.status || !strings.HasPrefix(strings.TrimSpace(body), tt.body) && !strings.Contains(body, `"reason": "`+tt.body+`"`) {
			t.Errorf("%s: got %d %s", tt.name, resp.StatusCode, body)
		}
	}
}

// D26: of a limit one request is one, however often it is decided on.
func TestRewritingUsesALimitUpOnce(t *testing.T) {
	r := newRig(t, rewrites("/shop/v1", "/v2{rest}"))
	s := r.backend(tellPath)
	r.services(s.Listener.Addr().String(), "shop")
	r.rules.apply(
		put(t, policy.KindPlugins, "p1", `{"name": "rate-limiting", "config": {"hour": 3}}`),
		put(t, policy.KindPluginMappings, "m1", `{"api": "shop", "plugins": ["p1"]}`),
	)
	for i, want := range []string{"200 2", "200 1", "200 0", "429 0"} {
		resp, _ := r.get("/shop/v1/x")
		if got := strings.Join([]string{resp.Status[:3], resp.Header.Get("X-RateLimit-Remaining-Hour")}, " "); got != want {
			t.Errorf("request %d: got %s, want %s", i, got, want)
		}
	}
}

// A limit that the new path alone has is used up as well.
func TestRewritingDoesNotEscapeALimit(t *testing.T) {
	r := newRig(t, rewrites("/shop/open", "{rest}"))
	s := r.backend(tellPath)
	r.services(s.Listener.Addr().String(), "shop")
	r.rules.apply(
		put(t, policy.KindFilters, "dear", `{"name": "dear", "paths": ["/shop/dear"]}`),
		put(t, policy.KindPlugins, "p1", `{"name": "rate-limiting", "config": {"hour": 1}}`),
		put(t, policy.KindPluginMappings, "m1", `{"api": "shop", "plugins": ["p1"], "filters": ["dear"]}`),
	)
	for i, want := range []int{200, 429} {
		if resp, body := r.get("/shop/open/dear"); resp.StatusCode != want {
			t.Errorf("request %d: got %d %s", i, resp.StatusCode, body)
		}
	}
	if resp, _ := r.get("/shop/open/cheap"); resp.StatusCode != 200 {
		t.Errorf("another path: got %d", resp.StatusCode)
	}
}
