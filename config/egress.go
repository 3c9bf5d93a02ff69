package config

import (
	"errors"
	"math"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

// Egress is the block egress: the forward proxy. Its time limits, the size of a
// head and the drain time are the gateway's.
type Egress struct {
	Configured     bool             // there is a block; without one nothing listens
	Address        string           // host:port; an empty host is every address
	DNSServers     []netip.AddrPort // empty: the system's
	DenyPrivate    bool             // deny_private: private addresses are out of reach (A15)
	AllowPrivate   []netip.Prefix   // excepted from DenyPrivate
	DenyRegistered bool             // deny_registered_services: so is every address in a registry (A15)
	ConnectPorts   []uint16         // ports that CONNECT may reach; empty: any
	AllowClients   []netip.Prefix   // who may use it; empty: loopback and private addresses
}

func defaultEgress() Egress {
	return Egress{Address: ":8080", DenyPrivate: true, DenyRegistered: true, ConnectPorts: []uint16{443}}
}

func (d *decoder) egress(b *hcl.Block) {
	e := &d.cfg.Egress
	e.Configured = true
	where := d.body(b, options{
		"address":                  parsed(&e.Address, address),
		"dns_servers":              list(&e.DNSServers, dnsServer),
		"deny_private":             boolean(&e.DenyPrivate),
		"allow_private":            list(&e.AllowPrivate, cidr),
		"deny_registered_services": boolean(&e.DenyRegistered),
		"connect_ports":            listOf(&e.ConnectPorts, port),
		"allow_clients":            list(&e.AllowClients, cidr),
	}, nil)
	d.listens("egress", e.Address, where, "address", b)
}

// dnsServer parses the address of a server, with port 53 unless it says another.
// A name would have to be looked up first, and is refused.
func dnsServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Port() == 0 {
		return netip.AddrPort{}, errors.New(`want the address of a server such as "8.8.8.8:53" or "[2001:db8::53]:53"`)
	}
	return at, nil
}

// port reads the number of a port.
func port(v value, p part) (uint16, bool) {
	n := float(p.v)
	switch {
	case math.IsNaN(n):
		v.wrong(p.at, "want a port such as 443, got %s", show(p.v))
	case n != float64(uint16(n)) || n < 1:
		v.wrong(p.at, "want a port from 1 to 65535, got %s", show(p.v))
	default:
		return uint16(n), true
	}
	return 0, false
}
