package listener

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"

	"lictor/internal/files"
)

const ocspSuffix = ".ocsp"

// maxSkew is how far the clock of who made an OCSP answer may be ahead.
const maxSkew = 5 * time.Minute

// readStaple reads the OCSP answer for cert in a file: nil if there is none.
// One that clients would refuse breaks their handshakes, and is an error.
func readStaple(file string, cert *tls.Certificate, now time.Time) (staple []byte, until time.Time, err error) {
	staple, err = files.Read(file, maxPEM)
	if errors.Is(err, os.ErrNotExist) {
		return nil, until, nil
	}
	if err == nil {
		until, err = checkStaple(staple, cert, now)
	}
	if err != nil {
		return nil, until, fmt.Errorf("OCSP answer %s: %w", file, err)
	}
	return staple, until, nil
}

// checkStaple returns until when an OCSP answer holds for cert, zero if it does
// not say.
func checkStaple(staple []byte, cert *tls.Certificate, now time.Time) (until time.Time, err error) {
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return until, err
	}
	answer, err := ocsp.ParseResponseForCert(staple, leaf, issuerOf(leaf, cert.Certificate[1:]))
	switch {
	case err != nil:
		return until, err
	case answer.Status != ocsp.Good:
		return until, errors.New("it does not say that the certificate is good")
	case answer.ThisUpdate.After(now.Add(maxSkew)):
		return until, fmt.Errorf("it holds from %s only", answer.ThisUpdate.Format(time.RFC3339))
	case !answer.NextUpdate.IsZero() && !now.Before(answer.NextUpdate):
		return until, fmt.Errorf("it ran out at %s", answer.NextUpdate.Format(time.RFC3339))
	}
	return answer.NextUpdate, nil
}

// issuerOf finds who signed leaf among the certificates behind it, nil if it is
// not there: then only an answer that brings its signer's can be checked.
func issuerOf(leaf *x509.Certificate, chain [][]byte) *x509.Certificate {
	for _, der := range append(chain[:len(chain):len(chain)], leaf.Raw) {
		c, err := x509.ParseCertificate(der)
		if err == nil && bytes.Equal(c.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}
