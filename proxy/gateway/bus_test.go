package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/policy"
	"lictor/proxy/middleware"
	"lictor/proxy/rabbitmq"
	"lictor/proxy/upstream"
)

// fakeBus answers by itself and remembers what it was asked.
type fakeBus struct {
	answer func(ctx context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error)

	mu    sync.Mutex // guards calls
	calls []rabbitmq.Request
}

func (b *fakeBus) Call(ctx context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error) {
	kept := *r
	kept.Exchange, kept.Method, kept.Path, kept.Query = strings.Clone(r.Exchange), strings.Clone(r.Method), strings.Clone(r.Path), strings.Clone(r.Query)
	kept.Fields = nil
	for _, f := range r.Fields {
		kept.Fields = append(kept.Fields, rabbitmq.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value)})
	}
	b.mu.Lock()
	b.calls = append(b.calls, kept)
	b.mu.Unlock()
	if b.answer == nil {
		return &rabbitmq.Reply{Status: 200, Body: []byte("done")}, nil
	}
	return b.answer(ctx, r)
}

// take returns what was asked since the last take.
func (b *fakeBus) take() []rabbitmq.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

func values(r rabbitmq.Request, name string) (all []string) {
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// newBusRig is a gateway whose services orders and ev.* are on a bus.
func newBusRig(t testing.TB, bus *fakeBus, edit func(*Settings), configure func(*Config)) *rig {
	t.Helper()
	return newRigWith(t, edit, func(c *Config) {
		c.Bus = &upstream.BusRoute{Bus: bus, Services: []string{"orders", "ev.*"}, Timeout: 5 * time.Second, MaxBody: 1000}
		if configure != nil {
			configure(c)
		}
	})
}

// D12, D13, D18: what a request becomes on the bus.
func TestRequestsOnTheBus(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, func(s *Settings) { s.ProtectedHeaders = []string{"X-Internal-*"} }, nil)
	fields := strings.Join([]string{"Host: shop.test", "X-Two: a", "x-two: b", "Cookie: a=1", "X-WASP-METHOD: DELETE", "X_Wasp_QS: q", "X-Internal-User: root",
		"X-Consumer-ID: 1", "X-Forwarded-For: 6.6.6.6", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers", "Proxy: x"}, "\r\n") + "\r\n"
	tests := []struct {
		name, request               string
		exchange, path, query, body string
	}{
		{"the seed's example", "GET /orders/bar/baz?page=1&size=20 HTTP/1.1\r\n" + fields + "\r\n", "orders", "/bar/baz", "page=1&size=20", ""},
		{"no path", "GET /orders HTTP/1.1\r\n" + fields + "\r\n", "orders", "/", "", ""},
		{"a query without a path", "GET /orders?x HTTP/1.1\r\n" + fields + "\r\n", "orders", "/", "x", ""},
		{"a glob", "GET /ev.new/a%2Fb//c/ HTTP/1.1\r\n" + fields + "\r\n", "ev.new", "/a%2Fb//c/", "", ""},
		{"a body with a length", "POST /orders/new HTTP/1.1\r\n" + fields + "Content-Length: 3\r\n\r\nabc", "orders", "/new", "", "abc"},
		{"a body in chunks", "PUT /orders/new HTTP/1.1\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n", "orders", "/new", "", "abcde"},
		{"an upgrade to h2c is not one", "GET /orders/x HTTP/1.1\r\n" + fields + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", "orders", "/x", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			for range 2 { // the connection goes on
				c.send(tt.request)
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "done" {
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
			}
			for _, got := range bus.take() {
				if got.Exchange != tt.exchange || got.Path != tt.path || got.Query != tt.query || string(got.Body) != tt.body || got.Method != strings.Fields(tt.request)[0] {
					t.Errorf("got %s exchange %q path %q query %q body %q", got.Method, got.Exchange, got.Path, got.Query, got.Body)
				}
				for _, name := range []string{"X-WASP-METHOD", "X_Wasp_QS", "X-Internal-User", "X-Consumer-ID", "X-Hop", "Keep-Alive", "TE", "Proxy", "Connection", "Upgrade", "HTTP2-Settings", "Content-Length", "Transfer-Encoding", "X-Trailer", "Expect"} {
					if v := values(got, name); v != nil {
						t.Errorf("%s is on the bus: %q", name, v)
					}
				}
				for name, want := range map[string]string{"X-Two": "[a b]", "Cookie": "[a=1]", "Host": "[shop.test]", "X-Forwarded-For": "[127.0.0.1]", "X-Forwarded-Prefix": "[/" + tt.exchange + "]", "Via": "[1.1 " + string(r.gw.mark) + "]"} {
					if v := fmt.Sprint(values(got, name)); v != want {
						t.Errorf("%s is %s, want %s", name, v, want)
					}
				}
				if len(values(got, "X-Request-Id")) != 1 || len(values(got, "Traceparent")) != 1 || time.Until(got.Deadline) > 5*time.Second {
					t.Errorf("got %+v", got)
				}
			}
		})
	}
}

// D4: a client that waits for leave to send its body gets it.
func TestExpectOnTheBus(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, nil)
	c := r.dial()
	c.send("POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	if head, err := readHead(c.in); err != nil || head != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("got %q, %v", head, err)
	}
	c.send("abc")
	if resp, _ := c.answer("POST"); resp.StatusCode != 200 || string(bus.take()[0].Body) != "abc" {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// D17, D20: what the bus does not take; the connection survives where it can.
func TestRefusedByTheBusRoute(t *testing.T) {
	tests := []struct {
		name, request string
		status        int
		reason        string
	}{
		{"a length past the limit", "POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large"},
		{"chunks past the limit", "POST /orders/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n", 413, "body_too_large"},
		{"no leave for too much", "POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413, "body_too_large"},
		{"a WebSocket", "GET /orders/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501, "upgrade_not_supported"},
		{"a bad chunk", "POST /orders/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "bad_request"},
		{"the empty name", "GET //orders HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no_service"},
		{"another service", "GET /orders2/x HTTP/1.1\r\nHost: x\r\n\r\n", 503, "unknown_service"},
		{"another spelling", "GET /Orders/x HTTP/1.1\r\nHost: x\r\n\r\n", 503, "unknown_service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bus := new(fakeBus)
			r := newBusRig(t, bus, nil, nil)
			c := r.dial()
			c.send(tt.request)
			resp, body := c.answer("GET")
			if resp.StatusCode != tt.status || !strings.Contains(body, `"reason": "`+tt.reason+`"`) {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if calls := bus.take(); len(calls) != 0 {
				t.Errorf("it was put on the bus: %+v", calls)
			}
		})
	}
	t.Run("a body of just the limit is taken", func(t *testing.T) {
		bus := new(fakeBus)
		c := newBusRig(t, bus, nil, nil).dial()
		c.send("POST /orders/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000))
		if resp, _ := c.answer("POST"); resp.StatusCode != 200 || len(bus.take()[0].Body) != 1000 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
}

// D14, D18: what a reply becomes, on a connection that goes on.
func TestRepliesOfTheBus(t *testing.T) {
	field := func(name, value string) rabbitmq.Field { return rabbitmq.Field{Name: name, Value: value} }
	all := []rabbitmq.Field{field("Content-Type", "text/x"), field("Set-Cookie", "a"), field("Set-Cookie", "b"), field("X-Internal-Host", "h"), field("X-Wasp-Status", "201"),
		field("Connection", "close"), field("Transfer-Encoding", "chunked"), field("Content-Length", "7"), field("X-Bad", "a\r\nb"), field("Bad Name", "x")}
	tests := []struct {
		name, method string
		reply        rabbitmq.Reply
		length, body string
	}{
		{"a status and a body", "GET", rabbitmq.Reply{Status: 201, Body: []byte("made"), Fields: all}, "4", "made"},
		{"no body", "GET", rabbitmq.Reply{Status: 200, Fields: all}, "0", ""},
		{"HEAD gets the length and no body", "HEAD", rabbitmq.Reply{Status: 200, Body: []byte("made"), Fields: all}, "4", ""},
		{"HEAD without a body says no length", "HEAD", rabbitmq.Reply{Status: 200, Fields: all}, "", ""},
		{"204 has none", "GET", rabbitmq.Reply{Status: 204, Body: []byte("made"), Fields: all}, "", ""},
		{"304 has none", "GET", rabbitmq.Reply{Status: 304, Body: []byte("made"), Fields: all}, "", ""},
		{"an error of the worker", "GET", rabbitmq.Reply{Status: 599, Body: []byte("made"), Fields: all}, "4", "made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) { return &tt.reply, nil }}
			c := newBusRig(t, bus, func(s *Settings) { s.ProtectedHeaders = []string{"x-internal-*"} }, nil).dial()
			for range 2 {
				c.send(tt.method + " /orders/x HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, body := c.answer(tt.method)
				h := resp.Header
				if resp.StatusCode != tt.reply.Status || h.Get("Content-Length") != tt.length || body != tt.body {
					t.Fatalf("got %d, length %q, %q", resp.StatusCode, h.Get("Content-Length"), body)
				}
				if h.Get("Content-Type") != "text/x" || !slices.Equal(h["Set-Cookie"], []string{"a", "b"}) || h.Get("Date") == "" {
					t.Errorf("got %v", h)
				}
				for _, name := range []string{"X-Internal-Host", "X-Wasp-Status", "Connection", "Transfer-Encoding", "X-Bad"} {
					if h.Get(name) != "" {
						t.Errorf("%s is in the answer: %v", name, h)
					}
				}
			}
		})
	}
}

// D16, X4: what the bus could not do, and whether a client may repeat it.
func TestFailuresOfTheBus(t *testing.T) {
	for _, tt := range []rabbitmq.Error{
		{Status: 404, Reason: "no_service"},
		{Status: 503, Reason: "unknown_service", RetryAfter: true},
		{Status: 503, Reason: "no_healthy_instance", RetryAfter: true},
		{Status: 503, Reason: "unreachable", RetryAfter: true},
		{Status: 503, Reason: "unreachable"}, // the broker may have it
		{Status: 502, Reason: "reply_lost"},
		{Status: 502, Reason: "bad_gateway"},
		{Status: 504, Reason: "timeout"},
		{Status: 413, Reason: "body_too_large"},
		{Status: 414, Reason: "routing_key_too_long"},
	} {
		t.Run(fmt.Sprint(tt.Status, tt.Reason, tt.RetryAfter), func(t *testing.T) {
			tt.Err = errors.New("secret cause")
			bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) { return nil, &tt }}
			resp, body := newBusRig(t, bus, nil, nil).get("/orders/x")
			if resp.StatusCode != tt.Status || !strings.Contains(body, `"reason": "`+tt.Reason+`"`) || strings.Contains(body, `"message": ""`) || strings.Contains(body, "secret") {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if got := resp.Header.Get("Retry-After") != ""; got != tt.RetryAfter {
				t.Errorf("Retry-After: got %v", got)
			}
		})
	}
}

// Policy holds on the bus as elsewhere: C5, C18, C24, A17, C30.
func TestPolicyOnTheBus(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, nil)
	r.rules.apply(
		put(t, policy.KindConsumers, "thefosk", `{"name": "thefosk", "id": "c-1"}`),
		put(t, policy.KindCredentials, keyHash("k1"), `{"consumer": "c-1"}`),
		put(t, policy.KindPlugins, "auth", `{"id": "auth", "name": "key-auth", "config": {"hide_credentials": true}}`),
		put(t, policy.KindPlugins, "limit", `{"id": "limit", "name": "rate-limiting", "config": {"hour": 1}}`),
		put(t, policy.KindACLs, "a", `{"id": "a", "api": "orders", "consumers": ["thefosk"]}`),
		put(t, policy.KindBlacklist, "ops", `{"entries": ["/orders/admin"], "direction": "ingress"}`),
		put(t, policy.KindFilters, "host", `{"name": "host", "hosts": ["ev.test"]}`),
		put(t, policy.KindAPIs, "ev.filtered", `{"name": "ev.filtered", "filters": ["host"]}`),
	)
	for _, tt := range []struct {
		target, key string
		status      int
		reason      string
	}{
		{"/orders/x", "", 401, "no_credentials"},
		{"/orders/x", "nope", 401, "bad_credentials"},
		{"/orders//x/../admin;a=b", "k1", 403, "blacklist"},
		{"/orders/x?apikey=k1&a=b", "", 200, ""},
		{"/orders/x", "k1", 429, "rate_limit"},
	} {
		resp, body := r.get(tt.target, "X-Other: 1\r\nApikey: "+tt.key)
		if tt.key == "" {
			resp, body = r.get(tt.target)
		}
		if resp.StatusCode != tt.status || tt.reason != "" && !strings.Contains(body, `"reason": "`+tt.reason+`"`) {
			t.Errorf("%s with %q: %d %s", tt.target, tt.key, resp.StatusCode, body)
		}
		if tt.status == 200 && resp.Header.Get("X-RateLimit-Remaining-Hour") != "0" {
			t.Errorf("limit headers: %v", resp.Header)
		}
	}
	calls := bus.take()
	if len(calls) != 1 || calls[0].Query != "a=b" || fmt.Sprint(values(calls[0], "X-Consumer-Username")) != "[thefosk]" {
		t.Errorf("on the bus: %+v", calls)
	}
	c := r.dial()
	c.send("GET /a/b HTTP/1.1\r\nHost: ev.test\r\nApikey: k1\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 200 {
		t.Errorf("an API by filter: %d %s", resp.StatusCode, body)
	}
	if calls := bus.take(); len(calls) != 1 || calls[0].Exchange != "ev.filtered" || calls[0].Path != "/a/b" || values(calls[0], "Apikey") != nil {
		t.Errorf("on the bus: %+v", calls)
	}
}

// D19 on the bus.
func TestMiddlewareOnTheBus(t *testing.T) {
	bus := &fakeBus{answer: func(context.Context, *rabbitmq.Request) (*rabbitmq.Reply, error) {
		return &rabbitmq.Reply{Status: 200, Fields: []rabbitmq.Field{{Name: "Server", Value: "worker"}}}, nil
	}}
	r := newBusRig(t, bus, func(s *Settings) {
		s.Middleware = middleware.New([]middleware.Rule{
			{Name: "edit", Effect: middleware.Effect{
				Request:  &middleware.Edit{Set: []middleware.Field{{Name: "X-A", Value: "new"}}, Remove: []string{"X-B"}, Add: []middleware.Field{{Name: "X-Empty"}}},
				Response: &middleware.Edit{Remove: []string{"server"}, Add: []middleware.Field{{Name: "X-D", Value: "3"}}}}},
			{Name: "route", Match: middleware.Match{Paths: []string{"/shop"}}, Effect: middleware.Effect{Route: "orders"}},
		})
	}, nil)
	resp, _ := r.get("/shop/new?x=1", "X-A: 1", "X-B: 2", "X-C: 3")
	if resp.StatusCode != 200 || resp.Header.Get("Server") != "" || resp.Header.Get("X-D") != "3" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	calls := bus.take()
	if len(calls) != 1 {
		t.Fatalf("on the bus: %+v", calls)
	}
	got := calls[0]
	if edited := fmt.Sprintf("%q", [][]string{values(got, "X-A"), values(got, "X-B"), values(got, "X-C"), values(got, "X-Empty")}); edited != `[["new"] [] ["3"] [""]]` {
		t.Errorf("fields on the bus: %s", edited)
	}
	if got.Exchange != "orders" || got.Path != "/new" || got.Query != "x=1" {
		t.Errorf("on the bus: %+v", got)
	}
	if p := fmt.Sprint(values(got, "X-Forwarded-Prefix")); p != "[/shop]" {
		t.Errorf("X-Forwarded-Prefix is %s", p)
	}
}

// Requests are counted and logged by service; names that nobody answers to
// make no series, and a service that is not asked for any more loses its.
func TestBusMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	book := newLogBook(t, "json")
	bus := &fakeBus{answer: func(_ context.Context, r *rabbitmq.Request) (*rabbitmq.Reply, error) {
		if strings.HasPrefix(r.Path, "/x") {
			return &rabbitmq.Reply{Status: 201}, nil
		}
		return nil, &rabbitmq.Error{Status: 503, Reason: "unknown_service", RetryAfter: true, Err: errors.New("none")}
	}}
	r := newBusRig(t, bus, nil, func(c *Config) { c.Metrics, c.AccessLog = reg, book.log })
	var lines []string
	for _, target := range []string{"/orders/x", "/orders/y", "/ev.a/x", "/ev.a/y", "/ev.made.up/y"} {
		r.get(target)
		lines = append(lines, book.until(t, 1)...)
	}
	if !strings.Contains(lines[0], `"status": 201, "policy": "00000000", "service": "orders", "api": "orders", "upstream_status": 201, "upstream_us": `) ||
		!strings.Contains(lines[4], `"reason": "unknown_service", "policy": "00000000", "service": "ev.made.up"`) {
		t.Errorf("got %s\n%s", lines[0], lines[4])
	}
	want := map[string]float64{
		"requests_total 2xx orders": 1, "requests_total 5xx orders": 1, "requests_total 2xx ev.a": 1, "requests_total 5xx ev.a": 1, "requests_total 5xx ": 1,
		"request_duration_seconds orders": 2, "request_duration_seconds ev.a": 2, "request_duration_seconds ": 1,
		"upstream_duration_seconds orders": 1, "upstream_duration_seconds ev.a": 1, "denied_total  enforce unknown_service ": 1, "denied_total ev.a enforce unknown_service ev.a": 1, "denied_total orders enforce unknown_service orders": 1,
	}
	if got := counted(t, reg); !maps.Equal(got, want) {
		t.Errorf("got\n %v\nwant\n %v", got, want)
	}
}

// Bodies that wait for their answers are bounded together; what is over is
// refused, and may be repeated.
func TestBodiesOnTheBusAreBoundedTogether(t *testing.T) {
	bus := new(fakeBus)
	r := newBusRig(t, bus, nil, func(c *Config) { c.Bus.Memory = 8 })
	post := func(body string) (int, string) {
		c := r.dial()
		c.send(fmt.Sprintf("POST /orders/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		resp, _ := c.answer("POST")
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	for range 2 { // what the first one took is free again
		if status, _ := post("hello"); status != 200 {
			t.Errorf("got %d", status)
		}
	}
	if status, retry := post("hello, all"); status != 503 || retry == "" {
		t.Errorf("got %d, Retry-After %q, want 503 and when to repeat", status, retry)
	}
	if n := len(bus.take()); n != 2 {
		t.Errorf("%d requests were published, want 2", n)
	}
}
