// Package acme gets certificates from an authority by ACME (RFC 8555), keeps them
// where all lictors find them, and renews them. Of several lictors that share a
// storage one orders a certificate and all serve it. It is asked for a name in a
// handshake and never waits there, but for challenges.
package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"

	"lictor/internal/crash"
	"lictor/internal/durable"
	"lictor/internal/pace"
)

// Config is what a [Manager] is made of. Directory, Hosts, Storage and Log are
// required.
type Config struct {
	Directory  string                            // URL of the authority's directory
	Email      string                            // that it may write to; "" = none
	CAFile     string                            // whose certificate the directory shows; "" = the system's
	Challenges []string                          // types of challenges that can be answered
	Hosts      func() (hosts []string, left int) // what certificates are wanted for now, and how many hosts are too many
	Storage    certmagic.Storage                 // see [NewKV]
	LastGood   string                            // directory of what was served last, for a start without the storage; "" = none
	Seal       *Seal                             // of LastGood; required with it
	Log        hclog.Logger
}

const (
	lookEvery  = 2 * time.Second  // which hosts there are, and what is due
	readEvery  = 10 * time.Minute // whether another certificate is in the storage
	cleanEvery = 24 * time.Hour
	atOnce     = 4                // hosts that are worked on
	workTime   = 6 * time.Minute  // for one of them, a wait for the lock included
	leastWait  = 10 * time.Second // after a failure, twice as long after each further one
	settle     = 5 * time.Second  // until all lictors know a host, any of which may be asked for its proof
	mostWait   = 10 * time.Minute
)

// Manager has certificates. [New] makes it; any goroutine may use it.
type Manager struct {
	cfg    Config
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *issuer

	shown   atomic.Pointer[map[string]*tls.Certificate] // by host; immutable
	lookups *lookups                                    // for challenges
	slots   chan struct{}                               // who may work on a host
	worker  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	hosts map[string]*host
	left  int // hosts that are too many
}

// host is one that a certificate is wanted for.
type host struct {
	name     string
	seen     time.Time        // first
	cert     *tls.Certificate // nil: there is none yet
	working  bool
	next     time.Time // when to look at it again
	failures int
	err      error // why there is none, or none that is fresh
	since    time.Time
}

// New checks cfg. It asks nobody yet.
func New(cfg Config) (*Manager, error) {
	if cfg.Directory == "" || cfg.Hosts == nil || cfg.Storage == nil || cfg.Log == nil || cfg.LastGood != "" && cfg.Seal == nil {
		return nil, errors.New("acme: Directory, Hosts, Storage and Log are required, and Seal with LastGood")
	}
	m := &Manager{cfg: cfg, hosts: make(map[string]*host), lookups: newLookups(), slots: make(chan struct{}, atOnce)}
	m.shown.Store(&map[string]*tls.Certificate{})
	var err error
	if m.issuer, err = newIssuer(&cfg); err != nil {
		return nil, err
	}
	return m, nil
}

// Run gets and renews certificates until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		Logger:           zap.NewNop(), // what matters of it comes back as an error

		// It holds none, and needs no care. By five times this, certmagic takes it for
		// urgent to renew: short-lived ones would be renewed by each lictor in turn.
		RenewCheckInterval: time.Second,
	})
	defer m.cache.Stop()
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: m.cfg.Storage, Issuers: []certmagic.Issuer{m.issuer}, Logger: zap.NewNop(),
		OCSP: certmagic.OCSPConfig{DisableStapling: true}, DisableARI: true, DisableStorageCheck: true,
	})
	defer m.worker.Wait()
	m.worker.Go(func() { pace.Every(ctx, cleanEvery, func(time.Time) { m.clean(ctx) }) })
	m.look(ctx)
	pace.Every(ctx, lookEvery, func(time.Time) { m.look(ctx) })
	return nil
}

// clean removes certificates that nobody renewed from the storage, once a day by
// one of the lictors.
func (m *Manager) clean(ctx context.Context) {
	defer crash.Contain("acme", nil)
	ctx, end := AtWork(ctx)
	defer end(nil)
	err := certmagic.CleanStorage(ctx, m.cfg.Storage, certmagic.CleanStorageOptions{
		Logger: zap.NewNop(), Interval: cleanEvery, ExpiredCerts: true, ExpiredCertGracePeriod: cleanEvery * 14,
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("cannot remove old certificates from the storage", "error", err)
	}
}

// look begins work on every host that is due.
func (m *Manager) look(ctx context.Context) {
	wanted, left := m.cfg.Hosts()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = left
	for name, h := range m.hosts {
		if !slices.Contains(wanted, name) && !h.working {
			delete(m.hosts, name)
		}
	}
	for _, name := range wanted {
		h := m.hosts[name]
		if h == nil {
			h = &host{name: name, seen: time.Now(), cert: m.readLastGood(name)}
			m.hosts[name] = h
		}
		if h.working || time.Now().Before(h.next) {
			continue
		}
		select {
		case m.slots <- struct{}{}:
			h.working = true
			m.worker.Go(func() { m.work(ctx, h) })
		default: // the next look finds it
		}
	}
	m.publish()
}

// publish has handshakes use what is there. m.mu is held.
func (m *Manager) publish() {
	all := make(map[string]*tls.Certificate, len(m.hosts))
	for name, h := range m.hosts {
		if h.cert != nil {
			all[name] = h.cert
		}
	}
	if was := *m.shown.Load(); !maps.Equal(was, all) {
		m.shown.Store(&all)
	}
}

// work does what is to be done about a host.
func (m *Manager) work(ctx context.Context, h *host) {
	cert, err := h.cert, errors.New("a panic ended the work, see the log")
	defer func() {
		<-m.slots
		m.mu.Lock()
		defer m.mu.Unlock()
		m.done(ctx, h, cert, err)
	}()
	defer crash.Contain("acme", nil)
	timed, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	cert, err = m.certificate(timed, h.name, h.seen, cert)
}

// done takes what became of the work on a host. m.mu is held.
func (m *Manager) done(ctx context.Context, h *host, cert *tls.Certificate, err error) {
	now := time.Now()
	h.working = false
	if cert != h.cert && cert != nil {
		h.cert = cert
		m.keepLastGood(h.name, cert)
		m.cfg.Log.Info("a certificate is used from now on", "host", h.name, "until", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		m.publish()
	}
	if err == nil {
		if h.err != nil {
			m.cfg.Log.Info("a certificate could be had again", "host", h.name)
		}
		h.err, h.failures = nil, 0
		h.next = now.Add(readEvery)
		if due := renewal(h.cert.Leaf); due.Before(h.next) {
			h.next = due
		}
		return
	}
	if ctx.Err() != nil {
		return // lictor stops
	}
	if errors.Is(err, errSettling) {
		h.next = h.seen.Add(settle)
		return
	}
	wait := min(leastWait<<min(h.failures, 10), mostWait)
	if later, ok := errors.AsType[*laterError](err); ok {
		wait = min(max(time.Until(later.at), time.Second), mostWait)
	}
	if h.err == nil {
		h.since = now
	}
	if h.err == nil || h.err.Error() != err.Error() {
		m.cfg.Log.Warn("cannot get a certificate", "host", h.name, "error", err, "retry_in_ms", wait.Milliseconds())
	}
	h.err, h.next = err, now.Add(wait)
	h.failures++
}

// renewal is when a certificate is to be renewed: at two thirds of its time. The
// second is for certmagic, which would find it too early.
func renewal(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore)/3 + time.Second)
}

// errSettling is of a host that is too new to be ordered for.
var errSettling = errors.New("the host is new")

// certificate returns the certificate for a host: that in the storage, which is
// ordered or renewed if need be; with an error, the one that is served at best.
func (m *Manager) certificate(ctx context.Context, name string, seen time.Time, served *tls.Certificate) (*tls.Certificate, error) {
	ctx, end := AtWork(ctx)
	defer end(nil)
	cert, err := m.stored(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && time.Since(seen) < settle:
		return served, errSettling
	case errors.Is(err, fs.ErrNotExist):
		err = m.magic.ObtainCertSync(ctx, name)
	case err != nil:
		return served, fmt.Errorf("storage: %w", err)
	case time.Now().Before(renewal(cert.Leaf)):
		return same(served, cert), nil
	default:
		if served == nil || cert.Leaf.NotAfter.After(served.Leaf.NotAfter) { // else the storage was put back to an earlier state
			served = cert
		}
		err = m.magic.RenewCertSync(ctx, name, false)
	}
	if err != nil {
		return served, cmp.Or(lost(ctx), err)
	}
	if cert, err = m.stored(ctx, name); err != nil {
		return served, fmt.Errorf("storage: %w", err)
	}
	return same(served, cert), nil
}

// same returns served if cert is no other one.
func same(served, cert *tls.Certificate) *tls.Certificate {
	if served != nil && served.Leaf.Equal(cert.Leaf) {
		return served
	}
	return cert
}

// stored reads the certificate in the storage.
func (m *Manager) stored(ctx context.Context, name string) (*tls.Certificate, error) {
	key := m.issuer.IssuerKey()
	chain, err := m.cfg.Storage.Load(ctx, certmagic.StorageKeys.SiteCert(key, name))
	if err != nil {
		return nil, err
	}
	private, err := m.cfg.Storage.Load(ctx, certmagic.StorageKeys.SitePrivateKey(key, name))
	if err != nil {
		return nil, err
	}
	return pair(chain, private, name)
}

func pair(chain, private []byte, name string) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(chain, private)
	if err == nil {
		err = cert.Leaf.VerifyHostname(name)
	}
	return &cert, err
}

// Certificate returns the one for a host, nil if there is none.
func (m *Manager) Certificate(name string) *tls.Certificate { return (*m.shown.Load())[name] }

// Has reports whether a host has a certificate, or had one in an earlier life of this
// lictor. It looks into the file system at most.
func (m *Manager) Has(name string) bool {
	if m.Certificate(name) != nil {
		return true
	}
	if _, local := m.cfg.Storage.(*certmagic.FileStorage); local {
		return m.cfg.Storage.Exists(context.Background(), certmagic.StorageKeys.SiteCert(m.issuer.IssuerKey(), name))
	}
	return m.cfg.LastGood != "" && durable.Exists(m.lastGoodFile(name))
}

// All returns the certificates by host. It is not to be changed.
func (m *Manager) All() map[string]*tls.Certificate { return *m.shown.Load() }

// mostTold is how many hosts the status names one by one.
const mostTold = 20

// Problems are why hosts have no certificate, or none that is fresh.
func (m *Manager) Problems() (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.hosts)) {
		h := m.hosts[name]
		if h.err == nil {
			continue
		}
		what := "there is no certificate"
		if h.cert != nil {
			what = "the certificate until " + h.cert.Leaf.NotAfter.UTC().Format(time.RFC3339) + " is not renewed"
		}
		all = append(all, fmt.Sprintf("acme: %s: %s, tried in vain since %s: %s", name, what, h.since.UTC().Format(time.RFC3339), cut(h.err.Error())))
	}
	if more := len(all) - mostTold; more > 0 {
		all = append(all[:mostTold], fmt.Sprintf("acme: and %d hosts more", more))
	}
	if m.left > 0 {
		all = append(all, fmt.Sprintf("acme: %d hosts are more than max_hosts allows, and get no certificate", m.left))
	}
	return all
}
