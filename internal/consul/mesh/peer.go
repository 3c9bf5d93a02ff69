package mesh

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// PeerError is a peer that is not who it should be.
type PeerError struct{ why string }

// Error implements error.
func (e *PeerError) Error() string { return "the peer is not trusted: " + e.why }

// TLS returns how the peer is spoken to that has the given identity: its SPIFFE id
// without the trust domain, such as "/ns/default/dc/dc1/svc/web". It never changes:
// each handshake takes the certificate and the authorities of its time. Sessions
// are not resumed, so that the peer looks at intentions at every connection. A
// handshake fails with an error that wraps [ErrNoCertificate], or is a
// [*PeerError], if it is for lictor to refuse.
func (m *Mesh) TLS(identity string) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: m.certificate,
		InsecureSkipVerify:   true, //nolint:gosec // the peer is no host: VerifyConnection says who it is
		VerifyConnection: func(s tls.ConnectionState) error {
			return m.verify(s.PeerCertificates, identity, time.Now())
		},
	}
}

// verify makes sure that a chain is the peer's with the given identity.
func (m *Mesh) verify(chain []*x509.Certificate, identity string, now time.Time) error {
	c := m.cur.Load()
	if err := c.usable(now); err != nil {
		return err
	}
	if len(chain) == 0 {
		return &PeerError{"it shows no certificate"}
	}
	between := x509.NewCertPool()
	for _, cert := range c.roots.between {
		between.AddCert(cert)
	}
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots.pool, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &PeerError{err.Error()}
	}
	want := "spiffe://" + c.roots.trustDomain + identity
	if uris := chain[0].URIs; len(uris) != 1 || uris[0].String() != want {
		return &PeerError{fmt.Sprintf("it is %s, want %s", shown(chain[0]), want)}
	}
	return nil
}

// maxShown bounds what of a peer's own words is shown.
const maxShown = 256

// shown is who a certificate says it is.
func shown(cert *x509.Certificate) string {
	if len(cert.URIs) != 1 {
		return fmt.Sprintf("a certificate of %d URIs", len(cert.URIs))
	}
	id := cert.URIs[0].String()
	return fmt.Sprintf("%q", id[:min(len(id), maxShown)])
}
