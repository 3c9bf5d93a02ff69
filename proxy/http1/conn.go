package http1

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a client's HTTP/1.x connection and the request on it that is being
// served. One goroutine owns it for its whole life; only [Conn.Cut] may be
// called by others. Between requests it holds no buffer.
type Conn struct {
	srv  *Server
	s    sock
	peer *Peer // not changed any more

	ws      *workspace // nil while idle
	r, w    int        // bytes read and not yet used: ws.in[r:w]
	body    body
	trip    trip
	closing bool        // no further request on this connection
	cut     atomic.Bool // by Cut
	reset   bool        // end it by RST, so that a cut answer cannot look complete
	alone   []*Pool     // that may hold a connection which only this one may use

	waited time.Duration // for the next request, before a nap
	served bool          // a request

	// User is the handler's, for the request being served.
	User any

	state atomic.Uint32 // idle, active, stopped: see Server.Shutdown
}

// workspace is the memory of an active request.
type workspace struct {
	in    []byte // the request head and what came with it; strings of Req point into it
	req   RequestHead
	resp  ResponseHead
	dec   ChunkDecoder // of the request body
	updec ChunkDecoder // of the response body
	first []byte       // body bytes that came with the head, as they go upstream
	out   []byte       // what is written next
	up    []byte       // the answer's head and first body bytes
}

const (
	inSize = 8 << 10
	upSize = 16 << 10
	// keepCap is the most that a buffer may have grown to and still be kept.
	keepCap = 32 << 10
)

var workspaces = sync.Pool{New: func() any {
	return &workspace{
		in: make([]byte, inSize), first: make([]byte, 0, inSize),
		out: make([]byte, 0, inSize+upSize), up: make([]byte, upSize),
	}
}}

// lighten drops what is not needed any more once an answer's head was written
// and only a tunnel follows, which may last: all but the request.
func (ws *workspace) lighten() { *ws = workspace{in: ws.in, req: ws.req} }

// bulk buffers carry bodies that do not come with their head.
const bulkSize = 64 << 10

var bulks = sync.Pool{New: func() any { return new([bulkSize]byte) }}

// loan is a bulk buffer that is held only while bytes are there.
type loan struct {
	buf      *[bulkSize]byte
	from, to int // the part to read into
}

func (l *loan) lend() []byte {
	if l.buf == nil {
		l.buf = bulks.Get().(*[bulkSize]byte)
	}
	return l.buf[l.from:l.to]
}

func (l *loan) giveBack() {
	if l.buf != nil {
		bulks.Put(l.buf)
		l.buf = nil
	}
}

// Errors of reading a request head besides ParseError.
var (
	errIdle  = errors.New("http1: connection idle")
	errDrain = errors.New("http1: server stops")
	errNap   = errors.New("http1: connection naps")
)

// errHeadTimeout is a head that began and did not end in time.
var errHeadTimeout = &ParseError{Status: 408, Reason: "the head took too long"}

// Request is the head of the request being served. It and all its strings are
// valid until the handler returns.
func (c *Conn) Request() *RequestHead { return &c.ws.req }

// Response is the head of the upstream's answer, after RoundTrip.
func (c *Conn) Response() *ResponseHead { return &c.ws.resp }

// Scratch is an empty buffer for building heads; give the grown one back by
// passing it to RoundTrip, Relay or Answer.
func (c *Conn) Scratch() []byte { return c.ws.out[:0] }

// RemoteAddr is the address of the socket's peer, or what a trusted proxy said it is.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.peer.Remote }

// LocalAddr is the address the client connected to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.peer.Local }

// Close makes this request the last one of the connection.
func (c *Conn) Close() { c.closing = true }

// Closing reports whether the connection ends after this answer, which must
// then say so.
func (c *Conn) Closing() bool { return c.closing || c.srv.draining.Load() }

// lend gives the connection its memory when the first bytes of a request are there.
func (c *Conn) lend() []byte {
	if c.ws == nil {
		c.ws = workspaces.Get().(*workspace)
		c.r, c.w = 0, 0
	}
	return c.ws.in
}

// giveBack returns the memory; nothing of it may be in use.
func (c *Conn) giveBack() {
	ws := c.ws
	if ws == nil {
		return
	}
	c.ws, c.r, c.w = nil, 0, 0
	if ws.up == nil {
		return // it was lightened
	}
	if len(ws.in) > keepCap {
		ws.in = make([]byte, inSize)
	}
	if cap(ws.out) > 2*keepCap {
		ws.out = make([]byte, 0, inSize+upSize)
	}
	if cap(ws.first) > keepCap {
		ws.first = make([]byte, 0, inSize)
	}
	if len(ws.up) > keepCap {
		ws.up = make([]byte, upSize)
	}
	workspaces.Put(ws)
}

// maxBlank is how many bytes of empty lines may come before a request.
const maxBlank = 4

// readHead waits for the next request and parses its head.
func (c *Conn) readHead() error {
	lim := c.srv.limits.Load()
	if c.r < c.w { // pipelined: bytes of this request came with the last one
		c.w = copy(c.ws.in, c.ws.in[c.r:c.w])
		c.r = 0
	}
	scanned, blank, began := 0, 0, int64(0)
	for {
		if c.r == c.w {
			c.giveBack()
			if err := c.awaitFirst(lim); err != nil {
				return err
			}
		}
		if skip := min(SkipEmptyLines(c.ws.in[c.r:c.w]), maxBlank-blank); skip > 0 {
			blank += skip
			c.r += skip
			scanned = 0
			continue
		}
		n, next, err := HeadEnd(c.ws.in[c.r:c.w], scanned)
		if err != nil {
			return err
		}
		if n > lim.MaxHeader || n == 0 && c.w-c.r >= lim.MaxHeader {
			return TooLarge(c.ws.in[c.r:min(c.w, c.r+lim.MaxHeader)])
		}
		if n > 0 {
			return c.parseHead(n)
		}
		scanned = next
		if began == 0 {
			began = monotonic()
		}
		if err := c.readMore(began, lim); err != nil {
			return err
		}
	}
}

// defaultNap is how long a connection is idle before it gives back its stack:
// a busy one never is, and beginning anew costs one that thinks about 2 us.
const defaultNap = 30 * time.Millisecond

// lastLook is how long a server that stops waits for a request that may be on
// its way; firstLook the same on a connection that has not had any yet: its
// client made it for one, and will not expect that it is idle.
const (
	lastLook  = 5 * time.Millisecond
	firstLook = 250 * time.Millisecond
)

// awaitFirst waits, holding nothing, until bytes of a request are there. It
// returns errNap once, for a connection whose stack may have grown.
func (c *Conn) awaitFirst(lim *Limits) error {
	nap := min(cmp.Or(lim.Nap, defaultNap), lim.Idle)
	if c.waited > 0 {
		nap = lim.Idle - c.waited
	}
	c.s.readBy(max(nap, 1))
	c.state.CompareAndSwap(stateActive, stateIdle)
	var err error
	if c.srv.draining.Load() { // Shutdown may have come too early to see the idle state
		c.state.Store(stateStopped)
	} else if c.w, err = c.s.readLent(c); c.w > 0 {
		if !c.state.CompareAndSwap(stateIdle, stateActive) {
			c.s.woken()
		}
		return nil
	}
	if c.state.Load() != stateStopped {
		if c.waited == 0 && nap < lim.Idle && isTimeout(err) && !c.s.halted.Load() {
			c.waited = nap
			return errNap
		}
		return errIdle // closed, timed out: nobody waits for an answer
	}
	c.s.woken()
	if c.served || !c.srv.draining.Load() {
		c.s.readBy(lastLook)
	} else {
		c.s.readBy(firstLook)
	}
	if c.w, _ = c.s.readLent(c); c.w == 0 {
		return errDrain
	}
	return nil
}

// readMore reads more of a head that has begun.
func (c *Conn) readMore(began int64, lim *Limits) error {
	if c.w == len(c.ws.in) {
		c.makeRoom(lim.MaxHeader)
	}
	for {
		rest := lim.Header - time.Duration(monotonic()-began)
		if rest <= 0 {
			return errHeadTimeout
		}
		c.s.readBy(rest)
		n, err := c.s.read(c.ws.in[c.w:])
		switch {
		case err == nil:
			c.w += n
			return nil
		case isTimeout(err) && !c.s.expired():
			c.s.woken() // by a Shutdown that took the connection for idle
		case isTimeout(err):
			return errHeadTimeout
		case err == io.EOF:
			return errIncomplete // it may still listen
		default:
			return errIdle
		}
	}
}

// makeRoom moves the unread bytes to the front of a buffer with room behind
// them. Strings into the old one stay valid: it is copied, not reused, where
// it is too small.
func (c *Conn) makeRoom(limit int) {
	in := c.ws.in
	if c.w-c.r >= len(in)/2 {
		in = make([]byte, min(2*len(in), max(limit+1, 2*(c.w-c.r))))
	}
	c.w = copy(in, c.ws.in[c.r:c.w])
	c.r = 0
	c.ws.in = in
}

func (c *Conn) parseHead(n int) error {
	req := &c.ws.req
	req.LimitFields(c.srv.limits.Load().MaxFields)
	if err := req.Parse(c.ws.in[c.r : c.r+n]); err != nil {
		return err
	}
	c.r += n
	c.closing = req.Close
	c.trip.failure.Store(nil)
	c.trip.spoke.Store(false)
	c.ws.dec.Reset()
	c.body.begin(req)
	return nil
}

// Answer writes a whole answer that was not received from an upstream, head
// and body, built in the scratch buffer.
func (c *Conn) Answer(p []byte) error {
	c.ws.out = p
	return c.write(p)
}

// AnswerMore writes more of an answer than Answer wrote.
func (c *Conn) AnswerMore(p []byte) error { return c.write(p) }

// WriteInterim writes a 1xx answer.
func (c *Conn) WriteInterim(p []byte) error { return c.write(p) }

// Crash ends the exchange of a handler that failed midway, and the connection,
// by RST: what was sent of an answer must not look complete.
func (c *Conn) Crash() {
	if c.trip.u != nil {
		c.trip.leave(false)
	}
	c.closing, c.reset = true, true
}

// abort ends a connection in whose service something panicked.
func (c *Conn) abort() {
	Abort(c.s.nc)
	c.srv.track(c, false)
	c.srv.forget(c.peer)
}

// Abort ends a connection at once, by RST and, with TLS, without its farewell:
// nothing that was half sent may look whole.
func Abort(nc net.Conn) {
	if over, ok := nc.(interface{ NetConn() net.Conn }); ok { // crypto/tls
		nc = over.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it ends either way
	}
	nc.Close()
}

// Abandon closes the upstream of a RoundTrip whose answer is not relayed.
func (c *Conn) Abandon() { c.trip.leave(false) }

func (c *Conn) write(p []byte) error {
	if c.s.stream != nil && c.s.stream.Full() {
		c.srv.handler.Lasting(c)
	}
	_, err := c.s.write(p, c.srv.limits.Load().Stream)
	if err != nil {
		c.closing = true
		return &writeError{err}
	}
	return nil
}

// writeError is a failure of writing to the client, or of a copy's receiving side.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// finish ends the connection. Unread bytes of a request would make the kernel
// answer with RST, which may destroy the answer before the client read it: so
// the end is announced first, and what still comes is read for a moment.
func (c *Conn) finish(linger bool) {
	c.letGo()
	switch {
	case (c.reset || c.cut.Load()) && c.s.tcp != nil:
		Abort(c.s.nc) // what a client did not read of a cut answer goes as well
	case linger:
		c.linger()
		fallthrough
	default:
		c.s.nc.Close()
	}
	if c.ws != nil {
		c.giveBack()
	}
}

const (
	lingerTime = 2 * time.Second  // without a byte
	lingerMost = 10 * time.Second // in all
)

func (c *Conn) linger() {
	cw, ok := c.s.nc.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	c.s.woken()
	l := loan{to: bulkSize}
	defer l.giveBack()
	for began := monotonic(); time.Duration(monotonic()-began) < lingerMost; {
		c.s.readBy(lingerTime)
		if _, err := c.s.readLent(&l); err != nil {
			return
		}
		l.giveBack()
	}
}

// lingers reports whether the client may be sending while the connection ends.
func (c *Conn) lingers() bool {
	return c.s.stream == nil && (!c.body.done || c.r < c.w || !c.ws.req.Close || c.s.stale())
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
