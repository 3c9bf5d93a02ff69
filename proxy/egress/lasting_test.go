package egress

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns/dnstest"
)

// runs is something that runs on: cut reports whether it was ended.
type runs struct {
	name string
	cut  func() bool
}

// open opens a tunnel to host and an answer from it that does not end.
func (b *bench) open(host string) []runs {
	b.Helper()
	c, a := b.connect(b.at(host))
	if a.StatusCode != 200 {
		b.Fatalf("tunnel: got %d", a.StatusCode)
	}
	slow := b.client()
	slow.send("GET " + b.url(host, "/slow") + " HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(slow.r, nil)
	if err != nil {
		b.Fatal(err)
	}
	return []runs{
		{"tunnel to " + host, ended(c.r)},
		{"answer of " + host, ended(bufio.NewReader(resp.Body))},
	}
}

// last waits until so many exchanges are among those that a change may cut.
func (b *bench) last(n int) {
	b.Helper()
	eventually.True(b, "they last", func() bool { return b.proxy.live.Len() == n })
}

// uncut checks that none is cut in a while in which others would be.
func (b *bench) uncut(all []runs) {
	b.Helper()
	for _, r := range all {
		eventually.Holds(b, 250*time.Millisecond, r.name+" is not cut", func() bool { return !r.cut() })
	}
}

// ended reports, whenever it is called, whether r is at its end by then.
func ended(r *bufio.Reader) func() bool {
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, r)
		close(over)
	}()
	return func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
}

// TestPolicyChangeReachesWhatRuns: X14, A2.
func TestPolicyChangeReachesWhatRuns(t *testing.T) {
	tests := []struct {
		name   string
		change func(b *bench)
		reason string // "" = nothing is cut
	}{
		{"an address is blacklisted", func(b *bench) { b.policy(lists{blackKey: black("127.0.0.2")}) }, "reason=blacklist"},
		{"the name is blacklisted", func(b *bench) { b.policy(lists{blackKey: black("shop.example")}) }, "reason=blacklist"},
		{"a whitelist leaves it out", func(b *bench) { b.policy(lists{whiteKey: white("other.example")}) }, "reason=whitelist"},
		{"private addresses are closed", func(b *bench) { s := quick(); s.AllowPrivate = nil; b.proxy.Update(s) }, "reason=private_address"},
		{"the client may not use it any more", func(b *bench) {
			s := quick()
			s.AllowClients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			b.proxy.Update(s)
		}, "reason=client_not_allowed"},
		{"something else is blacklisted", func(b *bench) { b.policy(lists{blackKey: black("127.0.0.9", "10.0.0.0/8")}) }, ""},
		{"a whitelist names it", func(b *bench) { b.policy(lists{whiteKey: white("shop.example")}) }, ""},
		{"another address of the name is blacklisted", func(b *bench) { b.policy(lists{blackKey: black("127.0.0.3")}) }, ""},
		{"the policy is lost", func(b *bench) { b.set.Store(nil); b.proxy.PolicyChanged() }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, quick())
			b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
			all := b.open("shop.example")
			b.dns.Set("shop.example", dnstest.Name{NoName: true}) // it is not looked up again
			b.last(len(all))
			began := time.Now()
			tt.change(b)
			if tt.reason == "" {
				b.uncut(all)
				return
			}
			for _, r := range all {
				eventually.True(b, r.name+" is cut", r.cut)
			}
			eventually.True(b, "the log tells", func() bool {
				return strings.Count(b.log.String(), "cut: ") == 2 && strings.Contains(b.log.String(), tt.reason)
			})
			t.Logf("cut after %v", time.Since(began))
		})
	}
}

// TestLossOfAnInstanceCutsNothing: what discovery says of a service now does
// not matter to what was let in before (X14).
func TestLossOfAnInstanceCutsNothing(t *testing.T) {
	b := newBench(t)
	s := quick()
	s.ReachRegistered = true
	b.policy(lists{whiteKey: white("service:api")})
	b.run(s)
	b.registry.set(map[string][]string{b.at("127.0.0.2"): {"api"}})
	all := b.open("127.0.0.2")
	b.last(len(all))
	b.registry.set(nil)
	b.policy(lists{whiteKey: white("service:api", "other.example")})
	b.uncut(all)
	_, a := b.connect(b.at("127.0.0.2"))
	b.expect(a, 403, answer.Reason(policy.ReasonWhitelist))
}

func TestTunnelLimits(t *testing.T) {
	t.Run("of one client", func(t *testing.T) {
		s := quick()
		s.MaxClientTunnels = 2
		testTunnelLimit(t, s)
	})
	t.Run("of all", func(t *testing.T) {
		s := quick()
		s.MaxTunnels = 2
		testTunnelLimit(t, s)
	})
}

func testTunnelLimit(t *testing.T, s Settings) {
	b := start(t, s)
	c, a := b.connect(b.at("127.0.0.2"))
	b.connect(b.at("127.0.0.2"))
	if n := b.proxy.slots.count(); a.StatusCode != 200 || n != 2 {
		t.Fatalf("got %d, %d tunnels", a.StatusCode, n)
	}
	_, a = b.connect(b.at("127.0.0.2"))
	b.expect(a, 503, answer.Unreachable)
	if a := b.get(b.url("127.0.0.2", "/")); a.StatusCode != 200 {
		t.Errorf("a request without CONNECT: got %d", a.StatusCode)
	}
	c.Close()
	eventually.True(b, "there is room again", func() bool {
		_, a := b.connect(b.at("127.0.0.2"))
		return a.StatusCode == 200
	})
}

func TestTunnelTime(t *testing.T) {
	t.Run("an idle tunnel ends", func(t *testing.T) {
		s := quick()
		s.Stream = 200 * time.Millisecond
		b := start(t, s)
		c, _ := b.connect(b.at("127.0.0.2"))
		eventually.True(b, "it is closed", ended(c.r))
	})
	t.Run("a busy tunnel ends as well", func(t *testing.T) {
		s := quick()
		s.TunnelLife = 300 * time.Millisecond
		b := start(t, s)
		c, _ := b.connect(b.at("127.0.0.2"))
		over := ended(c.r)
		eventually.True(b, "it is closed", func() bool {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return over()
		})
		eventually.True(b, "the log tells", func() bool { return strings.Contains(b.log.String(), "over its time") })
	})
}
