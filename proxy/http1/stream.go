package http1

import (
	"errors"
	"net"
	"time"

	"lictor/internal/crash"
	"lictor/proxy/http1/message"
)

// Stream is a net.Conn that is one request's part of a connection which
// carries many. What is read from it is the text of an HTTP/1.1 request, what
// is written to it that of the answer, each in one piece up to the end of its
// head; so one path applies the rules to every version of HTTP.
type Stream interface {
	net.Conn
	// WaitGone waits until the peer gave the stream up or the read deadline
	// passes, and reports whether the peer is gone.
	WaitGone() bool
	// Gone reports, without waiting, whether the peer gave the stream up.
	Gone() bool
	// Full reports whether a write would wait for the peer now.
	Full() bool
	// Abort ends the stream at once, whatever the peer and those who read or
	// write it are doing. Any goroutine may call it while the stream is served.
	Abort()
}

// ServeStream serves the one request of st. All streams of a connection share p.
func (s *Server) ServeStream(st Stream, p *Peer) {
	defer crash.Contain("http2 stream", nil)
	c := &Conn{srv: s, peer: p}
	c.s.init(st)
	s.track(c, true)
	s.counts(p, -1) // a stream is no connection
	defer func() { s.track(c, false); s.counts(p, 1) }()
	defer c.finish(false)
	if err := c.readHead(); err != nil {
		if bad, ok := errors.AsType[*message.ParseError](err); ok {
			c.refuse(bad)
		}
		return
	}
	c.closing = true
	served := c.handle()
	_ = c.carryOn() // a stream never moves
	if served {
		c.done()
	}
}

// becomeHTTP2 hands a connection over for good that began with the preface of HTTP/2.
func (c *Conn) becomeHTTP2() {
	early := append([]byte(nil), c.ws.in[c.r:c.w]...)
	c.giveBack()
	c.s.nc.SetDeadline(time.Time{})
	c.srv.http2.ServeConn(under(c.s.nc), c.peer, early, func() { c.end(false) })
}

// Secure reports whether the client came by TLS.
func (c *Conn) Secure() bool { return c.peer.TLS }

// Listener is the number of the entrance that the connection came by, as
// [Entrance] has it.
func (c *Conn) Listener() int {
	if c.peer.entrance == nil {
		return 0
	}
	return c.peer.entrance.Listener
}

// Names are those of the client's verified certificate.
func (c *Conn) Names() []string { return c.peer.Names }

// Version is the version of HTTP that the client speaks.
func (c *Conn) Version() string {
	switch {
	case c.s.stream != nil:
		return "2.0"
	case c.ws.req.Minor == 0:
		return "1.0"
	}
	return "1.1"
}

// readOver is readLent where bytes do not come straight from a socket. With
// TLS nobody outside crypto/tls knows whether bytes are there: so one is
// waited for, and the rest of its record is read without waiting.
func (s *sock) readOver(l lender) (int, error) {
	if s.stream != nil {
		n, err := s.nc.Read(l.lend())
		if n == 0 {
			l.giveBack()
		}
		return n, err
	}
	n, err := s.nc.Read(s.one[:])
	if n == 0 {
		return 0, err
	}
	p := l.lend()
	p[0] = s.one[0]
	if len(p) == 1 {
		return 1, nil
	}
	s.nc.SetReadDeadline(past)
	more, _ := s.nc.Read(p[1:]) // an error that stays comes again with the next read
	s.woken()
	return 1 + more, nil
}
