package egress

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"lictor/proxy/http1"
)

// Settings are what a SIGHUP may change. They are immutable once given to the
// proxy. The zero value of what opens something keeps it closed.
type Settings struct {
	DNSServers      []netip.AddrPort // empty: the system's
	ReachPrivate    bool             // deny_private = false (A15)
	AllowPrivate    []netip.Prefix   // that may be reached nevertheless
	ReachRegistered bool             // deny_registered_services = false (A15)
	ConnectPorts    []uint16         // that CONNECT may reach; empty: any
	AllowClients    []netip.Prefix   // who may use the proxy; empty: loopback and private addresses

	Timeout        time.Duration // to the response head; required, as the next ones
	Idle           time.Duration // of a kept-alive client connection
	Header         time.Duration // to read a request head
	Stream         time.Duration // without a byte either way on a body or tunnel
	Body           time.Duration // to the first byte of a body; 0: as Stream
	Admission      http1.Admission
	MaxHeader      int           // bytes of a request head
	Drain          time.Duration // for what is in flight at the end
	ConnectTimeout time.Duration // for all addresses of a target together; 0 = 10 s

	MaxTunnels       int           // open at the same time; 0 = 20,000
	MaxClientTunnels int           // of one client address; 0 = 1,000
	TunnelLife       time.Duration // after which a tunnel is cut, busy or not; 0 = 24 h
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

// near are the addresses of clients that may use the proxy unless it is said
// otherwise: an open proxy serves everybody who finds it.
var near = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// serves reports whether a client may use the proxy.
func (s *Settings) serves(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	if len(s.AllowClients) == 0 {
		return within(near, client)
	}
	return within(s.AllowClients, client)
}

// private reports whether an address is out of reach (A15). One that embeds an
// IPv4 address is excepted only if that one may be reached, too.
func (s *Settings) private(a netip.Addr) bool {
	a = a.Unmap()
	if s.ReachPrivate || !isPrivate(a) {
		return false
	}
	if !within(s.AllowPrivate, a.WithZone("")) {
		return true
	}
	var buf [4]netip.Addr
	inside := embedded(buf[:0], a)
	return len(inside) > 0 && isPrivate(inside[0]) && !within(s.AllowPrivate, inside[0])
}
