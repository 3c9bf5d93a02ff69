package listener

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Pair names the PEM files of a certificate and its key. If there is a file
// with the name of CertFile and ".ocsp" behind it, it is stapled.
type Pair struct {
	CertFile string
	KeyFile  string
}

// material is one version of the files: certificates and client CAs. Immutable.
type material struct {
	certificates []tls.Certificate
	clientCAs    *x509.CertPool // nil: clients are not asked for certificates
	stamps       map[string]stamp
}

// stamp tells versions of a file apart.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}

// load reads all files. All mistakes are reported at once.
func load(c *TLSConfig) (*material, error) {
	m := &material{stamps: make(map[string]stamp)}
	var errs []error
	for _, p := range c.Pairs {
		for _, file := range []string{p.CertFile, p.KeyFile, p.CertFile + ocspSuffix} {
			m.stamps[file] = stampOf(file)
		}
		cert, err := loadPair(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.certificates = append(m.certificates, cert)
	}
	if c.ClientCAFile != "" {
		m.stamps[c.ClientCAFile] = stampOf(c.ClientCAFile)
		if pool, err := LoadPool(c.ClientCAFile); err != nil {
			errs = append(errs, err)
		} else {
			m.clientCAs = pool
		}
	}
	return m, errors.Join(errs...)
}

const ocspSuffix = ".ocsp"

func loadPair(p Pair) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	if err != nil {
		return cert, fmt.Errorf("certificate %s: %w", p.CertFile, err)
	}
	staple, err := os.ReadFile(p.CertFile + ocspSuffix)
	switch {
	case err == nil:
		cert.OCSPStaple = staple
	case !errors.Is(err, os.ErrNotExist):
		return cert, fmt.Errorf("certificate %s: %w", p.CertFile, err)
	}
	return cert, nil
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

// changed reports whether any of the files is another one by now.
func (m *material) changed() bool {
	for file, was := range m.stamps {
		if stampOf(file) != was {
			return true
		}
	}
	return false
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
