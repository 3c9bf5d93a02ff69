package gateway

import (
	"net"
	"net/netip"

	"lictor/proxy/http1"
	"lictor/proxy/http2"
)

// entrance is how connections get in: through the proxies in front, by TLS, as
// HTTP/1.1 or HTTP/2.
func (g *Gateway) entrance(cfg *Config) http1.Entrance {
	e := http1.Entrance{TLS: cfg.TLS, Verify: cfg.VerifyClient, HTTP2: http2.NewServer(g.server)}
	e.Exempt = func(a netip.Addr) bool { return contains(g.settings.Load().TrustedProxies, a) }
	if cfg.ProxyProtocol {
		e.Introduce = g.introduce
	}
	return e
}

// PlainEntrance is the way in for another listener, without TLS and HTTP/2, that
// stands behind the same proxies.
func (g *Gateway) PlainEntrance() http1.Entrance {
	e := g.server.Entrance()
	return http1.Entrance{Introduce: e.Introduce, Exempt: e.Exempt}
}

// introduce reads the PROXY header with which every connection of a trusted
// proxy begins. From anybody else it is not believed, nor looked for.
func (g *Gateway) introduce(nc net.Conn) (remote, local netip.AddrPort, err error) {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok || !contains(g.settings.Load().TrustedProxies, tcp.AddrPort().Addr().Unmap()) {
		return remote, local, nil
	}
	if remote, local, err = http1.ReadProxyHeader(nc); err != nil {
		g.log.Warn("a trusted proxy sent no PROXY header", "client", nc.RemoteAddr().String(), "error", err)
	}
	return remote, local, err
}
