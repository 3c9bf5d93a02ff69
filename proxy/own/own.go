// Package own knows where lictor's own infrastructure is: its listeners, the
// Consul, broker and Eureka that it uses. Neither the egress nor the gateway
// lets anybody reach it.
package own

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"lictor/internal/crash"
	"lictor/internal/uri"
	"lictor/proxy/egress/dns"
)

// Endpoint is a part of our own infrastructure, which nobody reaches through
// us (X9): a listener, Consul, RabbitMQ, Eureka.
type Endpoint struct {
	Host string // name or address; "", 0.0.0.0 or :: is every address of this machine
	Port uint16

	// Exact says that Host is an address at which alone it listens. What else
	// has its port on this machine is somebody else's.
	Exact bool
}

// Set is what Endpoints come to: where they are reached, by name and address.
// It is immutable. A nil Set knows nothing and must not be decided by.
type Set struct {
	names      map[endpointName]bool
	addrs      map[netip.AddrPort]bool
	localPorts map[uint16]bool     // ours on this machine: at every address of it
	localNames map[string]bool     // of this machine
	locals     map[netip.Addr]bool // of this machine
	exact      map[uint16]bool     // ours at some address of this machine
}

type endpointName struct {
	host string
	port uint16
}

// ByName reports whether host is the name of our own infrastructure.
func (o *Set) ByName(host string, port uint16) bool {
	return o.names[endpointName{host, port}] || o.localPorts[port] && (dns.IsLocalhost(host) || o.localNames[host])
}

// ByAddr reports whether our own infrastructure is reached at an address.
func (o *Set) ByAddr(a netip.Addr, port uint16) bool {
	a = a.Unmap().WithZone("")
	return o.addrs[netip.AddrPortFrom(a, port)] || o.localPorts[port] && o.isLocal(a) ||
		a.IsUnspecified() && o.exact[port] // which the kernel takes for loopback
}

func (o *Set) isLocal(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || o.locals[a] || bindable(a)
}

// bindable asks the kernel whether an address is one of this machine's: only
// those can be bound. Interfaces do not list what a local route adds, and the
// list that was read may be older than an address.
func bindable(a netip.Addr) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// Lookup finds the addresses of a name.
type Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

// Find finds out where the endpoints are. Names are looked up in each of the ways
// of look, with all of which a connection to them may be made; last is what the
// former Find came to know of them.
func Find(ctx context.Context, endpoints []Endpoint, last *Names, look []Lookup) *Set {
	o := &Set{
		names: make(map[endpointName]bool), addrs: make(map[netip.AddrPort]bool),
		localPorts: make(map[uint16]bool), exact: make(map[uint16]bool), localNames: make(map[string]bool), locals: make(map[netip.Addr]bool),
	}
	if ifaces, err := net.InterfaceAddrs(); err == nil {
		for _, i := range ifaces {
			if n, ok := i.(*net.IPNet); ok {
				if a, ok := netip.AddrFromSlice(n.IP); ok {
					o.locals[a.Unmap()] = true
				}
			}
		}
	}
	if name, err := os.Hostname(); err == nil {
		o.localNames[strings.ToLower(name)] = true
	}
	for _, e := range endpoints {
		o.add(e, last.addresses(ctx, e.Host, look))
	}
	return o
}

func (o *Set) add(e Endpoint, addrs []netip.Addr) {
	if e.Host == "" {
		o.localPorts[e.Port] = true
		return
	}
	if host, err := uri.CompileHost(e.Host); err == nil {
		o.names[endpointName{host, e.Port}] = true
	}
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		o.addrs[netip.AddrPortFrom(a, e.Port)] = true
		switch {
		case e.Exact:
			o.exact[e.Port] = true
		case o.isLocal(a):
			o.localPorts[e.Port] = true // what listens on one address of this machine may listen on all
		}
	}
}

// Names remembers what the names of endpoints ever resolved to: a name may
// have more addresses than an answer shows, and cannot be looked up at times.
type Names struct{ known map[string][]netip.Addr }

// NewNames returns what is remembered at the start: nothing.
func NewNames() *Names { return &Names{known: make(map[string][]netip.Addr)} }

// maxOwn bounds the addresses remembered of a name.
const maxOwn = 256

// addresses returns the addresses of a host.
func (n *Names) addresses(ctx context.Context, host string, look []Lookup) []netip.Addr {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{a}
	}
	switch {
	case host == "":
		return nil
	case dns.IsLocalhost(strings.ToLower(strings.TrimSuffix(host, "."))):
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	found := make([][]netip.Addr, len(look))
	var wg sync.WaitGroup
	for i, f := range look {
		wg.Go(func() {
			defer crash.Contain("upkeep", nil)
			found[i], _ = f(ctx, host)
		})
	}
	wg.Wait()
	known := n.known[host]
	for _, a := range slices.Concat(found...) {
		if !slices.Contains(known, a) {
			known = append(known, a)
		}
	}
	n.known[host] = known[max(0, len(known)-maxOwn):]
	return n.known[host]
}
