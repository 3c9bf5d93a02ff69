package http1

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Upstream is a connection to an instance. While a request is under way it
// belongs to the goroutine of that request, else to its pool.
type Upstream struct {
	s      sock
	pool   *Pool
	reused bool
	single bool  // for one request only
	idle   int64 // monotonic time of the last use
}

// Reused reports whether the connection has served a request before.
func (u *Upstream) Reused() bool { return u.reused }

// LocalAddr and RemoteAddr are the connection's ends.
func (u *Upstream) RemoteAddr() net.Addr { return u.s.nc.RemoteAddr() }

// PoolConfig says how a pool reaches its instance.
type PoolConfig struct {
	Address     string                                                               // host:port
	TLS         *tls.Config                                                          // nil: plain
	MaxIdle     int                                                                  // idle connections kept
	IdleTimeout time.Duration                                                        // an idle connection is closed after it
	Dial        func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
}

// Pool holds the idle connections to one instance, last used first.
type Pool struct {
	cfg    PoolConfig
	mu     sync.Mutex // guards idle and closed
	idle   []*Upstream
	closed bool
	active atomic.Int64
}

// NewPool returns an empty pool.
func NewPool(cfg PoolConfig) *Pool {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	return &Pool{cfg: cfg}
}

// Get returns an idle connection, or a new one, which must come about within
// timeout. The caller owns it until Put or Close of it.
func (p *Pool) Get(timeout time.Duration) (*Upstream, error) {
	if u := p.take(); u != nil {
		p.active.Add(1)
		return u, nil
	}
	return p.dial(timeout, nil)
}

// Fresh returns a new connection.
func (p *Pool) Fresh(timeout time.Duration) (*Upstream, error) { return p.dial(timeout, nil) }

// Introduced returns a new connection that begins with a PROXY header. It
// serves one request: the next one may be another client's.
func (p *Pool) Introduced(timeout time.Duration, header []byte) (*Upstream, error) {
	return p.dial(timeout, header)
}

func (p *Pool) take() *Upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	u := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return u
}

func (p *Pool) dial(timeout time.Duration, header []byte) (*Upstream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	nc, err := p.cfg.Dial(ctx, "tcp", p.cfg.Address)
	if err != nil {
		return nil, err
	}
	if len(header) > 0 { // it fits into the buffer of a new socket
		if _, err := nc.Write(header); err != nil {
			nc.Close()
			return nil, err
		}
	}
	if p.cfg.TLS != nil {
		tc := tls.Client(newRecords(nc), p.cfg.TLS)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		nc = tc
	}
	u := &Upstream{pool: p, single: len(header) > 0}
	u.s.init(nc)
	if shared, ok := nc.(interface{ Reused() bool }); ok { // of HTTP/2
		u.reused = shared.Reused()
	}
	p.active.Add(1)
	return u, nil
}

// put gives a connection back after a complete exchange.
func (p *Pool) put(u *Upstream) {
	p.active.Add(-1)
	u.reused = true
	u.idle = monotonic()
	p.mu.Lock()
	if p.closed || u.single || len(p.idle) >= p.cfg.MaxIdle {
		p.mu.Unlock()
		u.s.nc.Close()
		return
	}
	p.idle = append(p.idle, u)
	p.mu.Unlock()
}

// Discard closes a connection that cannot be used again.
func (u *Upstream) Discard() {
	u.pool.active.Add(-1)
	u.s.nc.Close()
}

// Expire closes connections that were idle for too long, or were closed by
// the peer.
func (p *Pool) Expire() {
	limit := monotonic() - int64(p.cfg.IdleTimeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[:0]
	for _, u := range p.idle {
		if u.idle < limit || u.s.stale() {
			u.s.nc.Close()
			continue
		}
		kept = append(kept, u)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
}

// Close closes the idle connections; those in use end after their request.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, u := range idle {
		u.s.nc.Close()
	}
}

// Counts returns the number of connections in use and idle.
func (p *Pool) Counts() (active, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.active.Load()), len(p.idle)
}
