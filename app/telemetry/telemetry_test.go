package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/app/telemetry/otlptest"
	"lictor/internal/secret"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
)

const id = "0af7651916cd43dd8448eb211c80319c"

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// served is a request that was answered by the second instance.
func served() *answer.Traced {
	c, ok := trace.Parse("00-" + id + "-b7ad6b7169203331-01")
	if !ok {
		panic("no traceparent")
	}
	t := &answer.Traced{
		Why: answer.Sampled, Peer: netip.MustParseAddr("10.0.0.9"), Proto: "https", Server: "shop.example:8443", ServerPort: "443", Route: "/shop",
		Line: answer.Line{
			Began: began, Took: 30 * time.Millisecond, ID: "r-1", Client: netip.MustParseAddr("192.0.2.7"), Consumer: "ann",
			Method: "GET", Host: "shop.example:8443", Path: "/shop/cart", Version: "2.0", Status: 200, Service: "shop", API: "shop", Agent: "curl/8",
			Answered: 20 * time.Millisecond, In: 3, Out: 17, Ruling: answer.Ruling{Policy: "0a1b2c3d"},
		},
		Attempts: []answer.Attempt{
			{Began: time.Millisecond, Ended: 3 * time.Millisecond, Instance: "a", Address: "10.0.0.1:80", Path: "/cart", Failed: answer.Unreachable},
			{Began: 3 * time.Millisecond, Ended: 30 * time.Millisecond, Instance: "b", Address: "[2001:db8::1]:443", TLS: true, Path: "/cart", Status: 200},
		},
	}
	t.Place.Join(&c, true)
	return t
}

func TestSpansFollowTheConventionsOfHTTP(t *testing.T) {
	refused := served()
	refused.Place.Parent, refused.Attempts, refused.Route = trace.SpanID{}, nil, ""
	refused.Method, refused.Status, refused.Reason, refused.Server = "BREW", 403, "blacklist", "[::1]"
	refused.Ruling.Rule, refused.Ruling.Mode = policy.Rule{Key: "lictor/policy/blacklist/ops", Entry: "/shop"}, policy.Enforce
	failed := served()
	failed.Status, failed.Attempts[1].Status, failed.Error = 502, 502, "proxy: it said nothing"
	bus := served()
	bus.Reason, bus.Status, bus.Attempts = answer.Timeout, 504, []answer.Attempt{{Began: 1, Ended: 9, Bus: true, Instance: "orders", Path: "/x", Failed: answer.Timeout}}
	left := served()
	left.Reason, left.Status, left.Attempts = answer.ClientLeft, 499, left.Attempts[:1]
	server := map[string]string{
		"http.request.method": "GET", "http.route": "/shop", "http.response.status_code": "200", "url.scheme": "https", "url.path": "/shop/cart",
		"server.address": "shop.example", "server.port": "8443", "client.address": "192.0.2.7", "network.peer.address": "10.0.0.9",
		"network.protocol.version": "2", "user_agent.original": "curl/8", "http.request.body.size": "3", "http.response.body.size": "17",
		"lictor.request_id": "r-1", "lictor.kept": "sampled", "lictor.service": "shop", "lictor.api": "shop", "lictor.consumer": "ann",
		"lictor.policy.hash": "0a1b2c3d", "lictor.upstream_us": "20000",
	}
	with := func(base map[string]string, edits ...string) map[string]string {
		m := maps.Clone(base)
		for i := 0; i < len(edits); i += 2 {
			if m[edits[i]] = edits[i+1]; edits[i+1] == "" {
				delete(m, edits[i])
			}
		}
		return m
	}
	first := map[string]string{
		"http.request.method": "GET", "url.scheme": "http", "url.full": "http://10.0.0.1:80/cart", "server.address": "10.0.0.1", "server.port": "80",
		"network.peer.address": "10.0.0.1", "network.peer.port": "80", "error.type": "unreachable", "lictor.instance": "a",
	}
	second := map[string]string{
		"http.request.method": "GET", "url.scheme": "https", "url.full": "https://[2001:db8::1]:443/cart", "server.address": "2001:db8::1", "server.port": "443",
		"network.peer.address": "2001:db8::1", "network.peer.port": "443", "http.response.status_code": "200", "http.request.resend_count": "1", "lictor.instance": "b",
	}
	tests := []struct {
		name    string
		request *answer.Traced
		want    []otlptest.Span // in order of their numbers
	}{
		{"answered by the second instance", served(), []otlptest.Span{
			{Name: "GET /shop", Kind: "SERVER", Attributes: server},
			{Name: "GET", Kind: "CLIENT", Error: true, Attributes: first},
			{Name: "GET", Kind: "CLIENT", Attributes: second},
		}},
		{"refused, by a method that nobody knows", refused, []otlptest.Span{
			{Name: "HTTP", Kind: "SERVER", Attributes: with(server, "http.request.method", "_OTHER", "http.request.method_original", "BREW", "http.route", "",
				"http.response.status_code", "403", "error.type", "blacklist", "server.address", "::1", "server.port", "443",
				"lictor.rule", "lictor/policy/blacklist/ops", "lictor.rule.entry", "/shop", "lictor.rule.mode", "enforce")},
		}},
		{"answered by 502", failed, []otlptest.Span{
			{Name: "GET /shop", Kind: "SERVER", Error: true, Attributes: with(server, "http.response.status_code", "502", "error.type", "502")},
			{Name: "GET", Kind: "CLIENT", Error: true, Attributes: first},
			{Name: "GET", Kind: "CLIENT", Error: true, Attributes: with(second, "http.response.status_code", "502", "error.type", "502")},
		}},
		{"published", bus, []otlptest.Span{
			{Name: "GET /shop", Kind: "SERVER", Error: true, Attributes: with(server, "http.response.status_code", "504", "error.type", "timeout")},
			{Name: "publish orders", Kind: "PRODUCER", Error: true, Attributes: map[string]string{"messaging.system": "rabbitmq", "messaging.operation.type": "send",
				"messaging.operation.name": "publish", "messaging.destination.name": "orders", "http.request.method": "GET", "error.type": "timeout"}},
		}},
		{"left by its client", left, []otlptest.Span{
			{Name: "GET /shop", Kind: "SERVER", Attributes: with(server, "http.response.status_code", "", "error.type", "client_left")},
			{Name: "GET", Kind: "CLIENT", Error: true, Attributes: first},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := otlptest.New(t)
			traces := answer.NewTraces(answer.TraceSettings{})
			e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.NewNullLogger(), Settings: Settings{ServiceName: "edge"}})
			traces.Keep(tt.request)
			run(t, e)
			got := r.Spans()
			slices.SortFunc(got, func(a, b otlptest.Span) int { return place(tt.request, a) - place(tt.request, b) })
			if len(got) != len(tt.want) {
				t.Fatalf("got %d spans, want %d: %+v", len(got), len(tt.want), got)
			}
			for i, want := range tt.want {
				s := got[i]
				parent := fmt.Sprintf("%x", tt.request.Place.Span(0))
				if i == 0 {
					if parent = fmt.Sprintf("%x", tt.request.Place.Parent); tt.request.Place.Parent == (trace.SpanID{}) {
						parent = ""
					}
				}
				if s.Name != want.Name || s.Kind != want.Kind || s.Error != want.Error || s.Trace != id || s.Parent != parent || place(tt.request, s) != i {
					t.Errorf("span %d: got %+v, want %+v below %s", i, s, want, parent)
				}
				if !maps.Equal(s.Attributes, want.Attributes) {
					t.Errorf("span %d: got\n%v, want\n%v", i, s.Attributes, want.Attributes)
				}
				if s.Resource["service.name"] != "edge" || s.Resource["service.version"] == "" || s.Resource["telemetry.sdk.name"] != "opentelemetry" {
					t.Errorf("span %d: it is of %v", i, s.Resource)
				}
			}
			if s := got[0]; !s.Began.Equal(began) || s.Ended.Sub(s.Began) != 30*time.Millisecond {
				t.Errorf("the request took from %v to %v", s.Began, s.Ended)
			}
			if n := len(tt.request.Attempts); n == 2 {
				if a := got[1]; a.Began.Sub(began) != time.Millisecond || a.Ended.Sub(began) != 3*time.Millisecond {
					t.Errorf("the first attempt took from %v to %v", a.Began, a.Ended)
				}
			}
		})
	}
}

// A client that sends bytes that are no text spoils neither its own spans nor those of
// the others that are sent with them.
func TestBytesThatAreNoTextSpoilNoBatch(t *testing.T) {
	r := otlptest.New(t)
	traces := answer.NewTraces(answer.TraceSettings{})
	e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.NewNullLogger(), Settings: Settings{ServiceName: "edge"}})
	odd := served()
	odd.Agent, odd.Path, odd.Attempts[1].Path = "curl\xff", "/shop/\xfe\xffcart", "/\xfe\xffcart"
	traces.Keep(odd)
	traces.Keep(served())
	run(t, e)
	got := r.Spans()
	if len(got) != 6 || traces.Lost() != 0 {
		t.Fatalf("%d spans came, %d requests are lost: %s", len(got), traces.Lost(), e.Problem())
	}
	told := fmt.Sprint(got)
	for _, want := range []string{"curl\uFFFD", "/shop/\uFFFDcart", "10.0.0.1:80/cart", "/\uFFFDcart"} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing tells %q: %s", want, told)
		}
	}
}

// place is which span of a request one is.
func place(t *answer.Traced, s otlptest.Span) int {
	for n := range 8 {
		if fmt.Sprintf("%x", t.Place.Span(n)) == s.ID {
			return n
		}
	}
	return -1
}

// run has e send what waits, and end.
func run(t *testing.T, e *Exporter) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// What a collector does costs what it does not take, is told once, and shows no secret.
func TestWhatACollectorMayAnswer(t *testing.T) {
	const key = "not-to-be-seen"
	var other atomic.Int64
	elsewhere := otlptest.New(t)
	elsewhere.Refuse(func(http.ResponseWriter, *http.Request) bool { other.Add(1); return false })
	answerWith := func(status int, kind, text string, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, strings.ReplaceAll(text, "KEY", r.Header.Get("X-Key")))
			return true
		}
	}
	tests := []struct {
		name  string
		with  func(http.ResponseWriter, *http.Request) bool
		taken bool
		tells string
	}{
		{"it takes them", nil, true, ""},
		{"it is asked to be let alone for a while, once", once(answerWith(429, "text/plain", "", "Retry-After", "1")), true, ""},
		{"it is overloaded, once", once(answerWith(503, "text/plain", "")), true, ""},
		{"it hangs up, once", once(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }), true, ""},
		{"it wants another key", answerWith(401, "text/plain", "no such key: KEY"), false, "401 Unauthorized"},
		{"it sends elsewhere", answerWith(307, "text/plain", "", "Location", elsewhere.URL+"/v1/traces"), false, "307 Temporary Redirect"},
		{"it answers garbage", answerWith(200, "application/x-protobuf", "\xff\xff\xff"), false, "proto"},
		{"it answers without end", answerWith(200, "application/x-protobuf", strings.Repeat("\xff", 1<<20)), false, "proto"},
		{"it takes a part", answerWith(200, "application/json", `{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "KEY may send no more"}}`), false, "[secret] may send no more"},
		{"it is to be asked again in a year", answerWith(503, "text/plain", "", "Retry-After", "31536000"), false, "retry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			r := otlptest.New(t)
			r.Refuse(tt.with)
			traces := answer.NewTraces(answer.TraceSettings{})
			e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
				Settings: Settings{ServiceName: "edge", Headers: map[string]secret.Text{"X-Key": secret.New(key)}}})
			traces.Keep(served())
			run(t, e)
			if taken := len(r.Spans()) > 0; taken != tt.taken || (traces.Lost() == 0) != tt.taken {
				t.Errorf("taken: %v, lost: %d", taken, traces.Lost())
			}
			if p := e.Problem(); (p == "") != tt.taken || !strings.Contains(p, tt.tells) || strings.Contains(p+log.String(), key) || !strings.Contains(log.String(), tt.tells) {
				t.Errorf("%q is told, and in the log:\n%s", p, &log)
			}
			if h := r.Headers(); len(h) == 0 || h[0].Get("X-Key") != key {
				t.Errorf("it was sent with %v", h)
			}
		})
	}
	t.Cleanup(func() {
		if other.Load() > 0 {
			t.Error("a redirect was followed")
		}
	})
}

// once has f answer the first time only.
func once(f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return n.Add(1) == 1 && f(w, r) }
}

// A collector that does not answer holds up the end for as long as it may, not longer.
func TestTheEndWaitsForACollectorWithinABound(t *testing.T) {
	t.Parallel()
	r := otlptest.New(t)
	over := make(chan struct{})
	r.Refuse(func(http.ResponseWriter, *http.Request) bool { <-over; return true })
	defer close(over)
	var log bytes.Buffer
	traces := answer.NewTraces(answer.TraceSettings{})
	e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	for range answer.TracedBatch + 1 {
		traces.Keep(served())
	}
	from := time.Now()
	run(t, e)
	if took := time.Since(from); took < endPatience || took > 2*endPatience {
		t.Errorf("the end took %v, want %v", took, endPatience)
	}
	if traces.Lost() != answer.TracedBatch || !strings.Contains(log.String(), "requests=1") {
		t.Errorf("%d are lost:\n%s", traces.Lost(), &log)
	}
}

// Settings hold from the next batch on, and a collector that is back is told.
func TestSettingsAreReloaded(t *testing.T) {
	t.Parallel()
	r := otlptest.New(t)
	var log bytes.Buffer
	traces := answer.NewTraces(answer.TraceSettings{})
	e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
		Settings: Settings{ServiceName: "before", Headers: map[string]secret.Text{"X-Key": secret.New("old")}}})
	r.Refuse(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Header.Get("X-Key") == "new" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	traces.Keep(served())
	e.sendNext(t.Context())
	if e.Problem() == "" {
		t.Error("a key that does not hold is no problem")
	}
	e.Update(Settings{ServiceName: "after", Headers: map[string]secret.Text{"X-Key": secret.New("new")}})
	traces.Keep(served())
	e.sendNext(t.Context())
	if s := r.Spans(); len(s) == 0 || s[0].Resource["service.name"] != "after" || e.Problem() != "" || !strings.Contains(log.String(), "takes traces again") {
		t.Errorf("%d spans, problem %q, log:\n%s", len(s), e.Problem(), &log)
	}
}

// The environment does not say where traces go, nor with what; it may add to what is
// told of the process.
func TestTheEnvironmentSaysNothing(t *testing.T) {
	stranger := otlptest.New(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": stranger.URL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": stranger.URL, "OTEL_EXPORTER_OTLP_HEADERS": "x-other=1",
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
		"OTEL_SERVICE_NAME": "other", "OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=other", "HTTP_PROXY": stranger.URL, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1", "OTEL_TRACES_SAMPLER": "always_off",
	} {
		t.Setenv(name, value)
	}
	r := otlptest.New(t)
	traces := answer.NewTraces(answer.TraceSettings{})
	e := New(Config{Traces: traces, Endpoint: r.URL + "/v1/traces", Log: hclog.NewNullLogger(), Settings: Settings{ServiceName: "edge"}})
	traces.Keep(served())
	run(t, e)
	s := r.Spans()
	if len(s) != 3 || len(stranger.Headers()) > 0 || s[0].Resource["service.name"] != "edge" || s[0].Resource["a"] != "b" || r.Headers()[0].Get("x-other") != "" || len(s[0].Attributes) < 5 {
		t.Errorf("%d spans, %d elsewhere: %+v", len(s), len(stranger.Headers()), s)
	}
}
