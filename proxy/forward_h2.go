package proxy

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"

	"lictor/proxy/http1"
	"lictor/proxy/http2"
	"lictor/resolver"
)

// line2 is how a member is reached by HTTP/2. A connection of its pool is one
// request: many share one of the client's, so that none is kept idle here.
type line2 struct {
	cfg http2.ClientConfig

	mu     sync.Mutex // guards what follows
	client *http2.Client
	pool   *http1.Pool // nil until the first request
	closed bool
}

func newLine2(inst *resolver.Instance, cfg *Settings) *line2 {
	return &line2{cfg: http2.ClientConfig{Address: inst.Address, TLS: upstreamTLS(inst, cfg), Idle: upstreamIdle}}
}

func (l *line2) get() *http1.Pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool == nil {
		l.client = http2.NewClient(l.cfg)
		l.pool = http1.NewPool(http1.PoolConfig{Address: l.cfg.Address, Dial: l.client.Dial, Single: true})
		if l.closed {
			l.client.Close()
		}
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

// active is the number of requests under way.
func (l *line2) active() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool == nil {
		return 0
	}
	n, _ := l.pool.Counts()
	return n
}

// close ends the idle connections of m.
func (m *member) close() {
	m.pool.Close()
	m.h2.close()
}

// counts returns how many connections are in use and idle.
func (m *member) counts() (active, idle int) {
	active, idle = m.pool.Counts()
	return active + m.h2.active(), idle
}

// upstreamTLS returns how an instance is spoken to by TLS, nil if in plain text.
func upstreamTLS(inst *resolver.Instance, cfg *Settings) *tls.Config {
	if !inst.TLS {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.UpstreamTLS != nil {
		c = cfg.UpstreamTLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(inst.Address)
	}
	return c
}

// byHTTP2 reports whether the request goes to m by HTTP/2: if the instance says
// so, or if it is gRPC, which knows nothing else (D20). An upgrade is HTTP/1.1's.
func (x *exchange) byHTTP2(m *member) bool {
	return x.upgrade == "" && (m.inst.Protocol != resolver.HTTP1 || x.isGRPC())
}

func (x *exchange) isGRPC() bool {
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; f.ID == http1.FieldContentType {
			const grpc = "application/grpc"
			return strings.HasPrefix(f.Value, grpc) && (len(f.Value) == len(grpc) || strings.IndexByte("+;", f.Value[len(grpc)]) >= 0)
		}
	}
	return false
}

// connect takes a connection to m, or makes one.
func (x *exchange) connect(m *member, r *roster, fresh bool, timeout time.Duration) (*http1.Upstream, error) {
	if x.byHTTP2(m) {
		return m.h2.get().Get(x.c, timeout)
	}
	if version := r.service.Options.SendProxy; version > 0 {
		header, err := http1.AppendProxyHeader(nil, version, x.c.RemoteAddr(), x.c.LocalAddr())
		if err != nil {
			return nil, err
		}
		return m.pool.Introduced(x.c, timeout, header)
	}
	if fresh {
		return m.pool.Fresh(timeout)
	}
	return m.pool.Get(x.c, timeout)
}
