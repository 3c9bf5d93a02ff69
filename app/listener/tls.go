package listener

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/crash"
)

// TLSConfig says how a listener speaks TLS. Pairs is required.
type TLSConfig struct {
	Pairs        []Pair
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
	if len(cfg.Pairs) == 0 || cfg.Log == nil {
		return nil, errors.New("listener: Pairs and Log are required")
	}
	cfg.MinVersion = cmp.Or(cfg.MinVersion, tls.VersionTLS12)
	m, err := load(&cfg, time.Now())
	if err != nil {
		return nil, err
	}
	m.tell(cfg.Log)
	t := &TLS{cfg: cfg}
	t.current.Store(m)
	// One base for all versions of the files, so that session tickets outlive them.
	t.base = &tls.Config{
		MinVersion:                  cfg.MinVersion,
		NextProtos:                  cfg.Protocols,
		DynamicRecordSizingDisabled: true, // small records at first cost more than they bring
		GetCertificate:              func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return t.current.Load().pick(hello), nil },
	}
	if m.clientCAs != nil {
		t.base.ClientAuth = tls.RequireAndVerifyClientCert
		t.base.ClientCAs = m.clientCAs
		t.base.GetConfigForClient = t.withCAs
	}
	return t, nil
}

// withCAs gives a handshake the client CAs as they are now.
func (t *TLS) withCAs(*tls.ClientHelloInfo) (*tls.Config, error) {
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

// Expiries returns when each certificate, or one of its chain, expires, by the
// first name in it; one without a name goes by that of its file.
func (t *TLS) Expiries() map[string]time.Time {
	all := make(map[string]time.Time)
	for i, cert := range t.current.Load().certificates {
		var chain []*x509.Certificate
		for _, der := range cert.Certificate {
			if c, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, c)
			}
		}
		if len(chain) > 0 {
			all[nameOf(chain[0], t.cfg.Pairs[i].CertFile)] = Expiry(chain)
		}
	}
	return all
}

func nameOf(c *x509.Certificate, file string) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return cmp.Or(c.Subject.CommonName, filepath.Base(file))
}

// checkEvery is how often the files are looked at.
const checkEvery = time.Second

// Run reads the files again when they changed, until ctx ends. Files that
// cannot be read, or do not fit together while they are being replaced, leave
// the former ones in use.
func (t *TLS) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !t.current.Load().changed(time.Now()) {
			told = ""
			continue
		}
		if err := t.reload(); err != nil && err.Error() != told {
			told = err.Error()
			t.cfg.Log.Error("cannot read the new certificates, keeping the former ones", "error", err)
		}
	}
}

// reload reads the files again.
func (t *TLS) reload() (err error) {
	defer crash.Contain("certificates", func() { err = errors.New("a panic") })
	m, err := load(&t.cfg, time.Now())
	if err != nil {
		return err
	}
	t.current.Store(m)
	t.cfg.Log.Info("certificates read again", "certificates", len(m.certificates))
	m.tell(t.cfg.Log)
	if t.changed != nil {
		t.changed()
	}
	return nil
}

// tell says what of the files is not used.
func (m *material) tell(log hclog.Logger) {
	for _, note := range m.notes {
		log.Warn("an OCSP answer is not sent to clients", "error", note)
	}
}
