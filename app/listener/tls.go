package listener

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/crash"
	"lictor/internal/pace"
)

// Source has certificates that are in no file. Its methods are called in
// handshakes, by any goroutine.
type Source interface {
	// Certificate returns the one for a host in lower case, nil if there is none.
	Certificate(name string) *tls.Certificate
	// All returns the certificates by host, with their Leaf. It is not changed.
	All() map[string]*tls.Certificate
	// Challenge returns what answers a handshake that proves to an authority that
	// a host is ours, nil if it is no such handshake. It may block for some seconds.
	Challenge(hello *tls.ClientHelloInfo) *tls.Certificate
	// Problems are what an operator should know.
	Problems() []string
}

// TLSConfig says how a listener speaks TLS. Pairs, Dir or Source is required.
type TLSConfig struct {
	Pairs        []Pair
	Dir          string // of further pairs, which may come and go; "" = none
	Source       Source // of further certificates, behind those; nil = none
	ClientCAFile string // clients must show a certificate of one of these; "" = they are not asked
	MinVersion   uint16 // tls.VersionTLS12 or 13; 0 = 1.2
	Protocols    []string
	Log          hclog.Logger
}

// TLS holds certificates that are read again when their files change.
type TLS struct {
	cfg     TLSConfig
	current atomic.Pointer[material]
	base    *tls.Config
	changed func() // nil: nobody wants to know
}

// OnChange has f called when the client CAs may be others. It is to be set
// before Run.
func (t *TLS) OnChange(f func()) { t.changed = f }

// NewTLS reads the certificates.
func NewTLS(cfg TLSConfig) (*TLS, error) {
	if len(cfg.Pairs) == 0 && cfg.Dir == "" && cfg.Source == nil || cfg.Log == nil {
		return nil, errors.New("listener: Pairs, Dir or Source, and Log are required")
	}
	cfg.MinVersion = cmp.Or(cfg.MinVersion, tls.VersionTLS12)
	m, err := load(&cfg, new(material), time.Now())
	if err != nil {
		return nil, err
	}
	m.tell(new(material), cfg.Log)
	t := &TLS{cfg: cfg}
	t.current.Store(m)
	// One base for all versions of the files, so that session tickets outlive them.
	t.base = &tls.Config{
		MinVersion:                  cfg.MinVersion,
		NextProtos:                  cfg.Protocols,
		DynamicRecordSizingDisabled: true, // small records at first cost more than they bring
		GetCertificate:              t.pick,
	}
	if m.clientCAs != nil {
		t.base.ClientAuth = tls.RequireAndVerifyClientCert
		t.base.ClientCAs = m.clientCAs
	}
	if m.clientCAs != nil || cfg.Source != nil {
		t.base.GetConfigForClient = t.configFor
	}
	return t, nil
}

// errNothing is why a handshake fails while cert_dir is empty.
var errNothing = errors.New("there is no certificate")

// pick returns the certificate for a handshake.
func (t *TLS) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	m := t.current.Load()
	if cert := m.named(hello); cert != nil {
		return cert, nil
	}
	if t.cfg.Source != nil {
		if cert := t.cfg.Source.Certificate(strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))); cert != nil {
			return cert, nil
		}
	}
	if cert := m.unnamed(hello); cert != nil {
		return cert, nil
	}
	return t.firstOfSource()
}

// firstOfSource returns what a client gets that names nobody whom we have, where
// there are no files.
func (t *TLS) firstOfSource() (*tls.Certificate, error) {
	if t.cfg.Source != nil {
		all := t.cfg.Source.All()
		if names := slices.Sorted(maps.Keys(all)); len(names) > 0 {
			return all[names[0]], nil
		}
	}
	return nil, errNothing
}

// ChallengeProtocol is what is agreed on in a handshake that proves to an authority
// that a host is ours, and is nothing else (RFC 8737).
const ChallengeProtocol = "acme-tls/1"

// configFor returns what a handshake goes by, nil for the base.
func (t *TLS) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if t.cfg.Source != nil {
		if cert := t.cfg.Source.Challenge(hello); cert != nil {
			return &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert},
				NextProtos: []string{ChallengeProtocol}, SessionTicketsDisabled: true,
			}, nil
		}
	}
	return t.withCAs()
}

// withCAs gives a handshake the client CAs as they are now.
func (t *TLS) withCAs() (*tls.Config, error) {
	now := t.current.Load().clientCAs
	if now == t.base.ClientCAs {
		return nil, nil
	}
	c := t.base.Clone()
	c.ClientCAs, c.GetConfigForClient = now, nil
	return c, nil
}

// Config returns the configuration for tls.Server, nil if there is no TLS.
func (t *TLS) Config() *tls.Config {
	if t == nil {
		return nil
	}
	return t.base
}

// Verify checks a client's certificates by the authorities as they are now, and
// returns until when they are good by their own word.
func (t *TLS) Verify(chain []*x509.Certificate) (until time.Time, err error) {
	pool := t.current.Load().clientCAs
	if pool == nil || len(chain) == 0 {
		return until, errors.New("listener: there is nothing to verify by")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return until, err
	}
	return Expiry(ways[0]), nil
}

// Expiry is when the first certificate of a chain expires.
func Expiry(chain []*x509.Certificate) time.Time {
	first := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// Shown is a certificate that clients may see.
type Shown struct {
	Name            string    // the first in it; of one without names that of its file
	Begins, Expires time.Time // it expires when one of its chain does
}

// SoonOver reports whether only a tenth of its time is left: whoever renews it
// has not done so when they usually do.
func (s *Shown) SoonOver(now time.Time) bool { return s.Expires.Sub(now) < s.Expires.Sub(s.Begins)/10 }

// Shown returns the certificates by their names. Of several with the same name it
// is the first to expire.
func (t *TLS) Shown() map[string]Shown {
	all := make(map[string]Shown)
	for _, h := range t.current.Load().held {
		if h.cert == nil {
			continue
		}
		if first, ok := all[h.name()]; !ok || h.expires.Before(first.Expires) {
			all[h.name()] = Shown{h.name(), h.cert.Leaf.NotBefore, h.expires}
		}
	}
	if t.cfg.Source != nil {
		for name, cert := range t.cfg.Source.All() {
			if _, known := all[name]; !known {
				all[name] = Shown{name, cert.Leaf.NotBefore, expiry(cert)}
			}
		}
	}
	return all
}

// Problems are why files are not in use as they are now, and that there is
// nothing to show to clients.
func (t *TLS) Problems() (all []string) {
	m := t.current.Load()
	for _, err := range m.problems() {
		all = append(all, err.Error())
	}
	if len(t.Shown()) == 0 {
		all = append(all, errNothing.Error()+", every handshake fails")
	}
	if t.cfg.Source != nil {
		all = append(all, t.cfg.Source.Problems()...)
	}
	return all
}

// checkEvery is how often the files are looked at.
const checkEvery = time.Second

// Run reads the files again when they changed, until ctx ends. Files that
// cannot be read, or do not fit together while they are being replaced, leave
// the former ones in use.
func (t *TLS) Run(ctx context.Context) error {
	pace.Every(ctx, checkEvery, t.look)
	return nil
}

// look reads the files again if they changed.
func (t *TLS) look(now time.Time) {
	defer crash.Contain("certificates", nil)
	former := t.current.Load()
	if !former.changed(&t.cfg, now) {
		return
	}
	m, _ := load(&t.cfg, former, now) // what is wrong is told
	t.current.Store(m)
	m.tell(former, t.cfg.Log)
	if t.changed != nil {
		t.changed()
	}
}

// tell says what changed since former, and what is wrong now and was not before.
func (m *material) tell(former *material, log hclog.Logger) {
	newly := func(now, before []error, say func(string, ...any), what string) {
		for _, err := range now {
			if !slices.ContainsFunc(before, func(b error) bool { return b.Error() == err.Error() }) {
				say(what, "error", err)
			}
		}
	}
	newly(m.problems(), former.problems(), log.Error, "cannot use a file of tls, keeping its former content")
	newly(m.notes(), former.notes(), log.Warn, "a file of tls is not as it should be")
	if former.byFile != nil && !slices.EqualFunc(m.held, former.held, func(a, b *held) bool { return a.cert == b.cert }) {
		log.Info("certificates read again", "certificates", len(m.held))
	}
}
