package http1

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Entrance is what happens to the connections of one listener before a request is
// read from them. The zero Entrance lets plain HTTP/1.x in. It is not to be changed
// once it is served, nor copied.
type Entrance struct {
	// Listener tells the handler which of its listeners a connection came by, see
	// [Conn.Listener].
	Listener int
	// Introduce reads what a proxy in front says about the client, byte for
	// byte: nothing behind it may be read. Invalid addresses leave those of the
	// socket. nil: nobody is in front.
	Introduce func(nc net.Conn) (remote, local netip.AddrPort, err error)
	// TLS is spoken if it is set. It says which protocols may be agreed on.
	TLS *tls.Config
	// Verify verifies the certificates of a client again, and says until when
	// they are good. nil: they are verified once, in the handshake.
	Verify func(chain []*x509.Certificate) (until time.Time, err error)
	// Vouches says which names in a client's certificate count. nil: all do.
	Vouches func(name string) bool
	// Exempt says whose connections and streams are not counted as one client's.
	// nil: all are.
	Exempt func(netip.Addr) bool

	open atomic.Int64 // connections that were let in
}

// Open is the number of open connections that came by this entrance.
func (e *Entrance) Open() int64 { return e.open.Load() }

// HTTP2 serves connections that carry many requests at once. It hands each of
// them to [Server.ServeStream].
type HTTP2 interface {
	// ServeConn serves nc until it ends, and then calls over. It may return before,
	// and go on by [Server.Later]. Bytes that were read from nc already are in early.
	ServeConn(nc net.Conn, p *Peer, early []byte, over func())
	// Drain has every connection take no further request and end after those it has.
	Drain()
	// Cut ends every connection at once.
	Cut()
	// SampleIdle looks at n connections, or as many as there are, and calls f for
	// those that wait for a request. end ends one, unless a request came meanwhile;
	// it is not to be called by f, which does not block.
	SampleIdle(n int, f func(p *Peer, end func()))
}

// Peer says who is at the other end of a connection, and how it is secured.
type Peer struct {
	Remote netip.AddrPort
	Local  netip.AddrPort
	TLS    bool
	// Names are those of the client's certificate, if it showed one that was
	// verified: URIs, names in DNS, and the common name, as far as the entrance lets
	// them count.
	Names []string

	entrance *Entrance // that the connection came by
	client   *client   // what it counts as, nil if it is exempt
	identity *identity // that its certificate gives it, nil if there is none
}

// SetHTTP2 has h serve the connections that turn out to speak HTTP/2, whichever
// entrance they came by; without it none may. It is to be called before Serve.
func (s *Server) SetHTTP2(h HTTP2) { s.http2 = h }

// Limits returns the limits in force.
func (s *Server) Limits() *Limits { return s.limits.Load() }

// Draining reports whether the server is about to stop.
func (s *Server) Draining() bool { return s.draining.Load() }

// lastEntry is how long a connection may take to get in while the server stops.
const lastEntry = time.Second

// hurry gives the connections that are not let in yet a moment: they may have a
// request on its way.
func (s *Server) hurry() {
	s.entering.Each(func(nc net.Conn) { nc.SetDeadline(time.Now().Add(lastEntry)) })
}

// enter does what the entrance asks for, all of it within the time that a head
// may take, and returns the connection to read requests from. It is nil if the
// connection was not let in.
func (s *Server) enter(nc net.Conn, p *Peer) net.Conn {
	e := p.entrance
	if e.Introduce == nil && e.TLS == nil {
		return nc
	}
	raw := nc
	s.entering.Add(raw)
	defer s.entering.Remove(raw)
	nc.SetDeadline(time.Now().Add(s.limits.Load().Header))
	if s.draining.Load() { // Shutdown may have come before it was among them
		nc.SetDeadline(time.Now().Add(lastEntry))
	}
	if e.Introduce != nil {
		remote, local, err := e.Introduce(nc)
		if err != nil {
			nc.Close()
			return nil
		}
		if remote.IsValid() && local.IsValid() {
			p.Remote, p.Local = remote, local
		}
		if !s.welcome(p) {
			socket.Abort(nc)
			return nil
		}
	}
	if e.TLS != nil {
		tc := tls.Server(socket.Ground(nc), e.TLS)
		if err := tc.Handshake(); err != nil {
			s.refusePlain(err, p)
			nc.Close()
			return nil
		}
		nc = tc
		state := tc.ConnectionState()
		if state.NegotiatedProtocol == challengeProtocol {
			nc.Close() // it showed its certificate, asked for none, and is there for nothing else
			return nil
		}
		p.secured(state)
		if e.Vouches != nil {
			p.Names = slices.DeleteFunc(p.Names, func(name string) bool { return !e.Vouches(name) })
		}
		if e.Verify != nil && len(state.VerifiedChains) > 0 {
			p.identity = &identity{nc: nc, remote: p.Remote, chain: state.PeerCertificates, verify: e.Verify}
			s.identities.Add(p.identity) // to be verified again at its first request: the authorities may have changed meanwhile
		}
	}
	s.entering.Remove(raw) // first, or else hurry might set the deadline again
	nc.SetDeadline(time.Time{})
	return nc
}

// challengeProtocol is that of TLS-ALPN-01 (RFC 8737 3): no data follows the
// handshake.
const challengeProtocol = "acme-tls/1"

func (p *Peer) secured(state tls.ConnectionState) {
	p.TLS = true
	if len(state.VerifiedChains) == 0 {
		return
	}
	cert := state.PeerCertificates[0]
	for _, u := range cert.URIs {
		p.Names = append(p.Names, u.String())
	}
	p.Names = append(p.Names, cert.DNSNames...)
	// The common name is what the applicant wrote; where there are alternative
	// names, of whatever kind, those are what the CA vouches for (RFC 9525).
	if cert.Subject.CommonName != "" && !hasAlternativeNames(cert) {
		p.Names = append(p.Names, cert.Subject.CommonName)
	}
}

func hasAlternativeNames(cert *x509.Certificate) bool {
	return slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(subjectAltName) })
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// errPlain is a request in plain text where TLS is expected.
var errPlain = &message.ParseError{Status: 400, Reason: "This port speaks TLS, and the request came as plain HTTP"}

// refusePlain answers a plain HTTP request on a port that speaks TLS, as any
// other that cannot be read.
func (s *Server) refusePlain(err error, p *Peer) {
	record, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || record.Conn == nil || !bytes.ContainsAny(record.RecordHeader[:1], "GHPDCOT") {
		return
	}
	c := &Conn{srv: s, peer: p}
	c.s.Init(socket.Lowest(record.Conn))
	c.refuse(errPlain)
	c.finish(true)
}

// speaksHTTP2 reports whether the client chose HTTP/2 in the handshake.
func speaksHTTP2(nc net.Conn) bool {
	tc, ok := nc.(*tls.Conn)
	return ok && tc.ConnectionState().NegotiatedProtocol == "h2"
}
