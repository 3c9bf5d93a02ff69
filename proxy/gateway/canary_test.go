package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// canaryRig is a gateway with a stable instance and a canary of svc, to which goes
// what a header, or a consumer, asks for.
func canaryRig(t *testing.T, configure func(*Config)) *rig {
	toCanaries := middleware.Effect{Canary: true}
	r := newRigWith(t, chainOf(
		middleware.Rule{Name: "header", Match: withHeader(t, "X-Canary", "yes"), Effect: toCanaries},
		middleware.Rule{Name: "consumer", Match: middleware.Match{Consumers: []string{"anna"}}, Effect: toCanaries},
		middleware.Rule{Name: "tests", Match: middleware.Match{Paths: []string{"/svc/report"}}, Effect: toCanaries, Report: true},
	), configure)
	svc := &resolver.Service{Name: "svc", Loaded: true}
	for _, name := range []string{"stable", "canary"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		svc.Instances = append(svc.Instances, &resolver.Instance{ID: name, Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing, Canary: name == "canary"})
	}
	r.src.catalog.Store(resolver.NewCatalog(svc))
	return r
}

// K6: by header and consumer, on one connection as well, and never otherwise.
func TestRouteToCanaries(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := canaryRig(t, func(c *Config) { c.Metrics = reg })
	r.rules.apply(
		put(t, policy.KindConsumers, "anna", `{}`),
		put(t, policy.KindCredentials, digestOf("annakey"), `{"consumer": "anna"}`),
		put(t, policy.KindConsumers, "bob", `{}`),
		put(t, policy.KindCredentials, digestOf("bobkey"), `{"consumer": "bob"}`),
		put(t, policy.KindPlugins, "k", `{"name": "key-auth", "config": {"keynames": ["x-key"]}}`),
	)
	c := r.dial()
	for _, tt := range []struct{ fields, path, want string }{
		{"X-Key: bobkey\r\n", "/svc/x", "stable"},
		{"X-Key: bobkey\r\nX-Canary: yes\r\n", "/svc/x", "canary"},
		{"X-Key: bobkey\r\nX-Canary: no\r\n", "/svc/x", "stable"},
		{"X-Key: annakey\r\n", "/svc/x", "canary"},
		{"X-Key: bobkey\r\n", "/svc/report", "stable"},
		{"X-Key: bobkey\r\n", "/svc/x", "stable"},
	} {
		c.send("GET " + tt.path + " HTTP/1.1\r\nHost: gw.test\r\n" + tt.fields + "\r\n")
		if _, body := c.answer("GET"); body != tt.want {
			t.Errorf("%s %q: got %s, want %s", tt.path, tt.fields, body, tt.want)
		}
	}
	eventually.True(t, "two requests of six are the canary's", func() bool {
		got := counted(t, reg)
		return got["requests_total 2xx svc"] == 6 && got["canary_requests_total 2xx svc"] == 2 && got["canary_upstream_duration_seconds svc"] == 2
	})
}

// K6: an explanation tells the canary, and who is next.
func TestExplainTellsCanaries(t *testing.T) {
	r := canaryRig(t, nil)
	for want, headers := range map[string][][2]string{"stable": nil, "canary": {{"X-Canary", "yes"}}} {
		e, err := r.gw.Explain(&answer.Question{URL: "/svc/x", Headers: headers})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range e.Dispatch.Instances {
			if i.Chosen != (i.ID == want) || i.Canary != (i.ID == "canary") {
				t.Errorf("to %s: %+v", want, i)
			}
		}
	}
}
