package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"lictor/proxy/http1"
)

// Listener is one way into the gateway. All of them lead to the same routes and the
// same policy; what one believes of a connection counts for that connection alone.
// Its zero value speaks plain text and believes nobody.
type Listener struct {
	TLS           *tls.Config                                                  // nil: it speaks plain text
	VerifyClient  func(chain []*x509.Certificate) (until time.Time, err error) // nil: a client's certificate is verified once
	ClientNames   func(name string) bool                                       // which names in it may stand for a consumer; nil: all
	ProxyProtocol bool                                                         // connections of its trusted proxies begin with a PROXY header
}

// NamedListener is a listener beside the gateway's own.
type NamedListener struct {
	Listener
	Name string // in log and metrics
}

// proxies are the trusted proxies of a listener, by its number.
func (s *Settings) proxies(listener int) []netip.Prefix {
	switch {
	case listener == 0:
		return s.TrustedProxies
	case listener <= len(s.MoreTrustedProxies):
		return s.MoreTrustedProxies[listener-1]
	}
	return nil
}

// addListener makes the entrance of a listener: through the proxies in front, by TLS,
// as HTTP/1.1 or HTTP/2.
func (g *Gateway) addListener(name string, l *Listener) {
	n := len(g.entrances)
	e := &http1.Entrance{Listener: n, TLS: l.TLS, Verify: l.VerifyClient, Vouches: l.ClientNames, Exempt: g.exempt(n)}
	if l.ProxyProtocol {
		e.Introduce = g.introducer(n)
	}
	g.entrances = append(g.entrances, e)
	g.names = append(g.names, name)
}

func (g *Gateway) exempt(listener int) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return contains(g.settings.Load().proxies(listener), a) }
}

// PlainEntrance is the way in for another listener, without TLS, that stands behind
// the same proxies as the gateway's own.
func (g *Gateway) PlainEntrance() *http1.Entrance {
	return &http1.Entrance{Introduce: g.entrances[0].Introduce, Exempt: g.entrances[0].Exempt}
}

// introducer reads the PROXY header with which every connection of a trusted proxy of
// the listener begins. From anybody else it is not believed, nor looked for.
func (g *Gateway) introducer(listener int) func(net.Conn) (remote, local netip.AddrPort, err error) {
	trusted := g.exempt(listener)
	return func(nc net.Conn) (remote, local netip.AddrPort, err error) {
		tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
		if !ok || !trusted(tcp.AddrPort().Addr().Unmap()) {
			return remote, local, nil
		}
		if remote, local, err = http1.ReadProxyHeader(nc); err != nil {
			g.log.Warn("a trusted proxy sent no PROXY header", "listener", g.names[listener], "client", nc.RemoteAddr().String(), "error", err)
		}
		return remote, local, err
	}
}
