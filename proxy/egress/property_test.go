package egress

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/egress/dns"
	"lictor/proxy/own"
)

// world is where the property test lives: a few names, addresses and ports
// that lists and requests are made of, so that they meet.
type world struct {
	*rand.Rand
	names map[string][]netip.Addr
}

var worldHosts = []string{"a.example", "b.example", "x.a.example", "y.x.a.example", "c.test", "localhost", "own.example"}
var worldAddrs = []string{
	"8.8.8.1", "8.8.8.2", "8.8.9.1", "9.9.9.9", "10.1.2.3", "127.0.0.1", "169.254.169.254", "192.0.2.40",
	"2a00::1", "2a00::2", "2a01::1", "::1", "fd00::1", "::ffff:8.8.8.1", "::ffff:10.1.2.3", "64:ff9b::808:801", "2002:808:801::1",
}
var worldPorts = []uint16{80, 443, 8500}

func pick[T any](w *world, all []T) T { return all[w.IntN(len(all))] }

// entry is a random entry of a list.
func (w *world) entry() string {
	host, port := pick(w, worldHosts), ""
	if w.IntN(3) == 0 {
		port = fmt.Sprintf(":%d", pick(w, worldPorts))
	}
	switch w.IntN(6) {
	case 0:
		return host + port
	case 1:
		return "." + host + port
	case 2:
		return "*." + host + port
	case 3:
		return netip.PrefixFrom(w.addr(), 8*(1+w.IntN(4))).Masked().String()
	case 4:
		a := w.addr()
		if a.Is6() && port != "" {
			return "[" + a.String() + "]" + port
		}
		return a.String() + port
	}
	path := pick(w, []string{"", "/", "/p", "/p/q"})
	return pick(w, []string{"", "GET ", "POST "}) + "http://" + host + port + path
}

func (w *world) addr() netip.Addr { return netip.MustParseAddr(pick(w, worldAddrs)).Unmap() }

func (w *world) entries(most int) []string {
	var all []string
	for range w.IntN(most + 1) {
		all = append(all, w.entry())
	}
	return all
}

// call is a random request.
type call struct {
	method, host string
	port         uint16
	path         string
}

func (w *world) call() call {
	c := call{method: pick(w, []string{"GET", "POST", "CONNECT"}), host: pick(w, worldHosts), port: pick(w, worldPorts)}
	if w.IntN(3) == 0 {
		c.host = pick(w, worldAddrs)
		if strings.Contains(c.host, ":") {
			c.host = "[" + c.host + "]"
		}
	}
	c.path = pick(w, []string{"/", "/p", "/p/q", "/pq", "/x/../p"})
	return c
}

func (c call) line() string {
	if c.method == "CONNECT" {
		return fmt.Sprintf("CONNECT %s:%d HTTP/1.1", c.host, c.port)
	}
	return fmt.Sprintf("%s http://%s:%d%s HTTP/1.1", c.method, c.host, c.port, c.path)
}

// naive is the evaluator that the proxy is compared with: it has no index, no
// cache and no order, only the rules of A3, A4, A10, A12, A15 and X9, one by one.
type naive struct {
	black, white []string
	settings     Settings
	world        *world
}

// allowed returns the addresses that a call may dial.
func (n *naive) allowed(c call) map[netip.AddrPort]bool {
	addrs := n.resolve(c.host)
	ok := map[netip.AddrPort]bool{}
	for _, a := range addrs {
		if n.own(c, a) || n.settings.private(a) {
			return nil
		}
		for _, e := range n.black {
			for _, path := range readings(c.path) {
				if n.matches(e, c, path, append(policy.LeadsTo(nil, a), a)) {
					return nil
				}
			}
		}
		ok[netip.AddrPortFrom(a, c.port)] = true
	}
	if c.method == "CONNECT" && !n.settings.connects(c.port) || len(n.white) > 0 && !n.admitted(c, addrs) {
		return nil
	}
	return ok
}

func (n *naive) resolve(host string) []netip.Addr {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	var all []netip.Addr
	for _, a := range n.world.names[host] {
		all = append(all, a.Unmap())
	}
	return all
}

// own: 192.0.2.40:8500 is own.example's, and ours.
func (n *naive) own(c call, a netip.Addr) bool {
	for _, a := range append(policy.LeadsTo(nil, a), a) {
		if a.String() == "192.0.2.40" && c.port == 8500 {
			return true
		}
	}
	return c.host == "own.example" && c.port == 8500
}

// readings are the ways in which a server may read a path (D22).
func readings(path string) []string {
	p, _, err := uri.ParseLenient(path, nil) // dot segments are passed on
	if err != nil {
		panic(err) // they are those of this file
	}
	return append([]string{p.Canonical}, new(uri.ReadingSet).Of(&p)...)
}

// admitted: by name in every reading of the path, or by every address; each by
// some entry.
func (n *naive) admitted(c call, addrs []netip.Addr) bool {
	some := func(path string, addrs []netip.Addr) bool {
		return slices.ContainsFunc(n.white, func(e string) bool { return n.matches(e, c, path, addrs) })
	}
	if all := readings(c.path); !slices.ContainsFunc(all, func(path string) bool { return !some(path, nil) }) {
		return true
	}
	return len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !some("", []netip.Addr{a}) })
}

func (n *naive) matches(entry string, c call, reading string, addrs []netip.Addr) bool {
	if method, rest, ok := strings.Cut(entry, " "); ok {
		return method == c.method && n.matches(rest, c, reading, addrs)
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		return contains(p, addrs)
	}
	if a, err := netip.ParseAddr(entry); err == nil {
		return contains(netip.PrefixFrom(a, a.BitLen()), addrs)
	}
	if at, err := netip.ParseAddrPort(entry); err == nil {
		return at.Port() == c.port && contains(netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), addrs)
	}
	path, isURL := "", false
	if rest, ok := strings.CutPrefix(entry, "http://"); ok {
		isURL = true
		entry, path, _ = strings.Cut(rest, "/")
	}
	host, port, hasPort := strings.Cut(entry, ":")
	switch {
	case hasPort && port != fmt.Sprint(c.port), isURL && !hasPort && c.port != 80:
		return false
	case isURL && c.method == "CONNECT":
		return host == c.host && path == ""
	case isURL:
		return host == c.host && (path == "" || reading == "/"+path || strings.HasPrefix(reading, "/"+path+"/"))
	case strings.HasPrefix(host, "*."):
		return strings.HasSuffix(c.host, host[1:])
	case strings.HasPrefix(host, "."):
		return strings.HasSuffix("."+c.host, host)
	}
	return host == c.host
}

func contains(p netip.Prefix, addrs []netip.Addr) bool {
	for _, a := range addrs {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// TestOnlyWhatIsAllowedIsDialled: for random lists and random requests, what a
// recording dialer sees is in the set that the naive evaluator allows, and what
// that one allows is tried.
func TestOnlyWhatIsAllowedIsDialled(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1))}
	b := newBench(t)
	var mu sync.Mutex
	var dialed []netip.AddrPort
	s := quick()
	s.AllowPrivate = prefixes("10.1.0.0/16", "fd00::/8")
	b.prepare = func(p *Proxy) {
		p.dial = func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialed = append(dialed, to)
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		p.lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			if addrs := w.names[name]; len(addrs) > 0 {
				return addrs, nil
			}
			return nil, &dns.Error{Name: name, Err: dns.ErrNoName}
		}
	}
	b.run(s, func(c *Config) {
		c.Own = func() []own.Endpoint {
			return []own.Endpoint{{Host: "own.example", Port: 8500}, {Host: "192.0.2.40", Port: 8500}}
		}
	})
	passed, denied := 0, 0
	for range 150 {
		n := &naive{black: w.entries(4), white: w.entries(3), settings: s, world: w}
		if w.IntN(2) == 0 {
			n.white = nil
		}
		if w.IntN(3) == 0 {
			n.settings.ReachPrivate = true
		}
		if w.IntN(2) == 0 {
			n.settings.ConnectPorts = []uint16{443}
		}
		l := lists{}
		if len(n.black) > 0 {
			l[blackKey] = black(n.black...)
		}
		if len(n.white) > 0 {
			l[whiteKey] = white(n.white...)
		}
		b.policy(l)
		b.proxy.Update(n.settings)
		var keepAlive *client
		for range 20 {
			mu.Lock()
			w.names = map[string][]netip.Addr{}
			for _, h := range worldHosts {
				if h == "own.example" { // may be looked up at any moment, for all that is ours
					w.names[h] = []netip.Addr{netip.MustParseAddr("192.0.2.40")}
					continue
				}
				for range w.IntN(4) {
					w.names[h] = append(w.names[h], netip.MustParseAddr(pick(w, worldAddrs)))
				}
			}
			dialed = nil
			mu.Unlock()
			b.proxy.pools.close() // no memory of refusals
			c := w.call()
			if keepAlive == nil {
				keepAlive = b.client()
			}
			a := keepAlive.do(c.line(), "Host: a.example")
			if a.Close {
				keepAlive = nil
			}
			allowed := n.allowed(c)
			mu.Lock()
			tried := map[netip.AddrPort]bool{}
			for _, to := range dialed {
				tried[to] = true
				if !allowed[to] {
					t.Errorf("%s dialled %v\n black %q\n white %q\n names %v\n answer %s", c.line(), to, n.black, n.white, w.names[c.host], a.body)
				}
			}
			mu.Unlock()
			if len(allowed) > 0 && len(tried) == 0 {
				t.Errorf("%s dialled nothing, %v is allowed\n black %q\n white %q\n names %v\n answer %s", c.line(), allowed, n.black, n.white, w.names[c.host], a.body)
			}
			if len(tried) > 0 {
				passed++
			} else {
				denied++
			}
			if t.Failed() {
				return
			}
		}
	}
	if passed < 100 || denied < 100 {
		t.Errorf("%d passed and %d were denied: the test does not test", passed, denied)
	}
}
