package http2

//lint:file-ignore SA1019 net/http has no hook for which connection a request that was not processed goes to next

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
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
	quietPing     = 15 * time.Second // a connection that is quiet for so long is tried
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
		IdleConnTimeout: cfg.Idle, ReadIdleTimeout: quietPing, PingTimeout: quietPing, WriteByteTimeout: quietPing,
	}
	return c
}

// Dial returns a connection for one request, which says whether it shares one
// that was there before. It fails if the instance cannot
// be reached: a connection to it is there when Dial returns.
func (c *Client) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	reused := c.reachable()
	if !reused {
		if _, err := c.connect(ctx); err != nil {
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

// connect makes a new connection.
func (c *Client) connect(ctx context.Context) (*http2.ClientConn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", c.cfg.Address)
	if err != nil {
		return nil, err
	}
	if c.cfg.TLS != nil {
		tc := tls.Client(nc, c.cfg.TLS)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		if tc.ConnectionState().NegotiatedProtocol != "h2" {
			nc.Close()
			return nil, errNotHTTP2
		}
		nc = tc
	}
	cc, err := c.transport.NewClientConn(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cc.SetDoNotReuse()
	}
	c.conns = append(c.conns, cc)
	return cc, nil
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
	cc, err := (*Client)(p).connect(ctx)
	if err != nil {
		return nil, &unreachable{err}
	}
	cc.ReserveNewRequest()
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
