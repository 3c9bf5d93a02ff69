// Package mesh is lictor's part in Consul's service mesh: the certificate that it
// shows, whom it takes for whom, and what Consul's intentions say of it.
//
// A [Mesh] follows the certificate of its service and the authorities of the mesh
// as the agent hands them out. A handshake takes what is there at its time, so
// that neither a new certificate nor a new authority costs a request. The last
// good ones are kept in a file, for a start while Consul is away.
//
// A peer is who its certificate says, and nobody else: the chain ends in one of
// the authorities, and its one URI is the id of the service that was asked for,
// in this mesh's trust domain (see [Mesh.TLS]). Names of hosts mean nothing here.
package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
)

// Config is what a Mesh is made of. All but Contact and File is required.
type Config struct {
	Client  *client.Client  // three of its connections wait for changes, a fourth one asks about intentions
	Contact *client.Contact // of others that ask the same Consul: whoever hears it wakes the mesh; nil = nobody does
	Service string          // whose certificate lictor shows, and whom intentions name as the source
	File    string          // where the last good certificate and authorities are kept; "" = nowhere
	Log     hclog.Logger
}

// Mesh is what lictor is in the mesh. [New] makes it; its methods may be called
// at any time from any goroutine, and but for Run and Allowed none blocks.
type Mesh struct {
	cfg        Config
	cur        atomic.Pointer[credentials] // never nil
	save       chan struct{}               // tells that what is kept is out of date
	intentions intentions

	mu       sync.Mutex // guards what follows
	onChange func()
	contact  time.Time // when Consul answered last
	kept     bool      // the certificate comes from the file
	leafErr  string    // why it cannot be followed, "" while it can
	rootsErr string    // the same of the authorities
	said     []byte    // hash of the intentions that speak of lictor; nil = not known

	intentionsErr string         // as leafErr
	told          client.Trouble // as it was logged
}

// credentials are what a handshake takes. Immutable.
type credentials struct {
	leaf  *leaf  // nil: none yet
	roots *roots // nil: none yet
}

// ErrNoCertificate is what a handshake fails with for want of something that is
// lictor's own: it says nothing of the peer.
var ErrNoCertificate = errors.New("lictor has no certificate of the mesh")

// New checks cfg. Nothing is asked or read before Run.
func New(cfg Config) (*Mesh, error) {
	if cfg.Client == nil || cfg.Service == "" || cfg.Log == nil {
		return nil, errors.New("mesh: Client, Service and Log are required")
	}
	m := &Mesh{cfg: cfg, save: make(chan struct{}, 1)}
	m.cur.Store(&credentials{})
	m.intentions.init()
	return m, nil
}

// OnChange has f called when connections that were made before should serve no
// further request: lictor has another certificate, an authority is trusted no more,
// or intentions changed that speak of lictor. To be called before Run; f must not
// block.
func (m *Mesh) OnChange(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onChange = f
}

// Run follows the certificate and the authorities until ctx ends, and returns
// when everything that it started has ended. Consul being away is no reason to
// return.
func (m *Mesh) Run(ctx context.Context) error {
	m.load()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { m.keep(ctx) })
	parts.Go(func() { m.follow(ctx, m.askLeaf) })
	parts.Go(func() { m.follow(ctx, m.askIntentions) })
	m.follow(ctx, m.askRoots)
	return nil
}

// replaceLeaf and replaceRoots put in force what Consul answered.
func (m *Mesh) replaceLeaf(next *leaf) {
	m.replace(&m.leafErr, func(c *credentials) (changed, stale bool) {
		m.kept = false
		changed = c.leaf == nil || !c.leaf.equal(next)
		stale = changed && c.leaf != nil
		c.leaf = next
		return changed, stale
	})
}

func (m *Mesh) replaceRoots(next *roots) {
	m.replace(&m.rootsErr, func(c *credentials) (changed, stale bool) {
		changed = c.roots == nil || !c.roots.equal(next)
		stale = changed && c.roots != nil && !next.trusts(c.roots)
		c.roots = next
		return changed, stale
	})
}

// replaceIntentions reports whether they are others than before.
func (m *Mesh) replaceIntentions(sum []byte) (changed bool) {
	m.replace(&m.intentionsErr, func(*credentials) (bool, bool) {
		changed = m.said != nil && !bytes.Equal(m.said, sum)
		m.said = sum
		return false, false
	})
	return changed
}

// replace has change make the next credentials, and notes that Consul answered.
// What changed is kept on disk; what makes connections stale is told.
func (m *Mesh) replace(was *string, change func(*credentials) (changed, stale bool)) {
	m.mu.Lock()
	next := *m.cur.Load()
	changed, stale := change(&next)
	if changed {
		m.cur.Store(&next)
	}
	m.contact, *was = time.Now(), ""
	if m.told != client.None && m.leafErr+m.rootsErr+m.intentionsErr == "" {
		m.told = client.None
		m.cfg.Log.Info("the mesh can be followed again", "service", m.cfg.Service)
	}
	m.mu.Unlock()
	if changed {
		select {
		case m.save <- struct{}{}:
		default:
		}
	}
	if stale {
		m.renew()
	}
}

// renew has connections that were made before serve no further request.
func (m *Mesh) renew() {
	m.mu.Lock()
	onChange := m.onChange
	m.mu.Unlock()
	if onChange != nil {
		onChange()
	}
}

// failed notes why one of the two could not be read; what is known stays.
func (m *Mesh) failed(was *string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*was = err.Error()
	kind := client.TroubleOf(client.Meta{}, err)
	if kind == m.told {
		return
	}
	m.told = kind
	if kind == client.Denied {
		m.cfg.Log.Error("consul refuses lictor its certificate of the mesh", "service", m.cfg.Service, "error", err)
		return
	}
	m.cfg.Log.Warn("cannot follow the mesh, keeping the last certificate and authorities", "service", m.cfg.Service, "error", err)
}

// Status is how lictor stands in the mesh.
type Status struct {
	ID          string    // of lictor, "spiffe://..."; "" = it has no certificate
	TrustDomain string    // of the mesh; "" = its authorities are not known
	NotAfter    time.Time // of the certificate; zero = there is none
	Authorities int       // that are trusted
	Contact     time.Time // last good answer of Consul; zero = none since the start
	Kept        bool      // the certificate comes from the file, Consul has not given one yet
	Problems    []string  // what an operator should look at
}

// Status describes the mesh for people.
func (m *Mesh) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cur.Load()
	s := Status{Contact: m.contact, Kept: m.kept}
	if c.leaf != nil {
		s.ID, s.NotAfter = c.leaf.id(), c.leaf.notAfter()
	}
	if c.roots != nil {
		s.TrustDomain, s.Authorities = c.roots.trustDomain, len(c.roots.certs)
	}
	if err := c.usable(time.Now()); err != nil {
		s.Problems = append(s.Problems, err.Error())
	}
	for _, text := range []string{m.leafErr, m.rootsErr, m.intentionsErr} {
		if text != "" {
			s.Problems = append(s.Problems, text)
		}
	}
	return s
}

// Ready is an error while there is nothing that a handshake could be made with.
func (m *Mesh) Ready() error {
	if c := m.cur.Load(); c.leaf == nil || c.roots == nil {
		return ErrNoCertificate
	}
	return nil
}

// usable says why no handshake can be made, nil if one can.
func (c *credentials) usable(now time.Time) error {
	switch {
	case c.leaf == nil, c.roots == nil:
		return ErrNoCertificate
	case now.After(c.leaf.notAfter()):
		return fmt.Errorf("%w that holds: it ran out at %s", ErrNoCertificate, c.leaf.notAfter().UTC().Format(time.RFC3339))
	}
	return nil
}

// certificate is what lictor shows to a peer.
func (m *Mesh) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c := m.cur.Load()
	if err := c.usable(time.Now()); err != nil {
		return nil, err
	}
	return &c.leaf.cert, nil
}
