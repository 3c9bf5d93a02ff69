package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"time"

	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/http2"
	"lictor/proxy/socket"
	"lictor/resolver"
)

// line2 is how a member is reached by HTTP/2. A connection of its pool is one
// request: many share one of the client's, so that none is kept idle here.
type line2 struct {
	cfg   http2.ClientConfig
	first bool // the instance is registered as one that speaks HTTP/2

	mu     sync.Mutex // guards what follows
	client *http2.Client
	pool   *http1.Pool // nil until the first request
	fresh  *http1.Pool // of requests that share no connection with former ones
	closed bool
}

func (g *group) newLine2(inst *resolver.Instance, cfg *Settings, slots *socket.Slots) *line2 {
	return &line2{first: inst.Protocol != resolver.HTTP1, cfg: http2.ClientConfig{
		Address: inst.Address, TLS: g.tls(inst, cfg), Prior: inst.Mesh != "", Idle: upstreamIdle, Slots: slots, Patience: cfg.ConnectTimeout,
		Control: cfg.Control,
	}}
}

// get returns where connections for requests come from, for those that share
// none with former requests if fresh.
func (l *line2) get(fresh bool) *http1.Pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool == nil {
		l.client = http2.NewClient(l.cfg)
		l.pool = http1.NewPool(http1.PoolConfig{Address: l.cfg.Address, Dial: l.client.Dial, Single: true})
		l.fresh = http1.NewPool(http1.PoolConfig{Address: l.cfg.Address, Dial: l.client.DialFresh, Single: true})
		if l.closed {
			l.client.Close()
		}
	}
	if fresh {
		return l.fresh
	}
	return l.pool
}

func (l *line2) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.client != nil {
		l.client.Close()
	}
}

// renew has connections that were made before take no further request.
func (l *line2) renew() {
	if c := l.made(); c != nil {
		c.Renew()
	}
}

// made returns the client, nil before the first request.
func (l *line2) made() *http2.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

// counts returns how many connections have requests and have none.
func (l *line2) counts() (active, idle int) {
	if c := l.made(); c != nil {
		return c.Counts()
	}
	return 0, 0
}

// spare closes a connection without requests and reports whether there was one.
func (l *line2) spare() bool {
	c := l.made()
	return c != nil && c.Spare()
}

// check finds out whether the instance speaks HTTP/2 by now.
func (l *line2) check(ctx context.Context) error {
	l.get(false)
	return l.made().Check(ctx)
}

// tls returns how an instance is spoken to by TLS, nil if in plain text.
func (g *group) tls(inst *resolver.Instance, cfg *Settings) *tls.Config {
	switch {
	case inst.Mesh != "":
		return g.mesh.TLS(inst.Mesh)
	case !inst.TLS:
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.UpstreamTLS != nil {
		c = cfg.UpstreamTLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(inst.Address)
	}
	if cfg.UpstreamRoots != nil {
		verifyBy(c, cfg.UpstreamRoots)
	}
	return c
}

// verifyBy has c verify its peer by the authorities as they are at the handshake,
// also where it goes on with a session of before.
func verifyBy(c *tls.Config, roots func() *x509.CertPool) {
	name := c.ServerName
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots(), Intermediates: between})
		return err
	}
}

// byHTTP2 reports whether the request goes to m by HTTP/2: if the instance says
// so, or if it is gRPC, which knows nothing else (D20). An upgrade is HTTP/1.1's.
func (q *Request) byHTTP2(m *member) bool {
	return q.Upgrade == "" && (m.inst.Protocol != resolver.HTTP1 || q.isGRPC())
}

func (q *Request) isGRPC() bool {
	for i := range q.Head.Fields {
		if f := &q.Head.Fields[i]; f.ID == message.FieldContentType {
			const grpc = "application/grpc"
			return strings.HasPrefix(f.Value, grpc) && (len(f.Value) == len(grpc) || strings.IndexByte("+;", f.Value[len(grpc)]) >= 0)
		}
	}
	return false
}

// connect takes a connection to m, or makes one.
func (q *Request) connect(m *member, r *roster, fresh bool, timeout time.Duration) (*http1.Upstream, error) {
	if q.byHTTP2(m) {
		return m.h2.get(fresh).Get(q.Conn, timeout)
	}
	if version := r.service.Options.SendProxy; version > 0 {
		header, err := http1.AppendProxyHeader(nil, version, q.Conn.RemoteAddr(), q.Conn.LocalAddr())
		if err != nil {
			return nil, err
		}
		return m.pool.Introduced(q.Conn, timeout, header)
	}
	if fresh {
		return m.pool.Fresh(timeout)
	}
	return m.pool.Get(q.Conn, timeout)
}
