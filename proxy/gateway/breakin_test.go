package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// TestNoSpellingOfAServiceIsRoundADeny checks through the gateway that a rule
// about a service or a path of it holds however its name is spelled, where the
// resolver does not mind (E7, A17, D22), by segment and by filter (C30).
func TestNoSpellingOfAServiceIsRoundADeny(t *testing.T) {
	r := newRig(t, nil)
	addr := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	one := func(name string) *resolver.Service {
		return &resolver.Service{Name: name, Loaded: true, Instances: []*resolver.Instance{{ID: "a", Address: addr, Weight: 1, State: resolver.Passing}}}
	}
	r.src.catalog.Store(resolver.NewFoldedCatalog(one("svc"), one("shut")))
	r.rules.apply(
		put(t, policy.KindBlacklist, "b", "/svc/admin\nservice:shut"),
		put(t, policy.KindFilters, "h", `{"hosts": ["api.example"]}`),
		put(t, policy.KindAPIs, "SHUT", `{"filters": ["h"]}`))
	for _, tt := range []struct {
		path, host string
		want       int
	}{
		{"/svc/x", "x", 200}, {"/SVC/x", "x", 200}, {"/svc/admin", "x", 403}, {"/SVC/admin", "x", 403}, {"/Svc/x/..;/admin", "x", 403},
		{"/shut/", "x", 403}, {"/Shut/", "x", 403}, {"/x", "api.example", 403}, {"/SHUT/x", "api.example", 403},
	} {
		c := r.dial()
		c.send("GET " + tt.path + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
		if resp, _ := c.answer("GET"); resp.StatusCode != tt.want {
			t.Errorf("%s at %s: got %d, want %d", tt.path, tt.host, resp.StatusCode, tt.want)
		}
		e, err := r.gw.Explain(&answer.Question{URL: "http://" + tt.host + tt.path})
		if err != nil || e.Status != tt.want {
			t.Errorf("%s at %s: explained as %+v, %v", tt.path, tt.host, e, err)
		}
	}
}

// TestEmptyMembersOfForwardedForHideNobody checks that an empty member of
// X-Forwarded-For does not make the client look like its trusted proxy (C17).
func TestEmptyMembersOfForwardedForHideNobody(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.Header.Get("X-Real-Ip")) })
	for _, value := range []string{"203.0.113.9", "203.0.113.9,", "1.1.1.1, 203.0.113.9 ,\t, ", ",203.0.113.9, 127.0.0.1,"} {
		if _, body := r.get("/svc/", "X-Forwarded-For: "+value); body != "203.0.113.9" {
			t.Errorf("%q makes the client %s", value, body)
		}
	}
}

// TestReroutingShowsNoKey checks that a key that one service's key-auth hides
// stays hidden when middleware routes on to a service that knows nothing of it
// (C24, D19).
func TestReroutingShowsNoKey(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "split", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "canary"}}))
	s := r.backend(func(w http.ResponseWriter, req *http.Request) { req.Write(w) })
	r.services(s.Listener.Addr().String(), "shop", "canary")
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{}`),
		put(t, policy.KindCredentials, digestOf("secretkey"), `{"consumer": "ann"}`),
		put(t, policy.KindPlugins, "k", `{"name": "key-auth", "config": {"keynames": ["x-key"], "hide_credentials": true}}`),
		put(t, policy.KindPluginMappings, "m", `{"api": "shop", "plugins": ["k"]}`))
	for _, ask := range [][]string{{"/shop/x", "X-Key: secretkey"}, {"/shop/x?x-key=secretkey&a=1"}, {"/shop/x?a=1&x-key=secretkey", "x_key: secretkey"}} {
		resp, body := r.get(ask[0], ask[1:]...)
		if resp.StatusCode != 200 || strings.Contains(body, "secretkey") || !strings.Contains(body, "/x") {
			t.Errorf("%q: %d %s", ask, resp.StatusCode, body)
		}
	}
}

// TestBadTargetsAreExplained checks that the explainer reads a URL as the
// gateway does.
func TestBadTargetsAreExplained(t *testing.T) {
	r := newRig(t, nil)
	for url, want := range map[string]string{
		"/svc/%zz": "bad_path", "http://x/svc/%zz": "bad_path", "/svc/a b": "bad_path", "http://x/svc/%00": "bad_path",
		"http://x": "no_service", "HTTP://x?y": "no_service", "/%2e%2e/": "no_service",
	} {
		if e, err := r.gw.Explain(&answer.Question{URL: url}); err != nil || e.Reason != want {
			t.Errorf("%s: got %+v, %v, want %s", url, e, err, want)
		}
	}
	for _, url := range []string{"", "svc", "ftp://x/svc", "http:///svc", "http://a@b/svc", "http://x:99999/"} {
		if e, err := r.gw.Explain(&answer.Question{URL: url}); err == nil {
			t.Errorf("%q is explained as %+v", url, e)
		}
	}
}

// TestOtherMarksAreNoWayRoundProtection checks names that CGI-style backends
// take for protected ones or for the key's, in fields and trailers (D18, C24).
func TestOtherMarksAreNoWayRoundProtection(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.ProtectedHeaders = []string{"X-Internal-*", "X-Plain"} })
	r.backend(func(w http.ResponseWriter, req *http.Request) { req.Write(w) })
	r.rules.apply(put(t, policy.KindPlugins, "k", `{"name": "key-auth", "config": {"keynames": ["x-key"], "hide_credentials": true}}`),
		put(t, policy.KindConsumers, "ann", `{}`),
		put(t, policy.KindCredentials, digestOf("k1"), `{"consumer": "ann"}`))
	for _, name := range []string{"X-Internal-A", "x_internal_a", "X.Internal.A", "X-Internal.A", "x~internal^a", "X_Plain", "x.plain", "X.Key"} {
		resp, body := r.get("/svc/x", "X-Key: k1", name+": EVIL")
		if resp.StatusCode != 200 || strings.Contains(body, "EVIL") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		c := r.dial()
		c.send("POST /svc/x HTTP/1.1\r\nHost: x\r\nX-Key: k1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + name + ": EVIL\r\nX-Ok: 1\r\n\r\n")
		if resp, body := c.answer("POST"); resp.StatusCode != 200 || strings.Contains(body, "EVIL") {
			t.Errorf("%s as a trailer: %d %s", name, resp.StatusCode, body)
		}
	}
}

func digestOf(key string) string {
	digest := sha256.Sum256([]byte(key))
	return hex.EncodeToString(digest[:])
}
