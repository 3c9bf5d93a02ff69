package egress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns/dnstest"
)

// TestDecisions goes through A6's order and every form of entry (A3, A4, A10,
// A12, A15). The host names of the table are answered by the test's DNS server;
// PORT stands for the target's port.
func TestDecisions(t *testing.T) {
	names := map[string]dnstest.Name{
		"shop.example":     {Addrs: []string{"127.0.0.2"}},
		"www.shop.example": {Addrs: []string{"127.0.0.2"}},
		"mixed.example":    {Addrs: []string{"127.0.0.2", "127.0.0.66"}},
		"late.example":     {Addrs: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.66"}},
		"six.example":      {Addrs: []string{"::1"}},
		"both.example":     {Addrs: []string{"127.0.0.2", "::1"}},
		"mapped.example":   {Addrs: []string{"::ffff:127.0.0.66"}},
		"nat64.example":    {Addrs: []string{"64:ff9b::7f00:42"}},
		"private.example":  {Addrs: []string{"10.1.2.3"}},
		"meta.example":     {Addrs: []string{"169.254.169.254"}},
		"half.example":     {Addrs: []string{"127.0.0.2", "192.168.1.1"}},
		"alias.example":    {CNAME: "hop.example"},
		"hop.example":      {CNAME: "denied.example"},
		"denied.example":   {Addrs: []string{"127.0.0.66"}},
		"service.example":  {Addrs: []string{"127.0.0.5"}},
	}
	black66 := lists{blackKey: black("127.0.0.66")}
	tests := []struct {
		name    string
		lists   lists
		request string // "CONNECT authority", or a URL for GET
		status  int
		reason  answer.Reason
		entry   string
	}{
		{"without lists what is public may be reached", nil, "http://shop.example:PORT/", 200, "", ""},
		{"an address may be named as well", nil, "http://127.0.0.2:PORT/", 200, "", ""},
		{"IPv6 works", nil, "http://six.example:PORT/", 200, "", ""},
		{"a host entry denies the host", lists{blackKey: black("shop.example")}, "http://SHOP.example.:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "shop.example"},
		{"a host entry says nothing of subdomains", lists{blackKey: black("shop.example")}, "http://www.shop.example:PORT/", 200, "", ""},
		{"a host entry alone is weak (A5)", lists{blackKey: black("shop.example")}, "http://127.0.0.2:PORT/", 200, "", ""},
		{".host denies the apex", lists{blackKey: black(".shop.example")}, "http://shop.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ".shop.example"},
		{".host denies subdomains", lists{blackKey: black(".shop.example")}, "http://www.shop.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ".shop.example"},
		{"*.host spares the apex", lists{blackKey: black("*.shop.example")}, "http://shop.example:PORT/", 200, "", ""},
		{"*.host denies subdomains", lists{blackKey: black("*.shop.example")}, "http://www.shop.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "*.shop.example"},
		{"a port narrows an entry", lists{blackKey: black("shop.example:1")}, "http://shop.example:PORT/", 200, "", ""},
		{"an address denies itself", black66, "http://127.0.0.66:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.66"},
		{"an address denies names behind it, untold", black66, "http://denied.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"one forbidden address of two forbids the name", black66, "http://mixed.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"one forbidden address of four forbids the name", black66, "http://late.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a chain of CNAMEs hides nothing", black66, "http://alias.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a mapped address is the address", black66, "http://mapped.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a mapped literal is the address", black66, "http://[::ffff:127.0.0.66]:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.66"},
		{"a NAT64 address is what it embeds", black66, "http://nat64.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a 6to4 literal is what it embeds", black66, "http://[2002:7f00:42::1]:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.66"},
		{"the unspecified address is loopback", lists{blackKey: black("127.0.0.0/8")}, "http://0.0.0.0:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.0/8"},
		{"the unspecified address of IPv6 is loopback", lists{blackKey: black("::1")}, "http://[::]:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "::1"},
		{"a CIDR denies its addresses", lists{blackKey: black("127.0.0.64/26")}, "http://127.0.0.66:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.64/26"},
		{"IPv6 is denied", lists{blackKey: black("::1")}, "http://both.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a URL denies its path", lists{blackKey: black("http://shop.example:PORT/admin")}, "http://shop.example:PORT/admin/users", 403, answer.Reason(policy.ReasonBlacklist), "http://shop.example:PORT/admin"},
		{"a URL ends at a segment", lists{blackKey: black("http://shop.example:PORT/admin")}, "http://shop.example:PORT/administration", 200, "", ""},
		{"a URL sees through escapes and dots", lists{blackKey: black("http://shop.example:PORT/admin")}, "http://shop.example:PORT/x/..%2f%61dmin", 403, answer.Reason(policy.ReasonBlacklist), "http://shop.example:PORT/admin"},
		{"a URL with a path says nothing of tunnels", lists{blackKey: black("http://shop.example:PORT/admin")}, "CONNECT shop.example:PORT", 200, "", ""},
		{"a URL without a path denies tunnels", lists{blackKey: black("http://shop.example:PORT/")}, "CONNECT shop.example:PORT", 403, answer.Reason(policy.ReasonBlacklist), "http://shop.example:PORT/"},
		{"a method narrows a URL", lists{blackKey: black("POST http://shop.example:PORT/")}, "http://shop.example:PORT/", 200, "", ""},
		{"a method is heeded", lists{blackKey: black("GET http://shop.example:PORT/")}, "http://shop.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "GET http://shop.example:PORT/"},
		{"a list for the gateway says nothing here", lists{blackKey: &policy.List{Direction: policy.Ingress, Entries: []string{"shop.example"}}}, "http://shop.example:PORT/", 200, "", ""},
		{"report mode lets pass", lists{blackKey: &policy.List{Mode: policy.Report, Entries: []string{"shop.example"}}}, "http://shop.example:PORT/", 200, "", ""},
		{"a service is denied at its address", lists{blackKey: black("service:db")}, "http://127.0.0.77:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "service:db"},

		{"a whitelist admits what it names", lists{whiteKey: white("shop.example")}, "http://shop.example:PORT/", 200, "", ""},
		{"a whitelist refuses the rest", lists{whiteKey: white("shop.example")}, "http://www.shop.example:PORT/", 403, answer.Reason(policy.ReasonWhitelist), ""},
		{"a whitelist of addresses wants every one of a name", lists{whiteKey: white("127.0.0.2")}, "http://mixed.example:PORT/", 403, answer.Reason(policy.ReasonWhitelist), ""},
		{"a whitelist of addresses admits a name that has no others", lists{whiteKey: white("127.0.0.2")}, "http://shop.example:PORT/", 200, "", ""},
		{"the blacklist wins", lists{whiteKey: white("shop.example"), blackKey: black("127.0.0.2")}, "http://shop.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a whitelist does not lift deny_private", lists{whiteKey: white("private.example", "10.1.2.3")}, "http://private.example:PORT/", 403, privateAddress, ""},
		{"a whitelist does not lift what is registered", lists{whiteKey: white("127.0.0.5")}, "http://127.0.0.5:PORT/", 403, registeredService, ""},
		{"a URL of a whitelist wants every reading of the path", lists{whiteKey: white("http://shop.example:PORT/public")}, "http://shop.example:PORT/public/..%2fsecret", 403, answer.Reason(policy.ReasonWhitelist), ""},
		{"a URL of a whitelist admits its path", lists{whiteKey: white("http://shop.example:PORT/public")}, "http://shop.example:PORT/public/a", 200, "", ""},

		{"private addresses", nil, "http://private.example:PORT/", 403, privateAddress, ""},
		{"metadata", nil, "http://meta.example:PORT/", 403, privateAddress, ""},
		{"metadata, in numbers", nil, "http://169.254.169.254/latest/", 403, privateAddress, ""},
		{"one private address of two", nil, "http://half.example:PORT/", 403, privateAddress, ""},
		{"NAT64 is private", nil, "http://nat64.example:PORT/", 403, privateAddress, ""},
		{"the blacklist comes before private addresses", lists{blackKey: black("10.0.0.0/8")}, "http://private.example:PORT/", 403, answer.Reason(policy.ReasonBlacklist), ""},
		{"a registered address", nil, "http://service.example:PORT/", 403, registeredService, ""},
		{"a registered address, mapped", nil, "http://[::ffff:127.0.0.5]:PORT/", 403, registeredService, ""},
		{"a registered address, in a tunnel", nil, "CONNECT 127.0.0.5:PORT", 403, registeredService, ""},
		{"another port of a registered address", nil, "http://127.0.0.5:1/", 503, answer.Unreachable, ""},
		{"a registered name", nil, "http://Named.Service.example.:PORT/", 403, registeredService, ""},
		{"the blacklist comes before what is registered", lists{blackKey: black("127.0.0.5")}, "http://127.0.0.5:PORT/", 403, answer.Reason(policy.ReasonBlacklist), "127.0.0.5"},

		{"a name that does not exist", nil, "http://nothing.example/", 502, dnsFailed, ""},
		{"a forbidden name is not even looked up", lists{blackKey: black(".example")}, "http://nothing.example/", 403, answer.Reason(policy.ReasonBlacklist), ".example"},
		{"an odd spelling", nil, "http://127.1:PORT/", 400, badTarget, ""},
		{"origin form", nil, "/", 400, badTarget, ""},
		{"nobody listens", nil, "http://127.0.0.2:1/", 503, answer.Unreachable, ""},
		{"nobody listens behind a tunnel", nil, "CONNECT 127.0.0.2:1", 503, answer.Unreachable, ""},
	}
	b := start(t, quick())
	port := fmt.Sprint(b.origin.port)
	b.registry.set(map[string][]string{"127.0.0.5:" + port: {"api"}, "named.service.example:" + port: {"api"}, "127.0.0.77:" + port: {"db"}})
	for name, answer := range names {
		b.dns.Set(name, answer)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := b.in(t)
			with := lists{}
			for k, l := range tt.lists {
				c := *l.(*policy.List)
				c.Entries = strings.Split(strings.ReplaceAll(strings.Join(c.Entries, "\n"), "PORT", port), "\n")
				with[k] = &c
			}
			b.policy(with)
			b.dials()
			request := strings.ReplaceAll(tt.request, "PORT", port)
			var a *reply
			if authority, ok := strings.CutPrefix(request, "CONNECT "); ok {
				_, a = b.connect(authority)
			} else {
				a = b.get(request)
			}
			b.expect(a, tt.status, tt.reason)
			if want := strings.ReplaceAll(tt.entry, "PORT", port); a.refuse.Entry != want {
				t.Errorf("entry is %q, want %q", a.refuse.Entry, want)
			}
			if d := b.dials(); tt.status == 403 && len(d) > 0 {
				t.Errorf("denied, but %v was dialled (A6)", d)
			}
			if a.refuse.Reason != "" && len(a.refuse.RequestID) != 32 {
				t.Errorf("request_id is %q", a.refuse.RequestID)
			}
			if tt.status == 503 && a.Header.Get("Retry-After") != "1" {
				t.Error("no Retry-After (X4)")
			}
		})
	}
}

func TestDNSFailures(t *testing.T) { // A7
	b := start(t, quick())
	b.dns.Set("silent.example", dnstest.Name{Silent: true})
	b.dns.Set("slow.example", dnstest.Name{Addrs: []string{"127.0.0.2"}, Delay: 100 * time.Millisecond})
	began := time.Now()
	b.expect(b.get("http://silent.example/"), 504, answer.Timeout)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it hung for %v", took)
	}
	if a := b.get(b.url("slow.example", "/")); a.StatusCode != 200 {
		t.Errorf("a slow answer gave %d", a.StatusCode)
	}
	a := b.get("http://nothing.example/")
	if want := `No IP addresses found for name "nothing.example"`; a.refuse.Message != want {
		t.Errorf("message is %q, want %q", a.refuse.Message, want)
	}
}

// TestRebinding: a name that is first allowed and then leads to what is
// forbidden gains nothing (A3). One request is one look-up.
func TestRebinding(t *testing.T) {
	good, bad := dnstest.Name{Addrs: []string{"127.0.0.2"}}, dnstest.Name{Addrs: []string{"169.254.169.254"}}
	b := start(t, quick())
	b.dns.Set("rebind.example", good, bad)
	c := b.client()
	url := b.url("rebind.example", "/")
	if a := c.do("GET "+url+" HTTP/1.1", "Host: x"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	if n := b.dns.Asked("rebind.example"); n != 1 {
		t.Errorf("one request asked %d times", n)
	}
	// The idle connection to the first address must not serve the second request.
	b.expect(c.do("GET "+url+" HTTP/1.1", "Host: x"), 403, privateAddress)
	b.expect(b.get(url), 403, privateAddress)
	for _, d := range b.dials() {
		if d.Addr().String() != "127.0.0.2" {
			t.Errorf("%v was dialled", d)
		}
	}
	if n := b.origin.count(); n != 1 {
		t.Errorf("the target got %d requests, want 1", n)
	}
}

func TestOneOfSeveralAddressesServes(t *testing.T) {
	b := start(t, quick())
	b.dns.Set("several.example", dnstest.Name{Addrs: []string{"127.0.0.2", "127.0.0.3"}, TTL: 60})
	b.refuse("127.0.0.2")
	for range 3 {
		if a := b.get(b.url("several.example", "/"), "Connection: close"); a.StatusCode != 200 {
			t.Fatalf("got %d %s", a.StatusCode, a.body)
		}
	}
	_, a := b.connect(b.at("several.example"))
	if a.StatusCode != 200 {
		t.Errorf("tunnel: got %d", a.StatusCode)
	}
	b.refuse("127.0.0.2", "127.0.0.3")
	b.proxy.pools.close()
	b.expect(b.get(b.url("several.example", "/")), 503, answer.Unreachable)
}

func TestConnectPorts(t *testing.T) { // A12
	s := quick()
	s.ConnectPorts = []uint16{443}
	b := start(t, s)
	b.dns.Set("shop.example", dnstest.Name{Addrs: []string{"127.0.0.2"}})
	for _, authority := range []string{b.at("shop.example"), b.at("127.0.0.2"), "nothing.example:22", "[::1]:22"} {
		_, a := b.connect(authority)
		b.expect(a, 403, connectPort)
		if a.refuse.Entry != "connect_ports" {
			t.Errorf("%s: entry is %q", authority, a.refuse.Entry)
		}
	}
	_, a := b.connect("127.0.0.2:443")
	b.expect(a, 503, answer.Unreachable) // nobody listens
	if a := b.get(b.url("shop.example", "/")); a.StatusCode != 200 {
		t.Errorf("a request without CONNECT: got %d", a.StatusCode)
	}
}

func TestUnavailablePolicy(t *testing.T) { // X6
	b := start(t, quick())
	b.set.Store(nil)
	b.expect(b.get(b.url("127.0.0.2", "/")), 503, policyUnavailable)
	_, a := b.connect(b.at("127.0.0.2"))
	b.expect(a, 503, policyUnavailable)
	b.policy(lists{})
	if a := b.get(b.url("127.0.0.2", "/")); a.StatusCode != 200 {
		t.Errorf("got %d", a.StatusCode)
	}
}

func TestReportMode(t *testing.T) { // X13
	b := start(t, quick())
	b.policy(lists{
		blackKey: &policy.List{Mode: policy.Report, Entries: []string{"127.0.0.2"}, Reason: "trial"},
		whiteKey: &policy.List{Allow: true, Mode: policy.Report, Direction: policy.Egress, Entries: []string{"other.example"}},
	})
	if a := b.get(b.url("127.0.0.2", "/")); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	for _, want := range []string{"would be denied", "reason=blacklist", "reason=whitelist", "note=trial"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, b.log)
		}
	}
	if n := b.metric("lictor_denied_total", "mode", "report"); n != 2 {
		t.Errorf("counted %v, want 2", n)
	}
}
