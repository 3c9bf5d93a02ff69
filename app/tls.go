package app

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/api"
	"lictor/app/listener"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/internal/files"
	"lictor/proxy/gateway"
)

// buildTLS makes the TLS of the listener called name, nil if it speaks none.
func (p *Lictor) buildTLS(name string, cfg *config.TLS, protocols ...string) (*listener.TLS, error) {
	if !cfg.Enabled() {
		return nil, nil
	}
	pairs := make([]listener.Pair, len(cfg.Certificates))
	for i, c := range cfg.Certificates {
		pairs[i] = listener.Pair{CertFile: c.CertFile, KeyFile: c.KeyFile}
	}
	var source listener.Source // a nil *acme.Manager in it would be none that is nil
	if cfg.ACME.Configured {
		source = p.acme
	}
	t, err := listener.NewTLS(listener.TLSConfig{
		Source:       source,
		Pairs:        pairs,
		Dir:          cfg.CertDir,
		ClientCAFile: cfg.ClientCAFile,
		MinVersion:   cfg.MinVersion,
		Protocols:    protocols,
		Log:          p.log.Named(name),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: tls: %w", name, err)
	}
	p.certificates = append(p.certificates, namedTLS{name, t})
	p.services = append(p.services, supervisor.Service{Name: name + " certificates", Run: t.Run, Grace: time.Second})
	return t, nil
}

// describeCertificates tells of the listeners' certificates, and of what is wrong
// with them.
func (p *Lictor) describeCertificates(st *api.Status) {
	for _, t := range p.certificates {
		for _, problem := range t.tls.Problems() {
			st.Problems = append(st.Problems, t.listener+": tls: "+problem)
		}
		now := time.Now()
		for _, c := range t.tls.Shown() {
			st.Certificates = append(st.Certificates, api.Certificate{
				Listener: t.listener, Name: c.Name, Expires: c.Expires, Days: int(math.Floor(c.Expires.Sub(now).Hours() / 24)),
			})
			if c.SoonOver(now) {
				st.Problems = append(st.Problems, fmt.Sprintf("%s: tls: the certificate of %s expires at %s, and nobody renewed it",
					t.listener, c.Name, c.Expires.UTC().Format(time.RFC3339)))
			}
		}
	}
	slices.SortFunc(st.Certificates, func(a, b api.Certificate) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), a.Expires.Compare(b.Expires), cmp.Compare(a.Name, b.Name))
	})
}

// verifier is how the certificates of clients are verified again, nil if they
// show none.
func verifier(t *listener.TLS, clientCAs string) func([]*x509.Certificate) (time.Time, error) {
	if t == nil || clientCAs == "" {
		return nil
	}
	return t.Verify
}

// upstreamTLS is how instances are spoken to by TLS. The certificate that
// identifies lictor is read for each handshake, so that it follows its files.
func upstreamTLS(cfg *config.UpstreamTLS) (*tls.Config, error) {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if cfg.CertFile == "" {
		return t, nil
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return listener.Pair{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}.Load()
	}
	_, err := t.GetClientCertificate(nil)
	return t, err
}

// authorities are those in a file, which each handshake looks at.
type authorities struct {
	file string
	log  hclog.Logger

	mu      sync.Mutex // guards what follows
	written files.Stamp
	pool    *x509.CertPool
	told    string // why the file cannot be used, as it was logged
}

// newAuthorities reads the file; nil without one.
func newAuthorities(file string, log hclog.Logger) (*authorities, error) {
	if file == "" {
		return nil, nil
	}
	a := &authorities{file: file, log: log, written: files.StampOf(file)}
	var err error
	a.pool, err = listener.LoadPool(file)
	return a, err
}

// current returns the authorities as they are now: the former ones while the file
// cannot be used.
func (a *authorities) current() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := files.StampOf(a.file)
	if now == a.written {
		return a.pool
	}
	pool, err := listener.LoadPool(a.file)
	switch {
	case err == nil:
		a.pool, a.written, a.told = pool, now, ""
		a.log.Info("the file was read again and is used from now on", "what", "authorities", "file", a.file)
	case err.Error() != a.told:
		a.told = err.Error()
		a.log.Error("the file cannot be used, the former content stays", "what", "authorities", "file", a.file, "error", err)
	}
	return a.pool
}

// settings are the part of cfg that the gateway takes at any time, and how
// instances are spoken to by TLS, which stays.
func (p *Lictor) settings(cfg *config.Config) gateway.Settings {
	s := settings(cfg)
	s.UpstreamTLS, s.Control = p.upstreamTLS, p.own.Control
	if p.upstreamCAs != nil {
		s.UpstreamRoots = p.upstreamCAs.current
	}
	return s
}

// listen opens the socket of the listener called name.
func listen(name, address string) (net.Listener, error) {
	l, err := listener.Listen(name, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}
