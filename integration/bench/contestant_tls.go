package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// The contestants of the rows about TLS and HTTP/2. All of them choose
// TLS_AES_128_GCM_SHA256 and X25519: lictor by itself, the others because they
// are told to.
var peersTLS, peersRSA = speakTLS("ecdsa"), speakTLS("rsa")

// otherLictorTLS is another build of it.
var otherLictorTLS = lictorTLS(otherLictor.name, "ecdsa")

func speakTLS(key string) []*contestant {
	return []*contestant{
		lictorTLS(lictor.name, key),
		{name: nginx.name, asked: answersTLS, start: func(b *bed, address string) (*proxy, error) {
			return startNginx(b, address, "nginx-"+key, func(conf string) (string, error) {
				file, err := b.certificate(key)
				return strings.Replace(conf, "listen {address}", "ssl_certificate "+file+"; ssl_certificate_key "+file+"; ssl_protocols TLSv1.3;\n"+
					"    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519; ssl_session_tickets on;\n"+
					"    listen {address} ssl http2", 1), err
			})
		}},
		{name: haproxy.name, asked: answersTLS, start: func(b *bed, address string) (*proxy, error) {
			return startHAProxy(b, address, "haproxy-"+key, func(conf string) (string, error) {
				file, err := b.certificate(key)
				conf = strings.Replace(conf, "\ndefaults", "\n  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256\n  ssl-default-bind-options ssl-min-ver TLSv1.3\ndefaults", 1)
				return strings.Replace(conf, "bind {address}", "bind {address} ssl crt "+file+" alpn h2,http/1.1 curves X25519", 1), err
			})
		}},
	}
}

// lictorTLS is a build of lictor that speaks TLS.
func lictorTLS(program, key string) *contestant {
	return &contestant{name: program, asked: answersTLS, start: func(b *bed, address string) (*proxy, error) {
		file, err := b.certificate(key)
		if err != nil {
			return nil, err
		}
		return startLictorWith(b, program, address, fmt.Sprintf("tls {\n cert_file = %q\n key_file = %q\n }", file, file), "")
	}}
}

// certificate writes a certificate for localhost with its key into one file.
func (b *bed) certificate(kind string) (string, error) {
	var key crypto.Signer
	var err error
	if kind == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return b.write(fmt.Sprintf("%s-%d.pem", kind, time.Now().UnixNano()), string(text))
}

// answersTLS waits until the proxy brings the backend's answer by HTTP/2, with
// the cipher that all use.
func answersTLS(ctx context.Context, _ *bed, p *proxy) error {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}, ForceAttemptHTTP2: true,
	}
	defer tr.CloseIdleConnections()
	err := p.until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.address+smallPath, nil)
		if err != nil {
			return err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if n != smallSize || resp.ProtoMajor != 2 || resp.TLS.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			return fmt.Errorf("%d bytes by %s and %s: %w", n, resp.Proto, tls.CipherSuiteName(resp.TLS.CipherSuite), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.findGroup()
}
