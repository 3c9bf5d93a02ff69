package http1

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Conn is a client's HTTP/1.x connection and the request on it that is being
// served. One goroutine at a time owns it; only [Conn.Cut] may be
// called by others. Between requests it holds no buffer.
type Conn struct {
	srv  *Server
	s    socket.Socket
	peer *Peer // not changed any more

	ws      *workspace // nil while idle
	r, w    int        // bytes read and not yet used: ws.in[r:w]
	trip    trip
	closing bool        // no further request on this connection
	cut     atomic.Bool // by Cut
	reset   bool        // end it by RST, so that a cut answer cannot look complete
	served  bool        // a request
	naps    uint8       // since the last request
	alone   []*Pool     // that may hold a connection which only this one may use

	waited time.Duration // for the next request, before the last nap

	// User is the handler's, for the request being served.
	User any

	state atomic.Uint32 // idle, active, stopped: see Server.Shutdown
}

// workspace is the memory of an active request.
type workspace struct {
	in    []byte // what was read and is not used yet
	small []byte // a copy of the request head, if it fits; else it lies in in. Strings of req point into it
	req   message.RequestHead
	body  body
	resp  message.ResponseHead
	dec   message.ChunkDecoder // of the request body
	updec message.ChunkDecoder // of the response body
	first []byte               // body bytes that came with the head, as they go upstream
	out   []byte               // what is written next
	up    []byte               // the answer's head and first body bytes
	loan  loan                 // of the rest of a body
}

const (
	inSize    = 8 << 10
	smallSize = 1 << 10 // for the heads of nearly all requests
	upSize    = 16 << 10
	upRoom    = 512 // before an answer, for what its head grows by: see join
	// keepCap is the most that a buffer may have grown to and still be kept.
	keepCap = 32 << 10
)

var workspaces = sync.Pool{New: func() any {
	return &workspace{
		in: make([]byte, inSize), small: make([]byte, 0, smallSize), first: make([]byte, 0, inSize),
		out: make([]byte, 0, inSize+upSize), up: make([]byte, upSize),
	}
}}

// bulk buffers carry bodies that do not come with their head.
const bulkSize = 64 << 10

var bulks = sync.Pool{New: func() any { return new([bulkSize]byte) }}

// loan is a bulk buffer that is held only while bytes are there, by whoever reads.
type loan struct {
	buf      *[bulkSize]byte
	from, to int // the part to read into
}

// Lend gives the buffer out.
func (l *loan) Lend() []byte {
	if l.buf == nil {
		l.buf = bulks.Get().(*[bulkSize]byte)
	}
	return l.buf[l.from:l.to]
}

// GiveBack takes it back, if it was given out.
func (l *loan) GiveBack() {
	if l.buf != nil {
		bulks.Put(l.buf)
		l.buf = nil
	}
}

// Request is the head of the request being served. It and all its strings are
// valid until the handler returns.
func (c *Conn) Request() *message.RequestHead { return &c.ws.req }

// Response is the head of the upstream's answer, after RoundTrip and until Relay.
func (c *Conn) Response() *message.ResponseHead { return &c.ws.resp }

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

// lending is a Conn as that which a read for its next request has its buffer from.
type lending Conn

// Lend gives it out.
func (l *lending) Lend() []byte { return (*Conn)(l).lend() }

// GiveBack takes it back.
func (l *lending) GiveBack() { (*Conn)(l).giveBack() }

// giveBack returns the memory; nothing of it may be in use.
func (c *Conn) giveBack() {
	ws := c.ws
	if ws == nil {
		return
	}
	c.ws, c.r, c.w = nil, 0, 0
	if !ws.light() {
		ws.keep()
	}
}

// keep has the memory used again, but for what has grown too much.
func (ws *workspace) keep() {
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
	c.trip.rest, c.trip.err = nothing, errCrashed
	c.closing, c.reset = true, true
}

// abort ends a connection in whose service something panicked.
func (c *Conn) abort() {
	socket.Abort(c.s.Conn)
	c.srv.track(c, false)
	c.srv.forget(c.peer)
}

// Abandon closes the upstream of a RoundTrip whose answer is not relayed.
func (c *Conn) Abandon() { c.trip.leave(false) }

func (c *Conn) write(p []byte) error {
	if c.s.Stream != nil && c.s.Stream.Full() {
		c.srv.handler.Lasting(c)
	}
	_, err := c.s.Write(p, c.srv.limits.Load().Stream)
	if err != nil {
		c.closing = true
		return &socket.WriteError{Err: err}
	}
	return nil
}

// finish ends the connection. Unread bytes of a request would make the kernel
// answer with RST, which may destroy the answer before the client read it: so
// the end is announced first, and what still comes is read for a moment.
func (c *Conn) finish(linger bool) {
	c.letGo()
	switch {
	case (c.reset || c.cut.Load()) && c.s.OnTCP():
		socket.Abort(c.s.Conn) // what a client did not read of a cut answer goes as well
	case linger:
		c.linger()
		fallthrough
	default:
		c.s.Conn.Close()
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
	cw, ok := c.s.Conn.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	c.s.Woken()
	l := loan{to: bulkSize}
	defer l.GiveBack()
	for began := monotonic.Now(); time.Duration(monotonic.Now()-began) < lingerMost; {
		c.s.ReadBy(lingerTime)
		if _, err := c.s.ReadLent(&l); err != nil {
			return
		}
		l.GiveBack()
	}
}

// lingers reports whether the client may be sending while the connection ends.
func (c *Conn) lingers() bool {
	return c.s.Stream == nil && (!c.ws.body.done || c.r < c.w || !c.ws.req.Close || c.s.Stale())
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
