package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
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
}

// NewTLS reads the certificates.
func NewTLS(cfg TLSConfig) (*TLS, error) {
	if len(cfg.Pairs) == 0 || cfg.Log == nil {
		return nil, errors.New("listener: Pairs and Log are required")
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	m, err := load(&cfg)
	if err != nil {
		return nil, err
	}
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

// Config returns the configuration for tls.Server.
func (t *TLS) Config() *tls.Config { return t.base }

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
		if !t.current.Load().changed() {
			told = ""
			continue
		}
		m, err := load(&t.cfg)
		if err != nil {
			if err.Error() != told {
				told = err.Error()
				t.cfg.Log.Error("cannot read the new certificates, keeping the former ones", "error", err)
			}
			continue
		}
		t.current.Store(m)
		t.cfg.Log.Info("certificates read again", "certificates", len(m.certificates))
	}
}
