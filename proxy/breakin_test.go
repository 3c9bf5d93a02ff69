package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"testing"

	"lictor/policy"
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
		e, err := r.gw.Explain(&Question{URL: "http://" + tt.host + tt.path})
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
