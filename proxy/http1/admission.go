package http1

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"lictor/internal/descriptors"
	"lictor/internal/limits"
	"lictor/proxy/socket"
)

// Admission bounds the connections of clients. 0 is no bound.
type Admission struct {
	Connections          int // in all
	ConnectionsPerClient int // of one address; of IPv6, of a /64, for a host has a whole one
	StreamsPerClient     int // that are served at once, on all connections of HTTP/2 together
}

// clients counts what each client has. Its zero value is ready.
type clients struct {
	mu  sync.Mutex
	all map[netip.Addr]*client
}

// client is what one address has.
type client struct {
	addr        netip.Addr
	connections int // guarded by clients.mu
	streams     atomic.Int64
}

// add counts a connection of addr, unless there are most of them already: then
// it returns nil.
func (c *clients) add(addr netip.Addr, most int) *client {
	addr = network(addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.all[addr]
	switch {
	case one == nil && c.all == nil:
		c.all = make(map[netip.Addr]*client)
		fallthrough
	case one == nil:
		one = &client{addr: addr}
		c.all[addr] = one
	case most > 0 && one.connections >= most:
		return nil
	}
	one.connections++
	return one
}

// count is how many connections a client has, 0 for one that is not counted.
func (c *clients) count(one *client) int {
	if one == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return one.connections
}

func (c *clients) remove(one *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.connections--; one.connections == 0 {
		delete(c.all, one.addr)
	}
}

// network is what an address counts as.
func network(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}

// admits decides on a connection that was just accepted. One that is past a
// bound is closed at once, by RST: who is behind a balancer is sent elsewhere,
// where a place in the queue would only look like one. To make room for the
// next, a connection that waits for a request is ended, if there is one.
//
// What one client may have is looked at before anything is counted: else a burst
// of one that has too many would fill the whole for a moment, and strangers would
// be turned away. Behind a PROXY header nobody knows yet whose connection it is.
func (s *Server) admits(nc net.Conn, p *Peer) bool {
	p.Remote, p.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	most := s.limits.Load().Admission.Connections
	switch {
	case socket.Beyond(descriptors.ForClients(), nc): // it uses one that is kept back
		limits.Hit("descriptors")
	case p.entrance.Introduce == nil && !s.welcome(p):
	case most > 0 && s.accepted.Load() >= int64(most):
		limits.Hit("max_connections")
		s.endIdle()
		if p.client != nil {
			s.clients.remove(p.client)
		}
	default:
		return true
	}
	return false
}

// sampled is how many connections of each version of HTTP are looked at to end one.
const sampled = 64

// endIdle ends a connection that waits for a request, of whatever version of HTTP: of
// some, that whose client has most, so that it is hardly ever one of a calm client's.
func (s *Server) endIdle() {
	end, most, seen := func() {}, -1, 0
	look := func(p *Peer, ends func()) {
		if n := s.clients.count(p.client); n > most {
			end, most = ends, n
		}
	}
	s.mu.Lock()
	for c := range s.conns {
		if seen++; seen > sampled {
			break
		}
		if c.state.Load() == stateIdle {
			look(c.peer, c.endIfIdle)
		}
	}
	s.mu.Unlock()
	if s.http2 != nil {
		s.http2.SampleIdle(sampled, look)
	}
	end()
}

// endIfIdle ends a connection that waits for a request.
func (c *Conn) endIfIdle() {
	if c.state.CompareAndSwap(stateIdle, stateStopped) {
		c.s.Wake()
	}
}

// welcome counts the connection with its client's others, and reports whether
// it may stay. A proxy in front comes with the connections of all its clients.
func (s *Server) welcome(p *Peer) bool {
	if f := p.entrance.Exempt; f != nil && f(p.Remote.Addr()) {
		return true
	}
	p.client = s.clients.add(p.Remote.Addr(), s.limits.Load().Admission.ConnectionsPerClient)
	if p.client == nil {
		limits.Hit("max_connections_per_client")
	}
	return p.client != nil
}

// forget takes a connection that was accepted out of all counts.
func (s *Server) forget(p *Peer) {
	s.accepted.Add(-1)
	if p.identity != nil {
		s.identities.Remove(p.identity)
	}
	if p.client != nil {
		s.clients.remove(p.client)
	}
}

// TakeStream counts a stream with the others of its client. It reports whether
// the client may have it.
func (s *Server) TakeStream(p *Peer) bool {
	if p.client == nil {
		return true
	}
	most := s.limits.Load().Admission.StreamsPerClient
	if n := p.client.streams.Add(1); most > 0 && n > int64(most) {
		p.client.streams.Add(-1)
		limits.Hit("max_streams_per_client")
		return false
	}
	return true
}

// GiveStream takes a stream that ended out of the count.
func (s *Server) GiveStream(p *Peer) {
	if p.client != nil {
		p.client.streams.Add(-1)
	}
}
