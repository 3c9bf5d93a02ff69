package gateway

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// What an explanation says of the next instance is where the next request goes,
// whatever the balance: it is the balance that says it.
func TestExplanationsNameTheNextInstance(t *testing.T) {
	for _, balance := range []resolver.Balance{resolver.RoundRobin, resolver.Hash, resolver.LeastRequests} {
		t.Run(string(balance), func(t *testing.T) {
			r := newRig(t, func(s *Settings) { s.Balance, s.HashOn = balance, "header:X-User" })
			var all []*resolver.Instance
			for i := range 3 {
				id := fmt.Sprint("i", i)
				s := r.backend(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, id) })
				all = append(all, &resolver.Instance{ID: id, Address: s.Listener.Addr().String(), Weight: i + 1, State: resolver.Passing})
			}
			r.src.catalog.Store(resolver.NewCatalog(&resolver.Service{Name: "svc", Loaded: true, Instances: all}))
			for i := range 12 {
				eventually.True(t, "the last request is over", func() bool { return r.gw.upstream.InFlight() == 0 })
				user := fmt.Sprint(i)
				next := ""
				for range 2 { // the second time it is the same: asking takes nobody's turn
					e, err := r.gw.Explain(&answer.Question{URL: "/svc/x", Headers: [][2]string{{"X-User", user}}})
					if err != nil || !e.Allowed {
						t.Fatal(e, err)
					}
					said := ""
					for _, f := range e.Dispatch.Instances {
						if f.Chosen {
							said += f.ID
						}
					}
					if next != "" && next != said {
						t.Fatalf("it says %q, and then %q", next, said)
					}
					next = said
				}
				if _, got := r.get("/svc/x", "X-User: "+user); got != next {
					t.Fatalf("request %d went to %q, explained was %q", i, got, next)
				}
			}
		})
	}
}

// Asking uses nothing up, and counts for nothing.
func TestExplanationsLeaveNoTrace(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "seen", Match: middleware.Match{Paths: []string{"/svc"}}, Effect: middleware.Effect{Record: true}}))
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(
		put(t, policy.KindPlugins, "p", `{"name": "rate-limiting", "config": {"hour": 2}}`),
		put(t, policy.KindPluginMappings, "m", `{"api": "svc", "plugins": ["p"]}`))
	for range 5 {
		e, err := r.gw.Explain(&answer.Question{URL: "/svc/x"})
		if err != nil || !e.Allowed || e.Plugins["rate-limiting"].ID != "p" {
			t.Fatal(e, err)
		}
	}
	if n := r.gw.Middleware()[0].Matched.Load(); n != 0 {
		t.Errorf("the middleware counted %d requests", n)
	}
	for _, want := range []int{200, 200, 429} {
		if resp, body := r.get("/svc/x"); resp.StatusCode != want {
			t.Errorf("got %d %s, want %d", resp.StatusCode, body, want)
		}
	}
	if e, err := r.gw.Explain(&answer.Question{URL: "/svc/x"}); err != nil || e.Allowed || e.Status != 429 {
		t.Errorf("got %+v, %v", e, err)
	}
}
