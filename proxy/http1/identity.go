package http1

import (
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"time"

	"lictor/proxy/socket"
)

// identity is what a client showed for itself in its handshake. It is verified
// again when it may not hold any more: the authorities changed, or time passed.
type identity struct {
	nc     net.Conn
	remote netip.AddrPort
	chain  []*x509.Certificate
	verify func([]*x509.Certificate) (time.Time, error) // by the authorities of its listener

	mu    sync.Mutex
	era   uint64    // of the authorities that it was verified by
	until time.Time // when it is to be verified again
	err   error     // of that
}

// verify returns why an identity does not hold any more, nil if it does.
func (s *Server) verify(id *identity) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if era := s.era.Load(); id.err == nil && (id.era != era || !time.Now().Before(id.until)) {
		id.era = era
		id.until, id.err = id.verify(id.chain)
	}
	return id.err
}

// AuthoritiesChanged has the certificates of all clients verified again.
func (s *Server) AuthoritiesChanged() { s.era.Add(1) }

// Unverified is a connection whose client's certificate does not hold any more.
type Unverified struct {
	Client netip.AddrPort
	Err    error
}

// CutUnverified cuts those, with all that is under way on them.
func (s *Server) CutUnverified() (cut []Unverified) {
	for _, id := range s.identities.All() {
		if err := s.verify(id); err != nil {
			socket.Abort(id.nc)
			s.identities.Remove(id)
			cut = append(cut, Unverified{id.remote, err})
		}
	}
	return cut
}

// holds reports whether the identity of the connection still holds, if it has
// one. If not, the connection ends.
func (c *Conn) holds() bool {
	id := c.peer.identity
	if id == nil || c.srv.verify(id) == nil {
		return true
	}
	c.closing, c.reset = true, true
	socket.Abort(id.nc)
	return false
}
