package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/middleware"
	"lictor/proxy/upstream"
	"lictor/resolver"
)

// services puts services of the names behind one address.
func (r *rig) services(addr string, names ...string) {
	var all []*resolver.Service
	for _, n := range names {
		all = append(all, &resolver.Service{Name: n, Loaded: true, Instances: []*resolver.Instance{{ID: n, Address: addr, Weight: 1, State: resolver.Passing}}})
	}
	r.src.catalog.Store(resolver.NewCatalog(all...))
}

func chainOf(rules ...middleware.Rule) func(*Settings) {
	return func(s *Settings) { s.Middleware = middleware.New(rules) }
}

func withHeader(t testing.TB, name, value string) middleware.Match {
	t.Helper()
	p, err := middleware.CompilePattern(name, value)
	if err != nil {
		t.Fatal(err)
	}
	return middleware.Match{Headers: []middleware.HeaderPattern{p}}
}

// D19: a request that is routed elsewhere is decided on as if it had been
// asked for there, and goes on to later rules as the client sent it.
func TestRerouteObeysTheOtherService(t *testing.T) {
	r := newRig(t, chainOf(
		middleware.Rule{Name: "split", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "canary"}},
		middleware.Rule{Name: "later", Match: middleware.Match{Paths: []string{"/shop/late"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}},
		middleware.Rule{Name: "nobody", Match: middleware.Match{Paths: []string{"/svc"}}, Effect: middleware.Effect{Route: "unknown"}},
	))
	s := r.backend(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, req.RequestURI+" "+req.Header.Get("X-Forwarded-Prefix"))
	})
	r.services(s.Listener.Addr().String(), "shop", "canary", "svc")
	r.rules.apply(
		put(t, policy.KindBlacklist, "ops", `["/canary/admin"]`),
		put(t, policy.KindFilters, "api", `{"name": "api", "paths": ["/canary/api"]}`),
		put(t, policy.KindFilters, "open", `{"name": "open", "paths": ["/canary/open"], "methods": ["GET"]}`),
		put(t, policy.KindACLs, "a1", `{"id": "a1", "api": "canary", "groups": ["staff"], "filters": ["api"]}`),
		put(t, policy.KindACLs, "a2", `{"id": "a2", "api": "canary", "filters": ["open"]}`),
	)
	for _, tt := range []struct {
		target string
		status int
		body   string
	}{
		{"/shop/open/x?y=1", 200, "/open/x?y=1 /shop"},
		{"/shop/open//%2F;z", 200, "/open//%2F;z /shop"},
		{"/shop/admin", 403, "blacklist"},
		{"/shop/x/..%2fadmin", 403, "blacklist"},
		{"/shop/api", 401, "no_credentials"},
		{"/shop/else", 401, "no_credentials"},
		{"/shop/late", 401, "no_credentials"},
		{"/svc/x", 503, "unknown_service"},
	} {
		resp, body := r.get(tt.target)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s: got %d %s", tt.target, resp.StatusCode, body)
		}
	}
}

// E7: middleware holds however the path spells a service whose registry does
// not mind.
func TestMiddlewareGoesByTheServiceNotItsSpelling(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "shut", Match: middleware.Match{Paths: []string{"/svc/admin"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}}))
	s := r.backend(func(http.ResponseWriter, *http.Request) {})
	r.src.catalog.Store(resolver.NewFoldedCatalog(&resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{
		{ID: "a", Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}}))
	for target, want := range map[string]int{"/svc/admin": 410, "/SVC/admin/x": 410, "/Svc/x/..%2fadmin": 410, "/SVC/open": 200} {
		if resp, _ := r.get(target); resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", target, resp.StatusCode, want)
		}
	}
}

// E7: rules hold also where they call the service as its registry shows it.
func TestRulesInUpperCaseHold(t *testing.T) {
	r := newRig(t, nil)
	s := r.backend(func(http.ResponseWriter, *http.Request) {})
	folded := func(names ...string) (all []*resolver.Service) {
		for _, n := range names {
			all = append(all, &resolver.Service{Name: n, Loaded: true, Instances: []*resolver.Instance{
				{ID: "a", Address: s.Listener.Addr().String(), Weight: 1, State: resolver.Passing}}})
		}
		return all
	}
	r.src.catalog.Store(resolver.NewFoldedCatalog(folded("svc", "both", "open")...))
	r.rules.apply(
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "SVC", "groups": ["staff"]}`),
		put(t, policy.KindFilters, "get", `{"name": "get", "methods": ["GET"]}`),
		put(t, policy.KindACLs, "b", `{"id": "b", "api": "BOTH", "filters": ["get"]}`),
		put(t, policy.KindACLs, "c", `{"id": "c", "api": "both", "groups": ["staff"]}`),
		put(t, policy.KindBlacklist, "d", `["/OPEN/admin"]`),
	)
	for target, want := range map[string]int{"/svc/x": 401, "/SVC/x": 401, "/Svc": 401, "/both/x": 401, "/BOTH/x": 401, "/open/x": 200, "/OPEN/x": 200, "/OPEN/admin": 403} {
		if resp, body := r.get(target); resp.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", target, resp.StatusCode, body, want)
		}
		if e, err := r.gw.Explain(&answer.Question{URL: target}); err != nil || e.Status != want {
			t.Errorf("%s: explained as %+v %v", target, e, err)
		}
	}
	r.rules.apply(put(t, policy.KindACLs, "c", `{"id": "c", "api": "both", "filters": ["get"]}`))
	if resp, _ := r.get("/both/x"); resp.StatusCode != 200 {
		t.Errorf("what both let in: got %d", resp.StatusCode)
	}
}

// X14: a routed request stands under the rules of both services.
func TestRevocationReachesReroutedAnswers(t *testing.T) {
	for _, entry := range []string{"/shop", "/canary"} {
		t.Run(entry, func(t *testing.T) {
			r := newRig(t, chainOf(middleware.Rule{Name: "split", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "canary"}}))
			l := listen(t)
			serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
				readHead(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
				io.Copy(io.Discard, in)
			})
			r.services(l.Addr().String(), "shop", "canary")
			c := r.dial()
			c.send("GET /shop/s HTTP/1.1\r\nHost: x\r\n\r\n")
			readHead(c.in)
			r.oneLasts()
			began := time.Now()
			r.rules.apply(put(t, policy.KindBlacklist, "b", `["`+entry+`"]`))
			r.gw.PolicyChanged()
			io.Copy(io.Discard, c.in)
			if took := time.Since(began); took > soon {
				t.Errorf("cut after %v", took)
			}
		})
	}
}

// D18, C24: what a client may not say of itself does not steer middleware.
func TestMiddlewareBelievesWhatIsBelieved(t *testing.T) {
	block := middleware.Effect{Block: &middleware.Block{Status: 410}}
	tests := []struct {
		name, header, value string
		sent                []string
		inside              bool
		status              int
	}{
		{"a plain field", "User-Agent", "~Mobile", []string{"User-Agent: a Mobile b"}, false, 410},
		{"another value", "User-Agent", "~Mobile", []string{"User-Agent: desk"}, false, 200},
		{"no field", "User-Agent", "~.*", nil, false, 200},
		{"any value", "X-Any", "", []string{"X-Any;: x", "X-Any: "}[1:], false, 410},
		{"hidden behind another field of the name", "User-Agent", "~^Bad$", []string{"User-Agent: good", "user-agent: Bad"}, false, 410},
		{"an identity", "X-Consumer-Username", "root", []string{"X-Consumer-Username: root"}, true, 200},
		{"a protected field from outside", "X-Internal-Debug", "1", []string{"X-Internal-Debug: 1"}, false, 200},
		{"a protected field from inside", "X-Internal-Debug", "1", []string{"X-Internal-Debug: 1"}, true, 410},
		{"X-Forwarded of a stranger", "X-Forwarded-Proto", "https", []string{"X-Forwarded-Proto: https"}, false, 200},
		{"X-Forwarded of a trusted proxy", "X-Forwarded-Proto", "https", []string{"X-Forwarded-Proto: https"}, true, 410},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) {
				chainOf(middleware.Rule{Name: "m", Match: withHeader(t, tt.header, tt.value), Effect: block})(s)
				s.ProtectedHeaders = []string{"X-Internal-*"}
				if tt.inside {
					s.TrustedNetworks = append(s.TrustedNetworks, mustPrefix("127.0.0.0/8"))
					s.TrustedProxies = append(s.TrustedProxies, mustPrefix("127.0.0.0/8"))
				}
			})
			r.backend(func(http.ResponseWriter, *http.Request) {})
			if resp, _ := r.get("/svc/x", tt.sent...); resp.StatusCode != tt.status {
				t.Errorf("got %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

// D19: what a block answers is well-formed whatever its status, and carries what
// middleware adds to answers, such as the place to go to instead.
func TestBlockedAnswers(t *testing.T) {
	to := &middleware.Edit{Set: []middleware.Field{{Name: "Location", Value: "/new"}}}
	r := newRig(t, chainOf(
		middleware.Rule{Name: "moved", Match: middleware.Match{Paths: []string{"/svc/old"}}, Effect: middleware.Effect{Response: to, Block: &middleware.Block{Status: 301, Message: "Näher \"dran\""}}},
		middleware.Rule{Name: "quiet", Match: middleware.Match{Paths: []string{"/svc/quiet"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 204}}},
	))
	r.backend(func(http.ResponseWriter, *http.Request) {})
	c := r.dial()
	for range 2 { // the connection goes on
		c.send("GET /svc/old HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, body := c.answer("GET")
		var said struct{ Message string }
		if err := json.Unmarshal([]byte(body), &said); err != nil || resp.StatusCode != 301 || resp.Header.Get("Location") != "/new" || said.Message != "Näher \"dran\"" {
			t.Errorf("got %d %v %s %v", resp.StatusCode, resp.Header, body, err)
		}
		c.send("GET /svc/quiet HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, body := c.answer("GET"); resp.StatusCode != 204 || body != "" || resp.Header.Get("Content-Length") != "" || resp.Header.Get("Content-Type") != "" {
			t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
		}
	}
}

// X13: report mode does nothing and tells everything.
func TestMiddlewareInReportMode(t *testing.T) {
	reg := prometheus.NewRegistry()
	var output bytes.Buffer
	r := newRigWith(t, chainOf(
		middleware.Rule{Name: "blocks", Report: true, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}},
		middleware.Rule{Name: "routes", Report: true, Effect: middleware.Effect{Route: "other", Request: &middleware.Edit{Add: []middleware.Field{{Name: "X-A", Value: "1"}}}}},
	), func(c *Config) { c.Metrics, c.Log = reg, hclog.New(&hclog.LoggerOptions{Output: &output}) })
	r.backend(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, req.Header.Get("X-A")) })
	if resp, body := r.get("/svc/x"); resp.StatusCode != 200 || body != "" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	r.stop()
	for _, want := range []string{`middleware=blocks action="block with 410"`, `middleware=routes action="route to other, edit the request"`} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("no %s in\n%s", want, output.String())
		}
	}
	got := counted(t, reg)
	if got["denied_total svc report middleware svc"] != 1 || got["middleware_matched_total blocks"] != 1 || got["middleware_matched_total routes"] != 1 {
		t.Errorf("got %v", got)
	}
}

// D19: a JSON line for each request that matches, refused ones too.
func TestRecords(t *testing.T) {
	book, records := newLogBook(t, "common"), newLogBook(t, "common")
	r := newRigWith(t, chainOf(
		middleware.Rule{Name: "audit", Match: middleware.Match{Methods: []string{"GET"}}, Effect: middleware.Effect{Record: true}},
		middleware.Rule{Name: "shut", Match: middleware.Match{Paths: []string{"/svc/shut"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 403}}},
	), func(c *Config) { c.AccessLog, c.Records = book.log, records.log })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.get("/svc/x?secret=1")
	lines := records.until(t, 1) // a line may come after its answer
	r.get("/svc/shut")
	lines = append(lines, records.until(t, 1)...)
	book.until(t, 2)
	for i, want := range []string{`audit 200 /svc/x svc`, `audit 403 /svc/shut svc`} {
		var line struct {
			Record, Path, Service string
			Status                int
			TookUs                *int `json:"took_us"`
		}
		if err := json.Unmarshal([]byte(lines[i]), &line); err != nil {
			t.Fatalf("%v in %s", err, lines[i])
		}
		if got := fmt.Sprintf("%s %d %s %s", line.Record, line.Status, line.Path, line.Service); got != want || line.TookUs == nil {
			t.Errorf("got %q in %s, want %q", got, lines[i], want)
		}
	}
}

// D19, D18: what a response edit removes is gone from the trailers, too.
func TestEditsReachTrailers(t *testing.T) {
	r := newRig(t, chainOf(middleware.Rule{Name: "m", Effect: middleware.Effect{Response: &middleware.Edit{Remove: []string{"X-Secret"}}}}))
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Secret, X-Open\r\nX-Secret: 1\r\n\r\n1\r\na\r\n0\r\nX-Secret: 1\r\nX-Open: 1\r\n\r\n")
	})
	c := r.dial()
	c.send("GET /svc/x HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
	resp, _ := c.answer("GET")
	if resp.Header.Get("X-Secret") != "" || resp.Trailer.Get("X-Secret") != "" || resp.Trailer.Get("X-Open") != "1" {
		t.Errorf("got %v, trailers %v", resp.Header, resp.Trailer)
	}
}

// D19: explain tells what the middleware would do, by the same evaluation.
func TestExplainMiddleware(t *testing.T) {
	r := newRigWith(t, chainOf(
		middleware.Rule{Name: "tests", Match: middleware.Match{Paths: []string{"/shop"}}, Report: true, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}},
		middleware.Rule{Name: "split", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "canary"}},
		middleware.Rule{Name: "shut", Match: middleware.Match{Paths: []string{"/shop/shut"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 410}}},
	), func(c *Config) { c.Bus = &upstream.BusRoute{Bus: new(fakeBus), Services: []string{"canary"}} })
	r.services("127.0.0.1:1", "shop")
	r.rules.apply(put(t, policy.KindBlacklist, "ops", `["/canary/admin"]`))
	for _, tt := range []struct{ target, outcome, steps string }{
		{"/shop/x", "true 200  rabbitmq", "blacklist pass, middleware would_deny tests: block with 410, middleware pass split: route to canary, blacklist pass"},
		{"/shop/admin", "false 403 blacklist ", "blacklist pass, middleware would_deny tests: block with 410, middleware pass split: route to canary, blacklist deny"},
		{"/shop/shut", "false 410 middleware ", "blacklist pass, middleware would_deny tests: block with 410, middleware pass split: route to canary, blacklist pass, middleware deny shut: block with 410"},
	} {
		e, err := r.gw.Explain(&answer.Question{URL: tt.target})
		if err != nil {
			t.Fatal(err)
		}
		kind := ""
		if e.Dispatch != nil {
			kind = e.Dispatch.Kind
		}
		var steps []string
		for _, s := range e.Steps {
			if s.Step == "middleware" || s.Step == "blacklist" {
				note := s.Note
				if s.Step == "blacklist" {
					note = ""
				}
				steps = append(steps, strings.TrimSpace(s.Step+" "+s.Verdict+" "+note))
			}
		}
		if got := fmt.Sprint(e.Allowed, " ", e.Status, " ", e.Reason, " ", kind); got != tt.outcome || strings.Join(steps, ", ") != tt.steps {
			t.Errorf("%s: got %s: %s", tt.target, got, strings.Join(steps, ", "))
		}
	}
}

// The decision on a live request tells of the middleware it met, on the bus too.
func TestDecisionTellsOfMiddleware(t *testing.T) {
	r := newBusRig(t, new(fakeBus), func(s *Settings) {
		chainOf(middleware.Rule{Name: "split", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "orders"}})(s)
		s.TrustedNetworks = append(s.TrustedNetworks, mustPrefix("127.0.0.0/8"))
	}, nil)
	resp, _ := r.get("/shop/x", "X-Lictor-Explain: 1")
	eventually.True(t, "the decision is kept", func() bool {
		text, ok := r.gw.Decision(resp.Header.Get("X-Lictor-Decision"))
		return ok && strings.Contains(string(text), "split: route to orders") && strings.Contains(string(text), `"kind":"rabbitmq"`)
	})
}

// What no rule matches costs no allocation.
func TestChainDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // sync.Pool, of regexp, drops at random under it
	}
	pattern := middleware.HeaderPattern{Name: "User-Agent", Regexp: regexp.MustCompile("Mobile|Tablet")}
	r := newRig(t, chainOf(
		middleware.Rule{Name: "a", Match: middleware.Match{Headers: []middleware.HeaderPattern{pattern}}, Effect: middleware.Effect{Record: true}},
		middleware.Rule{Name: "b", Match: middleware.Match{Paths: []string{"/svc/admin"}, Methods: []string{"POST"}}, Effect: middleware.Effect{Block: &middleware.Block{Status: 403}}},
		middleware.Rule{Name: "c", Match: middleware.Match{Hosts: []string{"*.example.org"}, Share: 0.5}, Effect: middleware.Effect{Route: "other"}},
		middleware.Rule{Name: "d", Match: middleware.Match{Paths: []string{"/svc/b"}, Share: 0.01}, Effect: middleware.Effect{Record: true}},
	))
	r.backend(func(http.ResponseWriter, *http.Request) {})
	head := "GET /svc/a;v=1/%2F?x=1 HTTP/1.1\r\nHost: gw.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nX-Internal-A: 1\r\nAccept: */*\r\n\r\n"
	x := &exchange{gw: r.gw, decision: new(decision)}
	x.in = inbound{set: r.gw.settings.Load(), req: new(message.RequestHead), began: time.Now(), peer: mustPrefix("127.0.0.1/32").Addr()}
	if err := x.in.req.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	x.in.identify()
	fields := make([]bool, 0, 16)
	run := func() {
		x.decision.reset(r.gw, &x.in)
		if refused := x.decide(); refused.Status != 0 || x.decision.edits != nil || x.decision.permit.Service() != "svc" {
			t.Fatal("a rule matched")
		}
		fields = fields[:0]
		for i := range x.in.req.Fields {
			fields = append(fields, x.PassesUp(&x.in.req.Fields[i]))
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}
