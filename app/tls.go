package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"lictor/app/listener"
	"lictor/app/supervisor"
	"lictor/config"
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
	t, err := listener.NewTLS(listener.TLSConfig{
		Pairs:        pairs,
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
	if cfg.CAFile != "" {
		pool, err := listener.LoadPool(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		t.RootCAs = pool
	}
	if cfg.CertFile == "" {
		return t, nil
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		return &cert, err
	}
	_, err := t.GetClientCertificate(nil)
	return t, err
}

// settings are the part of cfg that the gateway takes at any time, and how
// instances are spoken to by TLS, which stays.
func (p *Lictor) settings(cfg *config.Config) gateway.Settings {
	s := settings(cfg)
	s.UpstreamTLS, s.Control = p.upstreamTLS, p.own.Control
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
