package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"lictor/admin/api"
	"lictor/internal/consul/mesh"
	"lictor/internal/monotonic"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// Mesh is how instances in Consul's mesh are spoken to: see [mesh.Mesh].
type Mesh interface {
	TLS(identity string) *tls.Config
	Allowed(ctx context.Context, service string) (bool, error)
}

// noMesh is the Mesh of who has none: no handshake comes about.
type noMesh struct{}

// TLS implements Mesh.
func (noMesh) TLS(string) *tls.Config {
	return &tls.Config{ServerName: "mesh.invalid", MinVersion: tls.VersionTLS12, VerifyConnection: func(tls.ConnectionState) error { return mesh.ErrNoCertificate }}
}

// Allowed implements Mesh.
func (noMesh) Allowed(context.Context, string) (bool, error) { return false, mesh.ErrNoCertificate }

// RenewMesh has connections to instances in the mesh that were made before serve
// no further request. Requests under way go on, and so do upgraded connections.
func (s *Sender) RenewMesh() {
	for _, g := range *s.groups.Load() {
		for site := range g.sites() {
			site.renewMesh()
		}
	}
}

func (g *group) renewMesh() {
	r := g.current.Load()
	if r == nil {
		return
	}
	for _, m := range r.members {
		if m.inst.Mesh != "" {
			m.pool.Renew()
			m.h2.renew()
		}
	}
}

// An instance in the mesh that may not be called ends a new connection without a
// word of an answer; by TLS 1.3 only after the handshake, for lictor's certificate
// comes last. An instance that does not work looks the same. So Consul is asked,
// and what it says holds for all requests of a moment: no client can have lictor
// make connections or ask Consul more often than that.

// barred refuses a request to a member in the mesh that was found to be forbidden a
// moment ago.
func (q *Request) barred(m *member) bool {
	if m.inst.Mesh == "" {
		return false
	}
	until := q.group.forbidden.Load()
	if until == 0 || until < monotonic.Now() {
		return false
	}
	q.refuse(refuseIntention)
	return true
}

// forbidden finds out whether a new connection to m ended because Consul's
// intentions forbid it, and refuses the request if so. Connections that are kept
// from before are given up with it.
func (q *Request) forbidden(m *member, err error) bool {
	if m.inst.Mesh == "" || !mayBeIntention(err) {
		return false
	}
	allowed, unknown := q.s.mesh.Allowed(context.Background(), q.group.name)
	if allowed || unknown != nil {
		return false
	}
	q.group.forbidden.Store(monotonic.Now() + int64(mesh.Remembered))
	q.group.renewMesh()
	q.out.Err = err
	q.refuse(refuseIntention)
	return true
}

// cutOff reports whether an exchange on a new connection ended as one does that
// intentions forbid.
func cutOff(f *http1.Failure, reused bool) bool {
	return !reused && f.Mute && (f.Kind == http1.Stale || f.Kind == http1.Broken)
}

// mayBeIntention reports whether a connection failed by what its peer did once it
// was connected to.
func mayBeIntention(err error) bool {
	if _, untrusted := errors.AsType[*mesh.PeerError](err); untrusted || ourWant(err) || isTimeout(err) || errors.Is(err, socket.ErrBusy) {
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	return !(ok && op.Op == "dial")
}

// intention says what Consul's intentions say of a service with instances in the
// mesh, in a preview.
func (q *Request) intention(r *roster, d *api.DispatchFact) {
	if len(r.members) == 0 || r.members[0].inst.Mesh == "" {
		return
	}
	switch allowed, err := q.s.mesh.Allowed(context.Background(), q.group.name); {
	case err != nil:
		d.Intention = "unknown: " + err.Error()
	case allowed:
		d.Intention = "allowed"
	default:
		d.Intention = "denied"
		q.refuse(refuseIntention)
	}
}
