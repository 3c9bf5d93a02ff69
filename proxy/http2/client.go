package http2

//lint:file-ignore SA1019 net/http does not say that a request was not processed (docs/decisions/0008)

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

	"lictor/internal/crash"
	"lictor/proxy/socket"
)

// ClientConfig says how an instance is reached. Address and Patience are required.
type ClientConfig struct {
	Address  string      // host:port
	TLS      *tls.Config // nil: plaintext, with prior knowledge
	Prior    bool        // with TLS: it is known that HTTP/2 is spoken, the instance need not agree to it
	Idle     time.Duration
	Patience time.Duration                                           // for a connection to come about
	Slots    *socket.Slots                                           // that connections take; nil: no bound
	Control  func(network, address string, rc syscall.RawConn) error // may refuse an address; nil: all are fine
}

// Client speaks HTTP/2 to one instance, many requests over a connection. What
// it gives to the data plane is a connection for each request, that speaks the
// text of HTTP/1.1: see [Client.Dial].
type Client struct {
	cfg       ClientConfig
	scheme    string
	transport *http2.Transport

	mu      sync.Mutex // guards what follows
	lines   []*line
	made    int      // lines so far
	era     int      // how often it was renewed
	growing *growing // a connection that is being made, nil if none is
	closed  bool
}

// growing is a connection that is being made. All who need one wait for it.
type growing struct {
	done chan struct{}
	err  error // once done is closed
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
	c.transport = newTransport(cfg.Idle)
	c.transport.ConnPool = (*clientConns)(c)
	return c
}

// newTransport returns the library's part. There are no pings on a quiet
// connection: gRPC servers end one that has more than two of them.
func newTransport(idle time.Duration) *http2.Transport {
	t, err := http2.ConfigureTransports(&http.Transport{HTTP2: &http.HTTP2Config{
		MaxReceiveBufferPerStream: answerWindow, MaxReceiveBufferPerConnection: lineWindow,
	}})
	if err != nil {
		panic(err) // it fails for a transport that is configured already
	}
	t.AllowHTTP, t.DisableCompression, t.MaxHeaderListSize = true, true, maxAnswerHead
	t.IdleConnTimeout, t.PingTimeout, t.WriteByteTimeout = idle, stall, stall
	return t
}

// Dial returns a connection for one request, which says whether it shares one
// that was there before. It fails if the instance cannot be reached: a
// connection to it, with a place for the request, is there when Dial returns.
func (c *Client) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return c.dial(ctx, need{})
}

// DialFresh is Dial that shares no connection which was there before.
func (c *Client) DialFresh(ctx context.Context, _, _ string) (net.Conn, error) {
	c.mu.Lock()
	n := need{after: c.made}
	c.mu.Unlock()
	return c.dial(ctx, n)
}

func (c *Client) dial(ctx context.Context, n need) (net.Conn, error) {
	k := newCall(c)
	var err error
	if k.reused, err = c.reserve(ctx, k, n); err != nil {
		return nil, err
	}
	return k, nil
}

// reserve gives k a place on a line, and reports whether that was there before.
// One connection is made at a time: whoever waits for it may find a place on
// it. Where none may be made any more, a place among others is better than none.
func (c *Client) reserve(ctx context.Context, k *call, n need) (reused bool, err error) {
	for reused = true; ; reused = false {
		c.mu.Lock()
		if l := c.choose(n); l != nil {
			l.enter(n)
			k.line, k.need = l, n
			c.mu.Unlock()
			return reused, nil
		}
		g := c.growing
		if g == nil {
			g = &growing{done: make(chan struct{})}
			c.growing = g
			crash.Go("upstream connection", func() { c.grow(g) }, nil)
		}
		c.mu.Unlock()
		select {
		case <-g.done:
			switch {
			case g.err == socket.ErrBusy && !n.any && n.after == 0:
				n.any = true
			case g.err != nil:
				return false, g.err
			}
		case <-ctx.Done():
			if !reused {
				return false, socket.ErrBusy // connections come about, but others are quicker to take their places
			}
			return false, ctx.Err()
		}
	}
}

// grow makes a connection for all who wait.
func (c *Client) grow(g *growing) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Patience)
	defer cancel()
	g.err = errors.New("http2: no connection was made")
	defer func() {
		c.mu.Lock()
		c.growing = nil
		c.mu.Unlock()
		close(g.done)
	}()
	g.err = c.connect(ctx)
}

// ErrRefused is an instance that takes no request, though it speaks HTTP/2.
var ErrRefused = errors.New("http2: the instance takes no request")

// connect makes a line. Its first ping shows that the instance speaks HTTP/2,
// and how many requests it takes at once: before that, nobody may use it. One
// that takes none is of no use and is closed.
func (c *Client) connect(ctx context.Context) error {
	if !c.cfg.Slots.Take() {
		return socket.ErrBusy
	}
	c.mu.Lock()
	era := c.era // before it is made: what it is made of may change meanwhile
	c.mu.Unlock()
	nc, err := c.handshake(ctx)
	if err != nil {
		c.cfg.Slots.GiveBack()
		return err
	}
	w := newWire(nc, c.cfg.Patience, c.cfg.Slots.GiveBack)
	cc, err := c.transport.NewClientConn(w)
	if err != nil {
		_ = w.Close() // it is given up
		return err
	}
	if err := cc.Ping(ctx); err != nil {
		_ = cc.Close() // it is given up
		return err
	}
	if !cc.CanTakeNewRequest() {
		_ = cc.Close() // it is given up
		return ErrRefused
	}
	c.mu.Lock()
	if era != c.era {
		c.mu.Unlock()
		_ = cc.Close() // it is given up
		return c.connect(ctx)
	}
	defer c.mu.Unlock()
	c.made++
	c.lines = append(c.lines, &line{cc: cc, wire: w, serial: c.made})
	return nil
}

// handshake connects, up to the point where both sides agreed on HTTP/2.
func (c *Client) handshake(ctx context.Context) (net.Conn, error) {
	nc, err := socket.DialerWith(c.cfg.Control).DialContext(ctx, "tcp", c.cfg.Address)
	if err != nil || c.cfg.TLS == nil {
		return nc, err
	}
	tc := tls.Client(nc, c.cfg.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	if agreed := tc.ConnectionState().NegotiatedProtocol; agreed != "h2" && !(agreed == "" && c.cfg.Prior) {
		nc.Close()
		return nil, errNotHTTP2
	}
	return tc, nil
}

var errNotHTTP2 = errors.New("http2: the instance does not speak HTTP/2")

// Check finds out whether the instance speaks HTTP/2 now.
func (c *Client) Check(ctx context.Context) error {
	if err := c.connect(ctx); err != ErrRefused {
		return err
	}
	return nil
}

// Counts returns how many connections have requests and have none.
func (c *Client) Counts() (active, idle int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if l.streams > 0 {
			active++
		} else {
			idle++
		}
	}
	return active, idle
}

// Spare closes a connection without requests and reports whether there was one.
func (c *Client) Spare() bool {
	c.mu.Lock()
	var unused *line
	for _, l := range c.lines {
		if l.streams == 0 {
			unused = l
			break
		}
	}
	c.drop(unused)
	c.mu.Unlock()
	if unused == nil {
		return false
	}
	_ = unused.cc.Close() // it is given up
	return true
}

// drop forgets a line. c.mu must be held.
func (c *Client) drop(dead *line) {
	for i, l := range c.lines {
		if l == dead {
			c.lines = append(c.lines[:i:i], c.lines[i+1:]...)
			return
		}
	}
}

// Close ends the connections after the requests on them.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.giveUp()
}

// Renew has connections that were made before take no further request; they end
// after those that they have.
func (c *Client) Renew() {
	c.mu.Lock()
	c.era++
	c.mu.Unlock()
	c.giveUp()
}

func (c *Client) giveUp() {
	c.mu.Lock()
	lines := c.lines
	c.lines = nil
	c.mu.Unlock()
	for _, l := range lines {
		if state := l.cc.State(); state.StreamsActive+state.StreamsReserved+state.StreamsPending == 0 {
			_ = l.cc.Close() // it is given up
		} else {
			l.cc.SetDoNotReuse()
		}
	}
}

// unreachable is an instance that cannot be connected to any more, or that a
// request is not given to once more.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// redial is how long a connection may take that is needed because the one a
// request was meant for went away.
const redial = 2 * time.Second

// clientConns chooses a connection for a request, also when the library sends
// one again that was not processed.
type clientConns Client

// maxTurns is how often a request is given to a connection that goes away
// before anything was sent on it.
const maxTurns = 4

// callKey is that of the call in the context of its request.
type callKey struct{}

// GetClientConn implements http2.ClientConnPool. A request that was sent is not
// sent again from here, whatever the instance says of it: that is for whoever
// knows how often it was.
func (p *clientConns) GetClientConn(req *http.Request, _ string) (*http2.ClientConn, error) {
	k := req.Context().Value(callKey{}).(*call)
	if k.turns++; k.turns > maxTurns || k.wrote.Load() {
		return nil, &unreachable{ErrRefused}
	}
	ctx, cancel := context.WithTimeout(req.Context(), redial)
	defer cancel()
	for range maxTurns {
		if err := (*Client)(p).seat(ctx, k); err != nil {
			return nil, &unreachable{err}
		}
		if k.line.cc.ReserveNewRequest() {
			return k.line.cc, nil
		}
		(*Client)(p).leave(k) // it takes fewer than before, or goes away
	}
	return nil, &unreachable{ErrRefused}
}

// MarkDead implements http2.ClientConnPool.
func (p *clientConns) MarkDead(dead *http2.ClientConn) {
	c := (*Client)(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if l.cc == dead {
			c.drop(l)
			return
		}
	}
}
