package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/resolver"
)

// TestRulesOfAClaimedHostAreCounted has rules that call a service by a host that it
// claims let requests pass and report: they are counted as those are that call it by
// its name (K2, X13).
func TestRulesOfAClaimedHostAreCounted(t *testing.T) {
	r := newRig(t, nil)
	addr := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	r.src.catalog.Store(resolver.NewCatalog(&resolver.Service{Name: "chat", Loaded: true, Hosts: []resolver.Claim{{Host: "a.example.com"}, {Host: "b.example.com"}},
		Instances: []*resolver.Instance{{ID: "a", Address: addr, Weight: 1, State: resolver.Passing}}}))
	r.rules.apply(
		put(t, policy.KindConsumers, "root", `{}`),
		put(t, policy.KindFilters, "all", `{"paths": ["/"]}`),
		put(t, policy.KindACLs, "passes", `{"api": "a.example.com", "filters": ["all"]}`),
		put(t, policy.KindACLs, "reports", `{"api": "b.example.com", "consumers": ["root"], "mode": "report"}`),
		put(t, policy.KindBlacklist, "all", `{"entries": ["/x"], "mode": "report"}`), // holds under both names
		put(t, policy.KindACLs, "own", `{"api": "chat", "consumers": ["root"], "mode": "report"}`),
	)
	for _, host := range []string{"a.example.com", "b.example.com"} {
		c := r.dial()
		c.send("GET /x HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if resp, body := c.answer("GET"); resp.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", host, resp.StatusCode, body)
		}
	}
	want := map[string][2]uint64{"acls/passes": {1, 0}, "acls/reports": {0, 1}, "acls/own": {0, 2}, "blacklist/all": {0, 2}}
	for _, h := range r.rules.Set().Hits() {
		if got := [2]uint64{h.Passed, h.Would}; got != want[h.Key] {
			t.Errorf("%s: passed and would have been refused %v, want %v", h.Key, got, want[h.Key])
		}
	}
}

// TestAnswersOfAuthoritiesAreCounted counts at a plugin forward-auth what its authority
// says, which the policy alone cannot know (P3, X13).
func TestAnswersOfAuthoritiesAreCounted(t *testing.T) {
	tests := []struct {
		name, mode string
		status     int // that the authority answers
		want       policy.Hits
	}{
		{"yes", "enforce", 200, policy.Hits{Passed: 2}},
		{"no", "enforce", 403, policy.Hits{Refused: 2}},
		{"a failure", "enforce", 500, policy.Hits{Refused: 2}},
		{"yes in report mode", "report", 200, policy.Hits{}},
		{"no in report mode", "report", 403, policy.Hits{Would: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.headers()
			a := r.authority("", says(tt.status))
			r.rules.apply(put(t, policy.KindPlugins, "ask", fmt.Sprintf(`{"name": "forward-auth", "mode": %q, "config": {"url": %q}}`, tt.mode, a.URL)))
			r.get("/svc/x")
			r.get("/svc/x")
			var h policy.Hits
			eventually.True(t, fmt.Sprintf("%+v are counted", tt.want), func() bool {
				h = r.rules.Set().Hits()[0]
				return len(a.questions()) == 0 && h.Passed == tt.want.Passed && h.Refused == tt.want.Refused && h.Would == tt.want.Would
			})
		})
	}
}
