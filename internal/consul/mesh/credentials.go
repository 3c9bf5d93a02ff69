package mesh

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	client "lictor/internal/consul"
)

// Bounds of what Consul says: a chain and a key are some kilobytes.
const (
	maxAnswer = 1 << 20
	maxCerts  = 64 // authorities, and intermediates
)

// leaf is the certificate that lictor shows. Immutable.
type leaf struct {
	said leafAnswer
	cert tls.Certificate // with its Leaf
}

// leafAnswer is what is read of Consul's answer, and what is kept on disk.
type leafAnswer struct {
	CertPEM       string // of the certificate and what leads up to an authority
	PrivateKeyPEM string
}

func readLeaf(body io.Reader) (*leaf, error) {
	var said leafAnswer
	if err := decode(body, &said); err != nil {
		return nil, err
	}
	return newLeaf(said)
}

// newLeaf checks what Consul said. Its errors hold nothing of the key.
func newLeaf(said leafAnswer) (*leaf, error) {
	cert, err := tls.X509KeyPair([]byte(said.CertPEM), []byte(said.PrivateKeyPEM))
	if err != nil {
		return nil, fmt.Errorf("the certificate of the mesh: %w", err)
	}
	if len(cert.Leaf.URIs) != 1 {
		return nil, fmt.Errorf("the certificate of the mesh has %d URIs, want one", len(cert.Leaf.URIs))
	}
	return &leaf{said: said, cert: cert}, nil
}

func (l *leaf) equal(other *leaf) bool { return l.said == other.said }
func (l *leaf) notAfter() time.Time    { return l.cert.Leaf.NotAfter }
func (l *leaf) id() string             { return l.cert.Leaf.URIs[0].String() }

// roots are whom the mesh trusts. Immutable.
type roots struct {
	said        rootsAnswer
	trustDomain string
	certs       []*x509.Certificate // the authorities
	pool        *x509.CertPool      // of certs
	between     []*x509.Certificate // what leads up to them
}

// rootsAnswer is what is read of Consul's answer, and what is kept on disk.
type rootsAnswer struct {
	TrustDomain string
	Roots       []rootAnswer
}

type rootAnswer struct {
	RootCert          string
	IntermediateCerts []string
}

func readRoots(body io.Reader) (*roots, error) {
	var said rootsAnswer
	if err := decode(body, &said); err != nil {
		return nil, err
	}
	return newRoots(said)
}

func newRoots(said rootsAnswer) (*roots, error) {
	r := &roots{said: said, trustDomain: strings.ToLower(said.TrustDomain), pool: x509.NewCertPool()}
	if r.trustDomain == "" {
		return nil, errors.New("the mesh has no trust domain")
	}
	for _, root := range said.Roots {
		certs, err := certificates(root.RootCert)
		if err != nil {
			return nil, fmt.Errorf("an authority of the mesh: %w", err)
		}
		r.certs = append(r.certs, certs...)
		for _, text := range root.IntermediateCerts {
			if certs, err = certificates(text); err != nil {
				return nil, fmt.Errorf("an intermediate authority of the mesh: %w", err)
			}
			r.between = append(r.between, certs...)
		}
		if len(r.certs)+len(r.between) > maxCerts {
			return nil, fmt.Errorf("the mesh has more than %d authorities", maxCerts)
		}
	}
	if len(r.certs) == 0 {
		return nil, errors.New("the mesh has no authority")
	}
	for _, cert := range r.certs {
		r.pool.AddCert(cert)
	}
	return r, nil
}

func (r *roots) equal(other *roots) bool {
	return r.trustDomain == other.trustDomain && slices.EqualFunc(r.said.Roots, other.said.Roots, func(a, b rootAnswer) bool {
		return a.RootCert == b.RootCert && slices.Equal(a.IntermediateCerts, b.IntermediateCerts)
	})
}

// trusts reports whether r trusts everybody that the former roots trusted.
func (r *roots) trusts(former *roots) bool {
	return r.trustDomain == former.trustDomain && !slices.ContainsFunc(former.certs, func(old *x509.Certificate) bool {
		return !slices.ContainsFunc(r.certs, old.Equal)
	})
}

// certificates reads all certificates of a text.
func certificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return all, nil
}

// decode reads an answer of Consul.
func decode(body io.Reader, into any) error {
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxAnswer:
		return fmt.Errorf("consul's answer about the mesh is larger than %d bytes", maxAnswer)
	}
	return client.Contain(func() error { return json.NewDecoder(bytes.NewReader(text)).Decode(into) })
}
