package egress

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"lictor/internal/eventually"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns/dnstest"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
	sampled     = "traceparent: 00-" + clientTrace + "-" + clientSpan + "-01"
)

// The target is told of lictor's span where the client named a trace, and of no trace
// where it named none; what is kept tells the target by its name and its address.
func TestWhatTheEgressTellsOfTraces(t *testing.T) {
	inside := prefixes("127.0.0.0/8")
	tests := []struct {
		name     string
		share    float64
		believed []netip.Prefix
		method   string
		policy   lists
		fields   []string

		parent string // own: of lictor; else what the target gets
		flags  string
		why    answer.Why
		status int
		reason answer.Reason
	}{
		{"none of the client, not kept", 0, nil, "GET", nil, nil, "", "", answer.NotKept, 200, ""},
		{"none of the client, kept", 1, nil, "GET", nil, nil, "", "", answer.Sampled, 200, ""},
		{"a stranger's is not kept for its word", 0, nil, "GET", nil, []string{sampled}, "own", "00", answer.NotKept, 200, ""},
		{"that of one who is trusted is kept", 0, inside, "GET", nil, []string{sampled}, "own", "01", answer.Sampled, 200, ""},
		{"what is no traceparent is the client's business", 1, inside, "GET", nil, []string{"traceparent: x"}, "x", "", answer.Sampled, 200, ""},
		{"denied", 0, nil, "GET", lists{blackKey: black("shop.example")}, []string{sampled}, "", "", answer.Refused, 403, "blacklist"},
		{"a tunnel", 1, nil, "CONNECT", nil, nil, "", "", answer.Sampled, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			traces := answer.NewTraces(answer.TraceSettings{Share: trace.ShareOf(tt.share)})
			settings := quick()
			settings.Believed = tt.believed
			b.run(settings, func(c *Config) { c.Traces = traces })
			b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.7"}})
			b.policy(tt.policy)
			if tt.method == "CONNECT" {
				c, got := b.connect(b.at("shop.example"))
				b.expect(got, tt.status, tt.reason)
				c.Close()
			} else {
				b.expect(b.get(b.url("shop.example", "/cart?key=1"), tt.fields...), tt.status, tt.reason)
			}
			if tt.status == 200 && tt.method == "GET" {
				parts := strings.Split(strings.Join(b.origin.last(t).Header["Traceparent"], " and "), "-")
				if tt.parent != "own" {
					if parts[0] != tt.parent {
						t.Errorf("the target got %q, want %q", parts, tt.parent)
					}
				} else if len(parts) != 4 || parts[1] != clientTrace || parts[2] == clientSpan || parts[3] != tt.flags {
					t.Errorf("the target got %q", parts)
				}
			}
			if tt.why == answer.NotKept {
				eventually.True(t, "it is over", func() bool { return strings.Contains(b.log.String(), "allowed") }) // then the request is over, but for what it holds
				if batch := traces.Take(); len(batch) > 0 {
					t.Errorf("it is kept as %s", batch[0].Why)
				}
				return
			}
			var got *answer.Traced
			eventually.True(t, "it is kept", func() bool {
				batch := traces.Take()
				if len(batch) > 0 {
					got = batch[0]
				}
				return got != nil
			})
			if got.Why != tt.why || got.Status != tt.status || got.Reason != tt.reason || got.Server != "shop.example" || got.ServerPort != fmt.Sprint(b.origin.port) || got.Listener != "egress" {
				t.Errorf("got %+v", got)
			}
			if tt.status != 200 {
				if len(got.Attempts) > 0 || got.Ruling.Mode != policy.Enforce {
					t.Errorf("denied, with %+v by %+v", got.Attempts, got.Ruling)
				}
				return
			}
			path := "/cart"
			if tt.method == "CONNECT" {
				path = ""
			}
			if len(got.Attempts) != 1 || got.Attempts[0].Address != b.at("shop.example") || got.Attempts[0].Dialled.Addr().String() != "127.0.0.7" || got.Attempts[0].Path != path || got.Attempts[0].Began == 0 {
				t.Errorf("attempts: %+v", got.Attempts)
			}
			if tt.parent == "own" {
				if want := string(got.Place.AppendParent(nil, 1)); b.origin.last(t).Header.Get("Traceparent") != want || fmt.Sprintf("%x", got.Place.Parent) != clientSpan {
					t.Errorf("the target got %q, want %s, below %x", b.origin.last(t).Header.Get("Traceparent"), want, got.Place.Parent)
				}
			}
		})
	}
}
