// Package http2 is HTTP/2 on the wire (RFC 9113): the server side of client
// connections, and the client side towards instances.
//
// Every stream is a net.Conn that speaks the text of HTTP/1.1 and is served by
// proxy/http1: so there is one path, and one set of rules, for all versions of
// HTTP. What the text cannot carry safely (a name or value with a line end, a
// length that the data does not keep) ends the stream before it is text.
//
// A connection has one goroutine that reads frames, and one for each stream
// under way. Whoever has something to write appends frames to the connection's
// buffer, and the first one to do so writes it out.
package http2

import (
	"net"
	"sync/atomic"

	"lictor/internal/guarded"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// Server serves HTTP/2 connections, their streams by an [http1.Server].
type Server struct {
	h1       *http1.Server
	conns    guarded.Set[*conn]
	draining atomic.Bool
	uploads  atomic.Int64 // bytes that wait for their backends, of all connections
}

var _ http1.HTTP2 = (*Server)(nil)

// NewServer returns a server that has h1 serve the streams.
func NewServer(h1 *http1.Server) *Server { return &Server{h1: h1} }

// ServeConn serves nc until it ends, and then calls over. It returns before where
// the connection is quiet for a while. early is what was read of it already.
func (s *Server) ServeConn(nc net.Conn, p *http1.Peer, early []byte, over func()) {
	c := newConn(s, nc, p, early)
	c.over = over
	s.conns.Add(c)
	if s.draining.Load() { // Drain may have come before it was among them
		c.drain()
	}
	c.serve()
}

// Drain tells every client to open no further stream here, and ends each
// connection after the streams it has. It does not wait for that.
func (s *Server) Drain() {
	s.draining.Store(true)
	for _, c := range s.conns.All() {
		c.drain()
	}
}

// SampleIdle implements [http1.HTTP2].
func (s *Server) SampleIdle(n int, f func(p *http1.Peer, end func())) {
	s.conns.Sample(n, func(c *conn) {
		if c.idle() {
			f(c.peer, c.endIfIdle)
		}
	})
}

// Cut ends every connection at once.
func (s *Server) Cut() {
	for _, c := range s.conns.All() {
		socket.Abort(c.nc)
	}
}
