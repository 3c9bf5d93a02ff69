package egress

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns"
	"lictor/proxy/egress/dns/dnstest"
	"lictor/proxy/own"
)

// A name that no whitelist admits is refused before anybody is asked about it:
// the question itself would carry data out.
func TestANameThatCanNotBeAdmittedIsNotLookedUp(t *testing.T) {
	tests := []struct {
		name    string
		entries []string
		host    string
		asked   bool
		status  int
	}{
		{"only names are admitted, and this is none of them", []string{"ok.example"}, "c2VjcmV0.exfil.example", false, 403},
		{"the admitted name is looked up", []string{"ok.example"}, "ok.example", true, 200},
		{"a URL entry admits no other host", []string{"http://ok.example/x"}, "other.example", false, 403},
		{"an entry of another method admits nothing", []string{"POST ok.example"}, "ok.example", false, 403},
		{"an address on a list may admit any name", []string{"ok.example", "192.0.2.0/24"}, "other.example", true, 403},
		{"so may a service", []string{"ok.example", "service:shop"}, "other.example", true, 403},
		{"an entry that nobody can read admits nothing", []string{"ok.example", "http://["}, "other.example", false, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, quick())
			set, _ := b.build.Apply(2, []policy.Change{{Key: whiteKey, Index: 2, Object: white(tt.entries...)}})
			b.set.Store(set)
			b.dns.Set(tt.host, dnstest.Name{Addrs: []string{"127.0.0.2"}})
			a := b.get(b.url(tt.host, "/"))
			if a.StatusCode != tt.status {
				t.Errorf("got %d %s, want %d", a.StatusCode, a.body, tt.status)
			}
			if asked := b.dns.Asked(tt.host) > 0; asked != tt.asked {
				t.Errorf("the servers were asked: %v, want %v", asked, tt.asked)
			}
		})
	}
	t.Run("a list in report mode keeps no name from being looked up", func(t *testing.T) {
		b := start(t, quick())
		list := white("ok.example")
		list.Mode = policy.Report
		b.policy(lists{whiteKey: list})
		b.dns.Set("other.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
		if a := b.get(b.url("other.example", "/")); a.StatusCode != 200 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	})
	t.Run("an address list in report mode does not open the way to the servers", func(t *testing.T) {
		b := start(t, quick())
		report := white("192.0.2.0/24")
		report.Mode = policy.Report
		b.policy(lists{whiteKey: white("ok.example"), {Kind: policy.KindWhitelist, Name: "trial"}: report})
		b.expect(b.get(b.url("secret.exfil.example", "/")), 403, answer.Reason(policy.ReasonWhitelist))
		if n := b.dns.Asked("secret.exfil.example"); n > 0 {
			t.Errorf("the servers were asked %d times", n)
		}
	})
}

func TestEveryAddressOfANameIsTried(t *testing.T) {
	b := start(t, quick())
	var dead []string
	for i := range 12 {
		dead = append(dead, netip.AddrFrom4([4]byte{127, 0, 0, byte(20 + i)}).String())
	}
	b.dns.Set("many.example", dnstest.Name{Addrs: append(dead, "127.0.0.2"), TTL: 60})
	b.refuse(dead...)
	for range 2 {
		if a := b.get(b.url("many.example", "/"), "Connection: close"); a.StatusCode != 200 {
			t.Fatalf("got %d %s", a.StatusCode, a.body)
		}
	}
	b.dials()
	if a := b.get(b.url("many.example", "/"), "Connection: close"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	if d := b.dials(); len(d) > 1 {
		t.Errorf("addresses that refused lately were tried first: %v", d)
	}
}

func TestFamiliesTakeTurns(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"one address", "1.1.1.1", "1.1.1.1"},
		{"one family", "1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"},
		{"more of the first", "1.1.1.1 1.1.1.2 1.1.1.3 ::1", "1.1.1.1 ::1 1.1.1.2 1.1.1.3"},
		{"more of the second", "1.1.1.1 ::1 ::2 ::3", "1.1.1.1 ::1 ::2 ::3"},
		{"as many", "1.1.1.1 1.1.1.2 ::1 ::2", "1.1.1.1 ::1 1.1.1.2 ::2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var addrs []netip.AddrPort
			for _, a := range strings.Fields(tt.in) {
				addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
			}
			alternateFamilies(addrs)
			var got []string
			for _, a := range addrs {
				got = append(got, a.Addr().String())
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

// A server that drops questions for AAAA costs no request its whole patience.
func TestAFamilyThatNobodyAnswersForDoesNotHoldUp(t *testing.T) {
	const patience = time.Minute
	s := quick()
	s.Timeout, s.ConnectTimeout = patience, patience
	b := newBench(t)
	b.run(s, func(c *Config) {
		c.Resolver = dns.New(dns.Config{Servers: []netip.AddrPort{b.dns.Addr}, Timeout: patience})
	})
	b.dns.Set("half.example", dnstest.Name{Addrs: []string{"127.0.0.2"}, TTL: 60, SilentFor: dnsmessage.TypeAAAA})
	began := time.Now()
	if a := b.get(b.url("half.example", "/")); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s", took)
	}
}

func TestClients(t *testing.T) {
	tests := []struct {
		name   string
		allow  []netip.Prefix
		client string
		serves bool
	}{
		{"this machine may", nil, "127.0.0.1", true},
		{"so may a private address", nil, "10.1.2.3", true},
		{"and one that is mapped", nil, "::ffff:192.168.1.1", true},
		{"and one of a link", nil, "fe80::1%eth0", true},
		{"and a unique local one", nil, "fd00::1", true},
		{"a public one may not", nil, "203.0.113.9", false},
		{"nor one of IPv6", nil, "2001:db8::1", false},
		{"nor a mapped one", nil, "::ffff:203.0.113.9", false},
		{"who is listed may", prefixes("203.0.113.0/24"), "203.0.113.9", true},
		{"who is not may not, even this machine", prefixes("203.0.113.0/24"), "127.0.0.1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Settings{AllowClients: tt.allow}
			if got := s.serves(netip.MustParseAddr(tt.client)); got != tt.serves {
				t.Errorf("serves(%s) = %v", tt.client, got)
			}
		})
	}
	t.Run("a request and a tunnel of another client are refused", func(t *testing.T) {
		s := quick()
		s.AllowClients = prefixes("192.0.2.0/24")
		b := start(t, s)
		b.expect(b.get(b.url("127.0.0.2", "/")), 403, clientNotAllowed)
		_, a := b.connect(b.at("127.0.0.2"))
		b.expect(a, 403, clientNotAllowed)
		if d := b.dials(); len(d) > 0 {
			t.Errorf("dialled %v", d)
		}
	})
}

// An address that only a route makes local is this machine's all the same. The
// test runs itself again in a network namespace of its own, to have such a route.
func TestAddressesThatNoInterfaceListsAreOurs(t *testing.T) {
	const inside = "LICTOR_TEST_NAMESPACE"
	if os.Getenv(inside) == "" {
		script := `ip link set lo up && ip route add local 198.18.7.0/24 dev lo && exec "$0" -test.run '^` + t.Name() + `$'`
		cmd := exec.Command("unshare", "-rn", "sh", "-c", script, os.Args[0])
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	o := own.Find(t.Context(), []own.Endpoint{{Port: 8000}}, own.NewNames(), nil)
	for address, ours := range map[string]bool{"198.18.7.7:8000": true, "198.18.7.7:8001": false, "198.51.100.1:8000": false} {
		at := netip.MustParseAddrPort(address)
		if got := o.ByAddr(at.Addr(), at.Port()); got != ours {
			t.Errorf("byAddr(%s) = %v", address, got)
		}
	}
}

func TestTunnelsOfAPrefixCountTogether(t *testing.T) {
	s := slots{clients: map[netip.Addr]int{}}
	limits := &Settings{MaxTunnels: 10, MaxClientTunnels: 2}
	for i, want := range []bool{true, true, false} {
		a := netip.MustParseAddr("2001:db8::1")
		for range i {
			a = a.Next()
		}
		if got := s.take(a, limits); got != want {
			t.Errorf("tunnel %d: %v, want %v", i+1, got, want)
		}
	}
	if !s.take(netip.MustParseAddr("2001:db8:0:1::1"), limits) {
		t.Error("another prefix was refused")
	}
	for range 2 {
		s.giveBack(netip.MustParseAddr("2001:db8::ffff"))
	}
	if !s.take(netip.MustParseAddr("2001:db8::1"), limits) {
		t.Error("places were not given back")
	}
}
