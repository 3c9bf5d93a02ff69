package egress

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lictor/policy"
	"lictor/proxy/http1"
)

// Settings are what a reload may change. They are not to be changed once the proxy
// has them. The zero value denies what can be denied.
type Settings struct {
	DNSServers      []netip.AddrPort // empty: the system's
	ReachPrivate    bool             // private addresses may be reached: deny_private = false (A15)
	AllowPrivate    []netip.Prefix   // private addresses that may be reached nevertheless
	ReachRegistered bool             // registered services may be reached: deny_registered_services = false (A15)
	ConnectPorts    []uint16         // ports that CONNECT may reach; empty: any
	AllowClients    []netip.Prefix   // who may use the proxy; empty: loopback and private addresses
	Believed        []netip.Prefix   // whose word counts on which traces are kept

	Timeout        time.Duration   // from the request to the head of the answer; must be set, as the next three
	Idle           time.Duration   // how long a client's connection may wait for its next request
	Header         time.Duration   // for the head of a request to arrive
	Stream         time.Duration   // how long a body or tunnel may move no byte
	Body           time.Duration   // until the first byte of a body; 0: as Stream
	Admission      http1.Admission // how many connections and requests are let in
	MaxHeader      int             // bytes of a request's head
	Drain          time.Duration   // how long Run waits for what is under way
	ConnectTimeout time.Duration   // to connect, all addresses of a target together; 0 = 10 s

	MaxTunnels       int           // tunnels at a time; 0 = 20,000
	MaxClientTunnels int           // of which of one client; 0 = 1,000
	TunnelLife       time.Duration // age at which a tunnel is cut, busy or not; 0 = 24 h
}

// withDefaults returns s with every limit set.
func (s Settings) withDefaults() *Settings {
	s.ConnectTimeout = cmp.Or(s.ConnectTimeout, 10*time.Second)
	s.MaxTunnels = cmp.Or(s.MaxTunnels, 20_000)
	s.MaxClientTunnels = cmp.Or(s.MaxClientTunnels, 1_000)
	s.TunnelLife = cmp.Or(s.TunnelLife, 24*time.Hour)
	return &s
}

func (s *Settings) limits() http1.Limits {
	return http1.Limits{Idle: s.Idle, Header: s.Header, Stream: s.Stream, Begin: s.Body, Admission: s.Admission, MaxHeader: s.MaxHeader}
}

// connects reports whether CONNECT may reach a port (A12).
func (s *Settings) connects(port uint16) bool {
	return len(s.ConnectPorts) == 0 || slices.Contains(s.ConnectPorts, port)
}

// localClients may use the proxy where allow_clients is not set: loopback and
// private addresses, for a proxy that is open to all is found and misused.
var localClients = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// serves reports whether a client may use the proxy.
func (s *Settings) serves(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	if len(s.AllowClients) == 0 {
		return within(localClients, client)
	}
	return within(s.AllowClients, client)
}

// believes reports whether a client has a say in which traces are kept.
func (s *Settings) believes(client netip.Addr) bool {
	return len(s.Believed) > 0 && within(s.Believed, client.Unmap().WithZone(""))
}

// private reports whether an address is out of reach (A15). One that leads to
// another one is excepted only if that one may be reached, too; where that depends on
// how long the operator's prefix for NAT64 is, each that it may be.
func (s *Settings) private(a netip.Addr) bool {
	a = a.Unmap()
	if s.ReachPrivate || !isPrivate(a) {
		return false
	}
	if !within(s.AllowPrivate, a.WithZone("")) {
		return true
	}
	var buf [4]netip.Addr
	for i, inside := range policy.LeadsTo(buf[:0], a) {
		if i > 0 && nowhere.Contains(inside) {
			continue // what only another length of a NAT64 prefix would find there leads nowhere
		}
		if isPrivate(inside) && !within(s.AllowPrivate, inside) {
			return true
		}
	}
	return false
}

// nowhere is what no packet is sent to (RFC 1122 3.2.1.3).
var nowhere = netip.MustParsePrefix("0.0.0.0/8")
