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
	"sync"

	"lictor/proxy/http1"
)

// Server serves HTTP/2 connections, their streams by an [http1.Server].
type Server struct {
	h1 *http1.Server

	mu       sync.Mutex // guards conns and draining
	conns    map[*conn]struct{}
	draining bool
}

var _ http1.HTTP2 = (*Server)(nil)

// NewServer returns a server that has h1 serve the streams.
func NewServer(h1 *http1.Server) *Server {
	return &Server{h1: h1, conns: make(map[*conn]struct{})}
}

// ServeConn serves nc until it ends. early is what was read of it already.
func (s *Server) ServeConn(nc net.Conn, p *http1.Peer, early []byte) {
	c := newConn(s, nc, p, early)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	draining := s.draining
	s.mu.Unlock()
	if draining {
		c.drain()
	}
	c.serve()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Drain tells every client to open no further stream here, and ends each
// connection after the streams it has.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.each((*conn).drain)
}

// Cut ends every connection at once.
func (s *Server) Cut() {
	s.each(func(c *conn) { c.nc.Close() })
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
