package listener

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lictor/internal/files"
)

// Pair names the PEM files of a certificate and its key, which may be one. If
// there is a file with the name of CertFile and ".ocsp" behind it, it is stapled
// while it holds.
type Pair struct {
	CertFile string
	KeyFile  string
}

// held is what is known of a pair. Immutable.
type held struct {
	Pair
	cert    *tls.Certificate // the last good one; nil: there was none yet
	expires time.Time        // cert, or one of its chain
	until   time.Time        // when the OCSP answer in use runs out; zero: it does not
	stamps  files.Stamps
	wrong   error   // why the files as they are now are not in use
	notes   []error // what of them is not as it should be, and does no harm
}

// errNoKey is of a certificate that may be none of ours to show, as an authority's.
var errNoKey = errors.New("there is no key for it")

// hold reads the files of a pair. What cannot be used leaves the former one in
// use, nil if there is none.
func hold(p Pair, former *held, now time.Time) *held {
	h := &held{Pair: p, stamps: files.StampsOf(p.CertFile, p.KeyFile, p.CertFile+ocspSuffix)}
	cert, err := p.Load()
	if err != nil {
		h.keep(former, now)
		h.wrong = fmt.Errorf("certificate %s: %w", p.CertFile, err)
		return h
	}
	h.cert, h.expires = cert, expiry(cert)
	if staple, until, err := readStaple(p.CertFile+ocspSuffix, cert, now); err != nil {
		h.notes = append(h.notes, fmt.Errorf("it is not sent to clients: %w", err))
	} else {
		cert.OCSPStaple, h.until = staple, until
	}
	if info, err := os.Stat(p.KeyFile); err == nil && info.Mode().Perm()&0o006 != 0 {
		h.notes = append(h.notes, fmt.Errorf("everybody on this machine may read or write the key in %s, want mode 0600 or 0640", p.KeyFile))
	}
	return h
}

// excuse makes a note of it that there never was a key.
func (h *held) excuse() {
	if h.cert == nil && errors.Is(h.wrong, errNoKey) {
		h.notes, h.wrong = append(h.notes, h.wrong), nil
	}
}

// keep has the certificate of former in use, nil for none, less an OCSP answer
// that ran out.
func (h *held) keep(former *held, now time.Time) {
	if former == nil || former.cert == nil {
		return
	}
	h.cert, h.expires, h.until = former.cert, former.expires, former.until
	if !h.until.IsZero() && !now.Before(h.until) {
		bare := *h.cert
		bare.OCSPStaple = nil
		h.cert, h.until = &bare, time.Time{}
	}
}

// changed reports whether a file is another one by now, or says something else.
func (h *held) changed(now time.Time) bool {
	return !h.until.IsZero() && !now.Before(h.until) || h.stamps.Changed()
}

// name is what people call the certificate: its first name, else that of its file.
func (h *held) name() string {
	if names := h.cert.Leaf.DNSNames; len(names) > 0 {
		return names[0]
	}
	return cmp.Or(h.cert.Leaf.Subject.CommonName, filepath.Base(h.CertFile))
}

// expiry is when the certificate, or one of its chain, expires.
func expiry(cert *tls.Certificate) time.Time {
	chain := []*x509.Certificate{cert.Leaf}
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return Expiry(chain)
}

// Load reads the certificate and its key.
func (p Pair) Load() (*tls.Certificate, error) {
	chain, err := files.Read(p.CertFile, maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := files.Read(p.KeyFile, maxPEM)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.Join(errNoKey, err)
	case err != nil:
		return nil, err
	case p.CertFile == p.KeyFile && !bytes.Contains(key, []byte("PRIVATE KEY-----")):
		return nil, errNoKey
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	if cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	return &cert, err
}

// maxPEM bounds what is read of a file, which somebody may have put there by mistake.
const maxPEM = 1 << 20

// LoadPool reads the authorities in a PEM file.
func LoadPool(file string) (*x509.CertPool, error) {
	pem, err := files.Read(file, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities %s: no certificate in it", file)
	}
	return pool, nil
}
