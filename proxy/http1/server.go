// Package http1 is HTTP/1.x on the wire: the server side of client connections, the
// upstream side with its pool of kept-alive connections, and the relay between the
// two. What is said there is read and written by package message.
//
// Every string of a head points into the buffer it was read into and is valid until
// the handler returns. A connection holds buffers only while a request is active on it.
package http1

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/internal/guarded"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Handler serves requests. All methods but KeepTrailer are called in the
// connection's own goroutine.
type Handler interface {
	// Serve serves one request. When it returns the request was answered, or the
	// last thing that it did was to call [Conn.Relay] or [Conn.Tunnel].
	Serve(c *Conn)
	// Done is called behind each Serve, even if that panicked, once the exchange is
	// over. The request's head is valid until it returns.
	Done(c *Conn)
	// Refuse answers a request whose head could not be read; the connection ends after it.
	Refuse(c *Conn, err *message.ParseError)
	// Lasting is called, before Done, when the exchange turns out to take long: the
	// upstream is slow, or a body or a tunnel did not pass at once. It may be called
	// more than once.
	Lasting(c *Conn)
	// KeepTrailer reports whether a trailer may pass, to the upstream or to
	// the client. It may be called from another goroutine, until Done is.
	KeepTrailer(c *Conn, f *message.Field, upstream bool) bool
}

// Limits bound a connection. All but Nap and Lull are required.
type Limits struct {
	Nap       time.Duration // without a request, after which a connection gives back its grown stack; 0: 30 ms
	Lull      time.Duration // without a byte, after which a connection that lasts gives back what it does not need meanwhile; 0: 3 s
	Idle      time.Duration // between requests
	Header    time.Duration // from the first byte of a head to its last
	Stream    time.Duration // without a byte either way on a body or tunnel
	Begin     time.Duration // to the first byte of a body, while there is no answer either; 0: as Stream
	MaxHeader int           // bytes of a request head
	MaxFields int           // of a request head; 0: message.MaxFields
	Admission Admission
}

// Quiet is Lull, or what it is by default.
func (l *Limits) Quiet() time.Duration { return cmp.Or(l.Lull, 3*time.Second) }

// Server accepts HTTP/1.x connections, each served by one goroutine while it is at work.
type Server struct {
	handler  Handler
	limits   atomic.Pointer[Limits]
	draining atomic.Bool
	http2    HTTP2                 // nil: nobody may speak it
	entering guarded.Set[net.Conn] // not let in yet

	wg    sync.WaitGroup
	mu    sync.Mutex // guards conns
	conns map[*Conn]struct{}

	open     atomic.Int64
	accepted atomic.Int64 // connections, from when they are accepted
	clients  clients

	identities guarded.Set[*identity]
	era        atomic.Uint64 // of the authorities that clients are verified by
}

// NewServer returns a server that hands requests to h.
func NewServer(h Handler, l Limits) *Server {
	s := &Server{handler: h, conns: make(map[*Conn]struct{})}
	s.limits.Store(&l)
	return s
}

// SetLimits replaces the limits, for connections that are open as well.
func (s *Server) SetLimits(l Limits) { s.limits.Store(&l) }

// Open is the number of open connections.
func (s *Server) Open() int64 { return s.open.Load() }

// Serve accepts connections until the listener is closed, and has them come in by
// e. Errors of accept that pass (too many open files) are waited out. It may be
// called for several listeners at once, which share the limits and the end.
func (s *Server) Serve(l net.Listener, e *Entrance) error {
	var delay time.Duration
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			time.Sleep(delay)
			continue
		}
		delay = 0
		peer := &Peer{entrance: e}
		if !s.admits(nc, peer) {
			socket.Abort(nc)
			continue
		}
		s.accepted.Add(1)
		s.wg.Go(func() {
			defer crash.Contain(where, func() { socket.Abort(nc) })
			s.serveConn(nc, peer)
		})
	}
}

// States of a connection, for Shutdown.
const (
	stateActive  = iota // a request is being read or served
	stateIdle           // waiting for one
	stateStopped        // told to end while idle
)

// where is the place of panics that end a connection.
const where = "http1 connection"

func (s *Server) serveConn(nc net.Conn, peer *Peer) {
	if c := s.admit(nc, peer); c != nil {
		c.run()
	}
}

// Later has resume called in a goroutine that Shutdown waits for, once something comes on
// nc, which the server serves at this moment, or its read deadline passes, which is by;
// the zero by is never. Meanwhile there is no goroutine, if that can be, or resume is
// called at once. resume begins with a deferred crash.Contain.
func (s *Server) Later(nc net.Conn, by time.Time, resume func()) {
	if !socket.Park(nc, by, &s.wg, resume) {
		s.wg.Go(resume)
	}
}

// later is Later for a connection that a Socket is made of.
func (s *Server) later(of *socket.Socket, resume func()) {
	if !of.Park(&s.wg, resume) {
		s.wg.Go(resume)
	}
}

// admit returns the connection that nc becomes, nil if others serve it. It is
// a function of its own for its large frame, which shall not lie under an idle
// connection.
//
//go:noinline
func (s *Server) admit(nc net.Conn, peer *Peer) (c *Conn) {
	handed := false
	defer func() {
		if c == nil && !handed {
			s.forget(peer)
		}
	}()
	if nc = s.enter(nc, peer); nc == nil {
		return nil
	}
	if speaksHTTP2(nc) {
		handed = true
		s.counts(peer, 1)
		s.http2.ServeConn(nc, peer, nil, func() {
			s.counts(peer, -1)
			s.forget(peer)
		})
		return nil
	}
	c = &Conn{srv: s, peer: peer}
	c.s.Init(nc)
	s.track(c, true)
	return c
}

// run serves requests until the connection ends, or something is waited for that takes
// its time, the next request or more of an answer: then the goroutine ends, and another
// one goes on.
func (c *Conn) run() {
	defer crash.Contain(where, c.abort)
	linger, err := c.serve()
	switch {
	case err == errNap && c.trip.rest != nothing:
		c.move()
		return
	case err == errNap:
		if c.naps == 1 {
			c.srv.wg.Go(c.run)
		} else {
			c.srv.later(&c.s, c.run)
		}
		return
	case err == error(message.ErrHTTP2Preface) && !c.served && c.srv.http2 != nil:
		c.becomeHTTP2()
		return
	case err != nil:
		if bad, ok := errors.AsType[*message.ParseError](err); ok {
			c.refuse(bad)
			linger = true
		}
	}
	c.end(linger)
}

// end ends the connection and takes it out of the server's.
func (c *Conn) end(linger bool) {
	c.finish(linger)
	c.srv.track(c, false)
	c.srv.forget(c.peer)
}

// serve serves requests. It reports whether the client may still be sending.
func (c *Conn) serve() (linger bool, err error) {
	for {
		if err := c.readHead(); err != nil {
			return false, err
		}
		served := c.handle()
		if err := c.carryOn(); err != nil {
			return false, err
		}
		if linger, over := c.settle(served); over {
			return linger, nil
		}
	}
}

// settle tells the handler that an exchange is over that it served. It reports
// whether the connection is over as well, and if so whether the client may still be
// sending.
func (c *Conn) settle(served bool) (linger, over bool) {
	if served {
		c.done()
	}
	c.waited, c.naps, c.served = 0, 0, true
	if c.reset {
		return false, true
	}
	if c.closing || c.ws.body.err != nil {
		return c.lingers(), true
	}
	return true, c.discard() != nil
}

// handle has the handler serve the request, and reports whether it did. What panics
// there ends the exchange and the connection.
func (c *Conn) handle() (served bool) {
	defer crash.Contain("request", c.Crash)
	if served = c.holds(); served {
		c.srv.handler.Serve(c)
	}
	return served
}

func (c *Conn) refuse(err *message.ParseError) {
	c.closing = true
	c.lend()
	c.ws.req = message.RequestHead{Head: message.Head{Fields: c.ws.req.Fields[:0], Minor: 1, ContentLength: -1}} // not another request's
	c.ws.body = body{done: true}
	defer crash.Contain("request", c.Crash)
	c.srv.handler.Refuse(c, err)
}

func (s *Server) track(c *Conn, add bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if add {
		s.conns[c] = struct{}{}
		s.counts(c.peer, 1)
		return
	}
	delete(s.conns, c)
	s.counts(c.peer, -1)
}

// counts counts connections that were let in, of all listeners and of their own.
func (s *Server) counts(p *Peer, n int64) {
	s.open.Add(n)
	if p.entrance != nil {
		p.entrance.open.Add(n)
	}
}

// Shutdown ends idle connections at once and the others after the request
// they serve. When ctx ends first, what is left is cut. The listener must be
// closed before. It returns when all connections are gone.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.hurry()
	if h := s.http2; h != nil {
		h.Drain()
	}
	s.each((*Conn).endIfIdle)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer crash.Contain("shutdown", nil)
		s.wg.Wait()
		close(done)
	})
	defer wg.Wait()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.cutAll(done)
		return ctx.Err()
	}
}

// ErrDrained is what Shutdown cuts exchanges with that take too long.
var ErrDrained = errors.New("http1: the time to end requests is over")

// cutAll cuts everything until done. Again and again, for a handler may just
// be about to wait for something.
func (s *Server) cutAll(done <-chan struct{}) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		s.each(func(c *Conn) { c.Cut(ErrDrained) })
		for _, nc := range s.entering.All() {
			socket.Abort(nc)
		}
		if h := s.http2; h != nil {
			h.Cut()
		}
		select {
		case <-done:
			return
		case <-again.C:
		}
	}
}

func (s *Server) each(f func(*Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}
