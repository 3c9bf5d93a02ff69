package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"lictor/proxy/egress/dns/dnstest"
	"lictor/proxy/own"
)

// TestCrownJewels: a policy that opens everything, and our own infrastructure
// in every spelling that leads to it. All are denied (X9).
func TestCrownJewels(t *testing.T) {
	s := quick()
	s.ReachPrivate, s.ReachRegistered = true, true
	b := newBench(t)
	b.policy(lists{whiteKey: white("0.0.0.0/0", "::/0", ".example", "localhost")})
	for name, answer := range map[string]dnstest.Name{
		"consul.internal": {Addrs: []string{"192.0.2.40", "2001:db8::40"}},
		"rebind.example":  {Addrs: []string{"127.0.0.1"}},
		"two.example":     {Addrs: []string{"192.0.2.99", "127.0.0.1"}},
		"alias.example":   {CNAME: "rebind.example"},
		"mapped.example":  {Addrs: []string{"::ffff:127.0.0.1"}},
		"nat64.example":   {Addrs: []string{"64:ff9b::7f00:1"}},
		"zero.example":    {Addrs: []string{"0.0.0.0"}},
		"consul.example":  {Addrs: []string{"192.0.2.40"}},
		"six.example":     {Addrs: []string{"::1"}},
	} {
		b.dns.Set(name, answer)
	}
	b.run(s, func(c *Config) {
		before := c.Own
		c.Own = func() []own.Endpoint {
			return append(before(), own.Endpoint{Port: 8001}, own.Endpoint{Host: "consul.internal", Port: 8500}, own.Endpoint{Host: "192.0.2.50", Port: 5672},
				own.Endpoint{Host: "2001:db8::50", Port: 8761})
		}
	})
	_, egress, _ := net.SplitHostPort(b.addr)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	b.dns.Set(strings.ToLower(host), dnstest.Name{Addrs: []string{"127.0.1.1"}})
	spellings := []string{
		"127.0.0.1:" + egress, "127.0.0.1.:" + egress, "127.1.2.3:" + egress, "127.255.255.254:" + egress, "0.0.0.0:" + egress,
		"[::1]:" + egress, "[0:0:0:0:0:0:0:1]:" + egress, "[::]:" + egress, "[::0.0.0.0]:" + egress,
		"[::ffff:127.0.0.1]:" + egress, "[::FFFF:7F00:1]:" + egress, "[::127.0.0.1]:" + egress,
		"[64:ff9b::127.0.0.1]:" + egress, "[64:ff9b:1::127.0.0.1]:" + egress, "[2002:7f00:1::]:" + egress,
		"[2001:0:1:2::80ff:fffe]:" + egress, "[2001:0:7f00:1::1]:" + egress,
		"localhost:" + egress, "LocalHost:" + egress, "localhost.:" + egress, "any.localhost:" + egress, host + ":" + egress,
		"rebind.example:" + egress, "two.example:" + egress, "alias.example:" + egress, "mapped.example:" + egress,
		"nat64.example:" + egress, "zero.example:" + egress, "six.example:" + egress,
		"127.0.0.1:8001", "localhost:8001", "[::1]:8001", "rebind.example:8001",
		"consul.internal:8500", "CONSUL.Internal.:8500", "192.0.2.40:8500", "[2001:db8::40]:8500", "[::ffff:192.0.2.40]:8500",
		"[64:ff9b::192.0.2.40]:8500", "[2002:c000:228::1]:8500", "consul.example:8500",
		"192.0.2.50:5672", "[2001:db8::50]:8761", "[2001:db8:0:0::0050]:8761",
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if ok && !ip.IsLinkLocalUnicast() {
			spellings = append(spellings, netip.AddrPortFrom(ip, 8001).String())
		}
	}
	for _, authority := range spellings {
		t.Run(authority, func(t *testing.T) {
			b := b.in(t)
			b.expect(b.get("http://"+authority+"/v1/kv/lictor/policy/blacklist/ops?raw"), 403, ownAddress)
			b.expect(b.get("https://"+authority+"/"), 403, ownAddress)
			b.expect(b.client().do("PUT http://"+authority+"/ HTTP/1.1", "Host: shop.example", "Content-Length: 0"), 403, ownAddress)
			_, a := b.connect(authority)
			b.expect(a, 403, ownAddress)
		})
	}
	if d := b.dials(); len(d) > 0 {
		t.Errorf("%v was dialled", d)
	}
}

// TestOwnPortsElsewhere: only our own infrastructure is denied, not whoever has
// the same port.
func TestOwnPortsElsewhere(t *testing.T) {
	o := own.Find(t.Context(), []own.Endpoint{{Host: "192.0.2.1", Port: 8500}, {Port: 8001}}, own.NewNames(), nil)
	tests := []struct {
		at   string
		want bool
	}{
		{"192.0.2.1:8500", true},
		{"192.0.2.2:8500", false},
		{"192.0.2.1:8501", false},
		{"127.0.0.1:8500", false},
		{"127.0.0.1:8001", true},
		{"192.0.2.1:8001", false},
	}
	for _, tt := range tests {
		at := netip.MustParseAddrPort(tt.at)
		if got := o.ByAddr(at.Addr(), at.Port()); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.at, got, tt.want)
		}
	}
}

// TestOwnNamesKeepTheirAddresses: a name that cannot be looked up for a while
// does not open the way to where it led.
func TestOwnNamesKeepTheirAddresses(t *testing.T) {
	names := own.NewNames()
	round := 0
	look := []own.Lookup{func(context.Context, string) ([]netip.Addr, error) {
		switch round {
		case 0:
			return []netip.Addr{netip.MustParseAddr("192.0.2.40")}, nil
		case 1:
			return nil, errors.New("no server answers")
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.41")}, nil // its turn
	}}
	for ; round < 3; round++ {
		o := own.Find(t.Context(), []own.Endpoint{{Host: "consul.internal", Port: 8500}}, names, look)
		if !o.ByAddr(netip.MustParseAddr("192.0.2.40"), 8500) || !o.ByName("consul.internal", 8500) {
			t.Errorf("not denied in round %d", round)
		}
		if round == 2 && !o.ByAddr(netip.MustParseAddr("192.0.2.41"), 8500) {
			t.Error("a further address is not denied")
		}
	}
}

// TestTheDialerChecksAgain: even if the decision were wrong, the last step
// before the kernel refuses (A3).
func TestTheDialerChecksAgain(t *testing.T) {
	s := quick()
	s.AllowPrivate = nil
	b := start(t, s)
	port := b.origin.port
	for _, to := range []string{b.addr, fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::ffff:127.0.0.1]:%d", port), "169.254.169.254:80"} {
		c, err := b.proxy.dialChecked(t.Context(), netip.MustParseAddrPort(to))
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, errNotChecked) {
			t.Errorf("%s: got %v, want %v", to, err, errNotChecked)
		}
	}
}
