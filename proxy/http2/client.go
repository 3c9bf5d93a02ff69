package http2

//lint:file-ignore SA1019 net/http has no hook for which connection a request that was not processed goes to next

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
)

// ClientConfig says how an instance is reached. Address is required.
type ClientConfig struct {
	Address string      // host:port
	TLS     *tls.Config // nil: plaintext, with prior knowledge
	Idle    time.Duration
}

// Client speaks HTTP/2 to one instance, many requests over a connection. What
// it gives to the data plane is a connection for each request, that speaks the
// text of HTTP/1.1: see [Client.Dial].
type Client struct {
	cfg       ClientConfig
	scheme    string
	transport *http2.Transport

	mu     sync.Mutex // guards conns and closed
	conns  []*http2.ClientConn
	closed bool
}

// Limits that the library applies.
const (
	maxAnswerHead = 64 << 10
	stall         = 15 * time.Second // of a connection that takes nothing
)

// NewClient returns a client without a connection.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{cfg: cfg, scheme: "http"}
	if cfg.TLS != nil {
		c.scheme = "https"
		c.cfg.TLS = cfg.TLS.Clone()
		c.cfg.TLS.NextProtos = []string{"h2"}
	}
	c.transport = &http2.Transport{
		AllowHTTP: true, DisableCompression: true, ConnPool: (*clientConns)(c), MaxHeaderListSize: maxAnswerHead,
		// No pings on a quiet connection: gRPC servers end one that has more than
		// two of them. The kernel finds out that a peer is gone, see dialer.
		IdleConnTimeout: cfg.Idle, PingTimeout: stall, WriteByteTimeout: stall,
	}
	return c
}

// Dial returns a connection for one request, which says whether it shares one
// that was there before. It fails if the instance cannot be reached: a
// connection to it is there when Dial returns.
func (c *Client) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	reused := c.reachable()
	if !reused {
		if _, err := c.connect(ctx, false); err != nil {
			return nil, err
		}
	}
	k := newCall(c)
	k.reused = reused
	return k, nil
}

// reachable reports whether there is a connection for one more request.
func (c *Client) reachable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cc := range c.conns {
		if cc.CanTakeNewRequest() {
			return true
		}
	}
	return false
}

// dialer makes connections whose end is noticed within about half a minute,
// also if the peer vanished without a word.
var dialer = net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: stall, Interval: 5 * time.Second, Count: 3},
	Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) {
			// Where the kernel does not know it, the limits of requests do.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(2*stall/time.Millisecond))
		})
	},
}

// connect makes a new connection, with room for a request if it is to be
// reserved. Its first ping shows that the instance speaks HTTP/2, and how many
// requests it takes at once: before that, nobody may use it.
func (c *Client) connect(ctx context.Context, reserve bool) (*http2.ClientConn, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := c.transport.NewClientConn(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	if err := cc.Ping(ctx); err != nil {
		cc.Close()
		return nil, err
	}
	if reserve && !cc.ReserveNewRequest() {
		cc.Close()
		return nil, errRefused
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cc.SetDoNotReuse()
	}
	c.conns = append(c.conns, cc)
	return cc, nil
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	nc, err := dialer.DialContext(ctx, "tcp", c.cfg.Address)
	if err != nil || c.cfg.TLS == nil {
		return nc, err
	}
	tc := tls.Client(nc, c.cfg.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol != "h2" {
		nc.Close()
		return nil, errNotHTTP2
	}
	return tc, nil
}

var errNotHTTP2 = errors.New("http2: the instance does not speak HTTP/2")

// Close ends the connections after the requests on them.
func (c *Client) Close() {
	c.mu.Lock()
	conns := c.conns
	c.conns, c.closed = nil, true
	c.mu.Unlock()
	for _, cc := range conns {
		if state := cc.State(); state.StreamsActive+state.StreamsReserved+state.StreamsPending == 0 {
			cc.Close()
		} else {
			cc.SetDoNotReuse()
		}
	}
}

// unreachable is an instance that cannot be connected to any more.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// redial is how long a connection may take that is needed because the one a
// request was meant for went away.
const redial = 2 * time.Second

// clientConns chooses a connection for a request, also when the library sends
// one again that was not processed.
type clientConns Client

// maxTurns is how often a request is given to a connection: the first one may
// go away, and the next one may be one that does.
const maxTurns = 2

// turns counts them, in the context of a request.
type turns struct{ n int }

type turnsKey struct{}

var errRefused = errors.New("http2: the instance takes no request")

// GetClientConn implements http2.ClientConnPool.
func (p *clientConns) GetClientConn(req *http.Request, _ string) (*http2.ClientConn, error) {
	if t, ok := req.Context().Value(turnsKey{}).(*turns); ok {
		if t.n++; t.n > maxTurns {
			return nil, &unreachable{errRefused}
		}
	}
	p.mu.Lock()
	for _, cc := range p.conns {
		if cc.ReserveNewRequest() {
			p.mu.Unlock()
			return cc, nil
		}
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(req.Context(), redial)
	defer cancel()
	cc, err := (*Client)(p).connect(ctx, true)
	if err != nil {
		return nil, &unreachable{err}
	}
	return cc, nil
}

// MarkDead implements http2.ClientConnPool.
func (p *clientConns) MarkDead(dead *http2.ClientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, cc := range p.conns {
		if cc == dead {
			p.conns = append(p.conns[:i:i], p.conns[i+1:]...)
			return
		}
	}
}
