package listener

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"lictor/internal/files"
)

// Pair names the PEM files of a certificate and its key. If there is a file
// with the name of CertFile and ".ocsp" behind it, it is stapled while it holds.
type Pair struct {
	CertFile string
	KeyFile  string
}

// material is one version of the files: certificates and client CAs. Immutable.
type material struct {
	certificates []tls.Certificate
	clientCAs    *x509.CertPool // nil: clients are not asked for certificates
	stamps       files.Stamps
	notes        []error   // why OCSP answers are not used
	until        time.Time // when the first OCSP answer in use runs out; zero: none does
}

// load reads all files. All mistakes are reported at once.
func load(c *TLSConfig, now time.Time) (*material, error) {
	m := &material{stamps: make(files.Stamps)}
	var errs []error
	for _, p := range c.Pairs {
		for _, file := range []string{p.CertFile, p.KeyFile, p.CertFile + ocspSuffix} {
			m.stamps[file] = files.StampOf(file)
		}
		cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %s: %w", p.CertFile, err))
			continue
		}
		m.staple(p.CertFile+ocspSuffix, &cert, now)
		m.certificates = append(m.certificates, cert)
	}
	if c.ClientCAFile != "" {
		m.stamps[c.ClientCAFile] = files.StampOf(c.ClientCAFile)
		if pool, err := LoadPool(c.ClientCAFile); err != nil {
			errs = append(errs, err)
		} else {
			m.clientCAs = pool
		}
	}
	return m, errors.Join(errs...)
}

// staple adds the OCSP answer in a file. The certificate is of use without one.
func (m *material) staple(file string, cert *tls.Certificate, now time.Time) {
	answer, until, err := readStaple(file, cert, now)
	if err != nil {
		m.notes = append(m.notes, err)
		return
	}
	cert.OCSPStaple = answer
	if !until.IsZero() && (m.until.IsZero() || until.Before(m.until)) {
		m.until = until
	}
}

// LoadPool reads the authorities in a PEM file.
func LoadPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities %s: no certificate in it", file)
	}
	return pool, nil
}

// changed reports whether any of the files is another one by now, or says
// something else.
func (m *material) changed(now time.Time) bool {
	if !m.until.IsZero() && !now.Before(m.until) {
		return true
	}
	return m.stamps.Changed()
}

// pick returns the certificate for a handshake: the first that fits the name
// and what the client can verify, else the first that fits the client, else
// the first. A name that no certificate has is not refused: the client judges.
func (m *material) pick(hello *tls.ClientHelloInfo) *tls.Certificate {
	named := *hello
	named.ServerName = strings.TrimSuffix(hello.ServerName, ".")
	for i := range m.certificates {
		if named.SupportsCertificate(&m.certificates[i]) == nil {
			return &m.certificates[i]
		}
	}
	unnamed := *hello
	unnamed.ServerName = ""
	for i := range m.certificates {
		if unnamed.SupportsCertificate(&m.certificates[i]) == nil {
			return &m.certificates[i]
		}
	}
	return &m.certificates[0]
}
