package http1

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lictor/internal/descriptors"
	"lictor/internal/monotonic"
	"lictor/proxy/socket"
)

// Upstream is a connection to an instance. While a request is under way it
// belongs to the goroutine of that request, else to its pool.
type Upstream struct {
	s          socket.Socket
	pool       *Pool
	reused     bool
	single     bool   // for one request only
	introduced bool   // it began with the address of one client, and is of use to nobody else
	alone      bool   // a login belongs to it: it is one client connection's, and ends with that
	slot       bool   // it holds one of the pool's
	late       bool   // made when more than half of the descriptors for connections to instances were taken: idle ones shall not use up the others
	era        uint64 // of its pool when it was made
	idle       int64  // monotonic time of the last use
}

// Reused reports whether the connection has served a request before.
func (u *Upstream) Reused() bool { return u.reused }

// RemoteAddr is the instance's end of the connection.
func (u *Upstream) RemoteAddr() net.Addr { return u.s.Conn.RemoteAddr() }

// PoolConfig says how a pool reaches its instance.
type PoolConfig struct {
	Address     string                                                               // host:port
	TLS         *tls.Config                                                          // nil: plain
	MaxIdle     int                                                                  // idle connections kept, and those besides that were used lately; 0 keeps none
	IdleTimeout time.Duration                                                        // an idle connection is closed after it
	Dial        func(ctx context.Context, network, address string) (net.Conn, error) // nil: Dialer
	Control     func(network, address string, rc syscall.RawConn) error              // of Dialer: may refuse an address; nil: all are fine
	Patience    time.Duration                                                        // for the acknowledgement of what was sent; 0 = no limit
	Single      bool                                                                 // a connection serves one request: what it runs on is Dial's to keep
	Slots       *socket.Slots                                                        // bounds the connections; nil: no bound, or Dial sees to it
	Within      bool                                                                 // the PROXY header of Introduced goes to who is behind the TLS, not in front of it
}

// Pool holds the idle connections to one instance, last used first.
type Pool struct {
	cfg    PoolConfig
	mu     sync.Mutex // guards idle, alone, era and closed
	idle   []*Upstream
	alone  map[*Conn]*Upstream // idle ones that only one client connection may use
	era    uint64              // how often it was renewed
	closed bool
	active atomic.Int64
}

// NewPool returns an empty pool.
func NewPool(cfg PoolConfig) *Pool {
	if cfg.Dial == nil {
		cfg.Dial = socket.DialerWith(cfg.Control).DialContext
	}
	return &Pool{cfg: cfg}
}

// Get returns a connection for a request of c: the one that is c's alone, an
// idle one, or a new one, which must come about within timeout. The caller owns
// it until the exchange on it ends.
func (p *Pool) Get(c *Conn, timeout time.Duration) (*Upstream, error) {
	if u := p.take(c, true); u != nil {
		return u, nil
	}
	return p.dial(timeout, nil)
}

// Fresh returns a new connection.
func (p *Pool) Fresh(timeout time.Duration) (*Upstream, error) { return p.dial(timeout, nil) }

// Introduced returns a connection that began with a PROXY header, which tells
// the address of c: the one that is c's alone, or a new one. It serves one
// request, for the next one may be another client's.
func (p *Pool) Introduced(c *Conn, timeout time.Duration, header []byte) (*Upstream, error) {
	if u := p.take(c, false); u != nil {
		return u, nil
	}
	return p.dial(timeout, header)
}

// take returns an idle connection that c may use, nil if there is none. Those
// that any client may use count only if shared.
func (p *Pool) take(c *Conn, shared bool) *Upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.alone) > 0 {
		if u := p.alone[c]; u != nil {
			delete(p.alone, c)
			p.active.Add(1)
			return u
		}
	}
	n := len(p.idle)
	if n == 0 || !shared {
		return nil
	}
	u := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	p.active.Add(1)
	return u
}

func (p *Pool) dial(timeout time.Duration, header []byte) (*Upstream, error) {
	if !p.cfg.Slots.Take() {
		return nil, socket.ErrBusy
	}
	era := p.now() // before it is made: what it is made of may change meanwhile
	nc, err := p.connect(timeout, header)
	if err != nil {
		p.cfg.Slots.GiveBack()
		return nil, err
	}
	u := &Upstream{pool: p, single: p.cfg.Single, introduced: len(header) > 0, slot: true, era: era, late: socket.Beyond(descriptors.ForUpstreams()/2, nc)}
	u.s.Init(nc)
	u.s.Pulse = socket.NewPulse(nc, p.cfg.Patience)
	if shared, ok := nc.(interface{ Reused() bool }); ok { // of HTTP/2
		u.reused = shared.Reused()
	}
	p.active.Add(1)
	return u, nil
}

// connect makes a connection that is ready for a request.
func (p *Pool) connect(timeout time.Duration, header []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	nc, err := p.cfg.Dial(ctx, "tcp", p.cfg.Address)
	if err != nil {
		return nil, err
	}
	if p.cfg.TLS == nil || !p.cfg.Within {
		err = introduce(nc, header)
	}
	if p.cfg.TLS != nil && err == nil {
		tc := tls.Client(socket.Records(nc), p.cfg.TLS)
		if err = tc.HandshakeContext(ctx); err == nil && p.cfg.Within {
			err = introduce(tc, header)
		}
		nc = tc
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// introduce writes the header, which fits into the buffer of a new socket.
func introduce(nc net.Conn, header []byte) error {
	if len(header) == 0 {
		return nil
	}
	_, err := nc.Write(header)
	return err
}

// put gives a connection back after a complete exchange of c.
func (p *Pool) put(u *Upstream, c *Conn) {
	p.active.Add(-1)
	u.reused = true
	u.idle = monotonic.Now()
	// Closing takes long, and every request to the instance would wait for it.
	if over := p.keep(u, c); over != nil {
		over.close()
	}
}

// keep makes u an idle connection. It returns the one that is to be closed for
// it, which is u itself where none is kept, or nil.
func (p *Pool) keep(u *Upstream, c *Conn) (over *Upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || u.single || u.era != p.era:
		return u
	case u.alone && c.keepsFor(p):
		if p.alone == nil {
			p.alone = make(map[*Conn]*Upstream)
		}
		over = p.alone[c]
		p.alone[c] = u
		return over
	case u.alone || u.introduced || p.cfg.MaxIdle <= 0:
		return u
	}
	p.idle = append(p.idle, u)
	if len(p.idle) > p.cfg.MaxIdle && (u.late || p.idle[0].idle < u.idle-int64(lately)) {
		return p.first()
	}
	return nil
}

// lately is how long an idle connection past MaxIdle is kept. Many requests at once
// have their connections idle in turns: each one that is closed has to be made again.
const lately = time.Second

// first takes the connection that was idle for longest. p.mu must be held.
func (p *Pool) first() *Upstream {
	u := p.idle[0]
	n := copy(p.idle, p.idle[1:])
	p.idle[n] = nil
	p.idle = p.idle[:n]
	return u
}

// release closes the connection that was c's alone.
func (p *Pool) release(c *Conn) {
	p.mu.Lock()
	u := p.alone[c]
	delete(p.alone, c)
	p.mu.Unlock()
	if u != nil {
		u.close()
	}
}

// Discard closes a connection that cannot be used again.
func (u *Upstream) Discard() {
	u.pool.active.Add(-1)
	u.close()
}

func (u *Upstream) close() {
	u.s.Pulse.Stop()
	u.s.Conn.Close()
	if u.slot {
		u.pool.cfg.Slots.GiveBack()
	}
}

// Expire closes connections that were idle for too long, or were closed by
// the peer.
func (p *Pool) Expire() {
	now := monotonic.Now()
	limit := now - int64(p.cfg.IdleTimeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, past := p.idle[:0], len(p.idle)-p.cfg.MaxIdle // the first so many are past MaxIdle
	for i, u := range p.idle {
		if u.idle < limit || i < past && u.idle < now-int64(lately) || u.s.Stale() {
			u.close()
			continue
		}
		kept = append(kept, u)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	for c, u := range p.alone {
		if u.idle < limit || u.s.Stale() {
			u.close()
			delete(p.alone, c)
		}
	}
}

// Spare closes the connection that was idle for longest and reports whether
// there was one. One with a login goes last.
func (p *Pool) Spare() bool {
	u := p.oldest()
	if u != nil {
		u.close()
	}
	return u != nil
}

// oldest takes the connection that Spare closes, nil if there is none.
func (p *Pool) oldest() *Upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) > 0 {
		return p.first()
	}
	for c, u := range p.alone {
		delete(p.alone, c)
		return u
	}
	return nil
}

// Clear closes the idle connections.
func (p *Pool) Clear() {
	p.mu.Lock()
	idle, alone := p.idle, p.alone
	p.idle, p.alone = nil, nil
	p.mu.Unlock()
	for _, u := range idle {
		u.close()
	}
	for _, u := range alone {
		u.close()
	}
}

// Renew has connections that were made before serve no further request: those that
// are idle are closed, those in use end after their request.
func (p *Pool) Renew() {
	p.mu.Lock()
	p.era++
	p.mu.Unlock()
	p.Clear()
}

func (p *Pool) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.era
}

// Close closes the idle connections; those in use end after their request.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Clear()
}

// Counts returns the number of connections in use and idle.
func (p *Pool) Counts() (active, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.active.Load()), len(p.idle) + len(p.alone)
}
