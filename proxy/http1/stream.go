package http1

import (
	"errors"
	"time"

	"lictor/internal/crash"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// ServeStream serves the one request of st. All streams of a connection share p.
func (s *Server) ServeStream(st socket.Stream, p *Peer) {
	defer crash.Contain("http2 stream", nil)
	c := &Conn{srv: s, peer: p}
	c.s.Init(st)
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
	c.s.Conn.SetDeadline(time.Time{})
	c.srv.http2.ServeConn(socket.Ground(c.s.Conn), c.peer, early, func() { c.end(false) })
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
	case c.s.Stream != nil:
		return "2.0"
	case c.ws.req.Minor == 0:
		return "1.0"
	}
	return "1.1"
}
