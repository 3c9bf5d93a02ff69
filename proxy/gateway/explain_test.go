package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
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

// A question may be that of a consumer who shows no key; and only a question may.
func TestARequestIsExplainedAsAConsumers(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.rules.apply(
		put(t, policy.KindConsumers, "ann", `{"name": "ann", "id": "c-1", "groups": ["staff"]}`),
		put(t, policy.KindConsumers, "bob", `{"name": "bob", "id": "c-2"}`),
		put(t, policy.KindPlugins, "auth", `{"id": "auth", "name": "key-auth"}`),
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "svc", "groups": ["staff"]}`),
	)
	for _, tt := range []struct{ as, reason, consumer string }{
		{"ann", "", "ann"}, {"c-1", "", "ann"}, {"bob", "acl", "bob"}, {"", "no_credentials", ""},
	} {
		e, err := r.gw.Explain(&answer.Question{URL: "/svc/x", As: tt.as})
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		if e.Consumer != nil {
			who = e.Consumer.Name
		}
		if e.Allowed != (tt.reason == "") || e.Reason != tt.reason || who != tt.consumer {
			t.Errorf("as %q: allowed %v, %q, consumer %q", tt.as, e.Allowed, e.Reason, who)
		}
		if resp, _ := r.get("/svc/x"); resp.StatusCode != 401 {
			t.Errorf("a request without a key got %d", resp.StatusCode)
		}
	}
	if _, err := r.gw.Explain(&answer.Question{URL: "/svc/x", As: "eve"}); err == nil || !strings.Contains(err.Error(), `"eve"`) {
		t.Errorf("as a consumer that there is not: %v", err)
	}
}

// Whose word on the client's address is believed depends on where a request comes in.
func TestExplanationsAreOfAListener(t *testing.T) { // D28
	r := newRigWith(t, nil, func(cfg *Config) {
		cfg.More = []NamedListener{{Name: "internal"}}
		cfg.Settings.MoreTrustedProxies = [][]netip.Prefix{{mustPrefix("127.0.0.0/8")}}
	})
	for listener, want := range map[string]string{"": "127.0.0.1", "gateway": "127.0.0.1", "internal": "203.0.113.9"} {
		e, err := r.gw.Explain(&answer.Question{URL: "/svc/x", Headers: [][2]string{{"X-Forwarded-For", "203.0.113.9"}}, Listener: listener})
		if err != nil || e.Client.Address != want {
			t.Errorf("at %q the client is %+v, %v, want %s", listener, e, err, want)
		}
	}
	if _, err := r.gw.Explain(&answer.Question{URL: "/svc/x", Listener: "redirect"}); err == nil || !strings.Contains(err.Error(), "gateway, internal") {
		t.Errorf("at a listener that there is not: %v", err)
	}
}

// A question that cannot be understood may hold a credential all the same.
func TestMistakesInQuestionsRepeatNoCredential(t *testing.T) { // U4
	r := newRig(t, nil)
	for _, q := range []*answer.Question{
		{URL: "http://ann:s3cret@shop.example/x"}, {URL: "ftp://h/?key=s3cret"}, {URL: "s3cret"},
		{URL: "/x", Headers: [][2]string{{"apikey", "s3cret\n"}}}, {URL: "/x", Headers: [][2]string{{"apikey s3cret", ""}}},
	} {
		if _, err := r.gw.Explain(q); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", q, err)
		}
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
