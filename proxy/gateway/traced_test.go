package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

const (
	traceOfClient = "0af7651916cd43dd8448eb211c80319c"
	spanOfClient  = "b7ad6b7169203331"
	sampled       = "traceparent: 00-" + traceOfClient + "-" + spanOfClient + "-01"
	unsampled     = "traceparent: 00-" + traceOfClient + "-" + spanOfClient + "-00"
)

// keeping are the traces of a gateway that keeps a share of them, and none for being slow.
func keeping(share float64) *answer.Traces { return keepingSlow(share, time.Hour) }

func keepingSlow(share float64, slow time.Duration) *answer.Traces {
	return answer.NewTraces(answer.TraceSettings{Share: trace.ShareOf(share), Slow: slow})
}

// What a backend is told of the trace (Trace Context 4.3): of none that is valid one
// begins; else it goes on, by lictor's own span if there are such. Only who is trusted
// has a say in what is kept.
func TestTheTraceGoesOn(t *testing.T) {
	trust := func(s *Settings) { s.TrustedProxies = append(s.TrustedProxies, mustPrefix("127.0.0.0/8")) }
	inside := func(s *Settings) { s.TrustedNetworks = append(s.TrustedNetworks, mustPrefix("127.0.0.0/8")) }
	none, all := keeping(0), keeping(1)
	const own = "own"
	tests := []struct {
		name   string
		traces *answer.Traces
		edit   func(*Settings)
		fields []string

		trace, parent, flags, state string // own: of lictor
	}{
		{"without telemetry the client's word goes on as it is", nil, nil, []string{sampled, "tracestate: a=1", "tracestate: b=2"}, traceOfClient, spanOfClient, "01", "a=1,b=2"},
		{"without telemetry one begins", nil, nil, nil, own, own, "00", ""},
		{"without telemetry one begins where it is not valid", nil, nil, []string{"traceparent: 00-x", "tracestate: a=1"}, own, own, "00", ""},
		{"one begins that is not kept", none, nil, nil, own, own, "00", ""},
		{"one begins that is kept", all, nil, nil, own, own, "01", ""},
		{"a stranger's goes on, and is not kept for its word", none, nil, []string{sampled, "tracestate: a=1"}, traceOfClient, own, "00", "a=1"},
		{"a stranger's is kept by the share", all, nil, []string{unsampled}, traceOfClient, own, "01", ""},
		{"a trusted proxy's is kept", none, trust, []string{sampled}, traceOfClient, own, "01", ""},
		{"a trusted proxy's is not kept", all, trust, []string{unsampled}, traceOfClient, own, "00", ""},
		{"somebody's inside is kept", none, inside, []string{sampled}, traceOfClient, own, "01", ""},
		{"two are none", all, trust, []string{sampled, unsampled, "tracestate: a=1"}, own, own, "01", ""},
		{"one that is not valid is none", all, trust, []string{"traceparent: " + strings.ToUpper(sampled[13:]), "tracestate: a=1"}, own, own, "01", ""},
		{"a state alone is none", all, trust, []string{"tracestate: a=1"}, own, own, "01", ""},
		{"a state is bounded", all, nil, []string{sampled, "tracestate: " + strings.Repeat("k=v,", 200)}, traceOfClient, own, "01", strings.TrimSuffix(strings.Repeat("k=v,", 32), ",")},
		{"one that is protected is not the client's", nil, func(s *Settings) { s.ProtectedHeaders = []string{"traceparent"} }, []string{sampled, "tracestate: a=1"}, own, own, "00", ""},
		{"one that speaks of the connection is none", nil, nil, []string{sampled, "Connection: traceparent"}, own, own, "00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			book := newLogBook(t, "json")
			r := newRigWith(t, tt.edit, func(c *Config) { c.Traces, c.AccessLog = tt.traces, book.log })
			seen := r.headers()
			if resp, _ := r.get("/svc/x", tt.fields...); resp.StatusCode != 200 {
				t.Fatal(resp.StatusCode)
			}
			h := seen()
			parts := strings.Split(strings.Join(h["Traceparent"], " and "), "-")
			if len(parts) != 4 || len(parts[1]) != 32 || len(parts[2]) != 16 {
				t.Fatalf("traceparent: %q", h["Traceparent"])
			}
			is := func(got, want, client string) bool { return want == own && got != client || got == want }
			if !is(parts[1], tt.trace, traceOfClient) || !is(parts[2], tt.parent, spanOfClient) || parts[3] != tt.flags {
				t.Errorf("got %v, want trace %s, parent %s, flags %s", parts, tt.trace, tt.parent, tt.flags)
			}
			if got := strings.Join(h["Tracestate"], " and "); got != tt.state {
				t.Errorf("tracestate is %q, want %q", got, tt.state)
			}
			want := "" // in the log: lictor's if it has one, else the client's
			switch {
			case tt.traces != nil:
				want = parts[1]
			case len(tt.fields) > 0 && tt.fields[0] == sampled:
				want = traceOfClient
			}
			if line := book.until(t, 1)[0]; strings.Contains(line, `"trace_id": `) != (want != "") || !strings.Contains(line, want) {
				t.Errorf("the log wants the trace %q, got %s", want, line)
			}
		})
	}
}

// What is kept though the trace is not, and what the spans are made of: each attempt
// was told the span that is its own.
func TestWhatIsKept(t *testing.T) {
	const down = "127.0.0.1:1"
	tests := []struct {
		name, target string
		serve        http.HandlerFunc
		more         func(r *rig, addr string)
		why          answer.Why
		status       int
		reason       answer.Reason
		route        string
		attempts     string // instance's failure or status, in order
	}{
		{"an ordinary one is not", "/svc/x", func(http.ResponseWriter, *http.Request) {}, nil, answer.NotKept, 200, "", "", ""},
		{"a 404 of the service is not", "/svc/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, nil, answer.NotKept, 404, "", "", ""},
		{"refused", "/svc/admin", nil, func(r *rig, _ string) {
			r.rules.apply(put(r.t, policy.KindBlacklist, "ops", `{"entries": ["/svc/admin"], "direction": "ingress"}`))
		}, answer.Refused, 403, "blacklist", "/svc", ""},
		{"refused, by a name that the client made up", "/made-up/x", nil, nil, answer.Refused, 503, "unknown_service", "", ""},
		{"failed", "/svc/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil, answer.Failed, 500, "", "/svc", "500"},
		{"slow", "/svc/x", func(http.ResponseWriter, *http.Request) { <-time.After(60 * time.Millisecond) }, nil, answer.Slow, 200, "", "/svc", "200"},
		{"retried", "/svc/x", func(http.ResponseWriter, *http.Request) {}, func(r *rig, addr string) {
			r.src.set(resolver.Options{}, down, addr)
		}, answer.Retried, 200, "", "/svc", "unreachable 200"},
		{"by nobody to be had", "/svc/x", nil, func(r *rig, _ string) { r.src.set(resolver.Options{}, down) }, answer.Refused, 503, "unreachable", "/svc", "unreachable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			traces := keeping(0)
			if tt.why == answer.Slow {
				traces = keepingSlow(0, 50*time.Millisecond)
			}
			r := newRigWith(t, func(s *Settings) { s.Retries = 1 }, func(c *Config) { c.Traces = traces })
			told := make(chan string, 100)
			s := r.backend(func(w http.ResponseWriter, q *http.Request) {
				told <- q.Header.Get("Traceparent")
				tt.serve(w, q)
			})
			if tt.more != nil {
				tt.more(r, s.Listener.Addr().String())
			}
			if tt.why == answer.NotKept {
				resp, _ := r.get(tt.target)
				r.stop() // then the request is over
				if batch := traces.Take(); len(batch) > 0 || resp.StatusCode != tt.status {
					t.Errorf("%d, kept %d times", resp.StatusCode, len(batch))
				}
				return
			}
			var got *answer.Traced
			eventually.True(t, "it is kept", func() bool { // that of two instances which is down comes first now and then
				resp, _ := r.get(tt.target, "traceparent: 00-"+traceOfClient+"-"+spanOfClient+"-01", "User-Agent: test/1")
				if resp.StatusCode != tt.status {
					t.Fatalf("got %d, want %d", resp.StatusCode, tt.status)
				}
				if batch := traces.Take(); len(batch) > 0 {
					got = batch[len(batch)-1]
				}
				return got != nil
			})
			if got.Why != tt.why || got.Status != tt.status || got.Reason != tt.reason || got.Route != tt.route || got.Agent != "test/1" || got.Server != "gw.test" || got.Proto != "http" {
				t.Errorf("got %+v", got)
			}
			if got.Place.Trace.String() != traceOfClient || fmt.Sprintf("%x", got.Place.Parent) != spanOfClient || got.Peer.String() != "127.0.0.1" {
				t.Errorf("it is at %+v, of %s", got.Place, got.Peer)
			}
			var attempts []string
			for _, a := range got.Attempts {
				if attempts = append(attempts, string(a.Failed)); a.Failed == "" {
					attempts[len(attempts)-1] = fmt.Sprint(a.Status)
				}
				if a.Ended < a.Began || a.Ended > got.Took || a.Path != "/x" {
					t.Errorf("an attempt: %+v of %v", a, got.Took)
				}
			}
			if is := strings.Join(attempts, " "); is != tt.attempts {
				t.Errorf("attempts: %s, want %s", is, tt.attempts)
			}
			if n := len(got.Attempts); n > 0 && got.Attempts[n-1].Status > 0 {
				var all []string // of the requests up to this one, and maybe the next
				for len(told) > 0 {
					all = append(all, <-told)
				}
				if want := string(got.Place.AppendParent(nil, n)); !slices.Contains(all, want) {
					t.Errorf("the instance was told %q, want %s", all, want)
				}
			}
		})
	}
}

// Who is asked by forward-auth belongs to the trace, too: below the span of the
// request.
func TestAnAuthorityIsToldTheTrace(t *testing.T) {
	traces := keeping(1)
	r := newRigWith(t, nil, func(c *Config) { c.Traces = traces })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	a := r.authority("", func(http.ResponseWriter, *http.Request) { <-time.After(10 * time.Millisecond) })
	r.get("/svc/x", sampled, "tracestate: a=1")
	var batch []*answer.Traced
	eventually.True(t, "it is kept", func() bool { batch = append(batch, traces.Take()...); return len(batch) == 1 })
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.got[0].Header
	if want := string(batch[0].Place.AppendParent(nil, 0)); len(h["Traceparent"]) != 1 || h.Get("Traceparent") != want || h.Get("Tracestate") != "a=1" {
		t.Errorf("got %q and %q, want %s", h["Traceparent"], h["Tracestate"], want)
	}
	if began := batch[0].Attempts[0].Began; began < 10*time.Millisecond {
		t.Errorf("the attempt began after %v, while the authority thought", began)
	}
}

// A request on the bus has the producer's span as its parent there.
func TestARequestOnTheBusIsTraced(t *testing.T) {
	traces, bus := keeping(1), new(fakeBus)
	r := newBusRig(t, bus, nil, func(c *Config) { c.Traces = traces })
	r.get("/orders/x?key=1")
	var batch []*answer.Traced
	eventually.True(t, "it is kept", func() bool { batch = append(batch, traces.Take()...); return len(batch) == 1 })
	got := batch[0]
	if len(got.Attempts) != 1 || !got.Attempts[0].Bus || got.Attempts[0].Instance != "orders" || got.Attempts[0].Status != 200 {
		t.Fatalf("got %+v", got.Attempts)
	}
	if is, want := fmt.Sprint(values(bus.take()[0], "Traceparent")), "["+string(got.Place.AppendParent(nil, 1))+"]"; is != want {
		t.Errorf("the worker is told %s, want %s", is, want)
	}
}

// The kept one is in memory of its own, for that of the request is used again.
func TestWhatIsKeptIsNotOverwritten(t *testing.T) {
	traces := keeping(1)
	r := newRigWith(t, nil, func(c *Config) { c.Traces = traces })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	c := r.dial()
	for i := range 20 {
		c.send(fmt.Sprintf("GET /svc/%02d HTTP/1.1\r\nHost: host-%02d\r\nUser-Agent: agent-%02d\r\n\r\n", i, i, i))
		c.answer("GET")
	}
	var batch []*answer.Traced
	eventually.True(t, "all are kept", func() bool { batch = append(batch, traces.Take()...); return len(batch) == 20 })
	for i, got := range batch {
		if n := fmt.Sprintf("%02d", i); got.Path != "/svc/"+n || got.Server != "host-"+n || got.Agent != "agent-"+n || got.Attempts[0].Path != "/"+n || got.Method != "GET" {
			t.Errorf("request %s is kept as %+v", n, got)
		}
	}
}
