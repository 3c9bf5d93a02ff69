package config

import (
	"crypto/tls"
	"maps"

	"github.com/hashicorp/hcl/v2"
)

// TLS is the block tls of a listener. The listener speaks TLS if it says where
// certificates are.
type TLS struct {
	Certificates []KeyPair // the first is for clients that name no server, or one that no certificate is for
	CertDir      string    // a directory of further ones, which come and go; "" = none
	ACME         ACME      // of the gateway alone
	ClientCAFile string    // "" = clients need no certificate
	MinVersion   uint16    // tls.VersionTLS12 or tls.VersionTLS13
}

// KeyPair names the PEM files of a certificate chain and its key.
type KeyPair struct{ CertFile, KeyFile string }

// Enabled reports whether the listener speaks TLS.
func (t *TLS) Enabled() bool { return len(t.Certificates) > 0 || t.CertDir != "" || t.ACME.Configured }

func defaultTLS() TLS { return TLS{MinVersion: tls.VersionTLS12, ACME: defaultACME()} }

// tls returns the decoder of a block tls into t, which may have blocks beside
// certificate.
func (d *decoder) tls(t *TLS, further nested) func(*hcl.Block) {
	return func(b *hcl.Block) {
		inner := nested{"certificate": d.certificate(t)}
		maps.Copy(inner, further)
		var first KeyPair
		where := d.body(b, options{
			"cert_file":      text(&first.CertFile),
			"key_file":       text(&first.KeyFile),
			"cert_dir":       text(&t.CertDir),
			"client_ca_file": text(&t.ClientCAFile),
			"min_version":    parsed(&t.MinVersion, tlsVersion),
		}, inner)
		more := t.Certificates
		t.Certificates = nil
		d.keyPair(t, first, where, b)
		switch {
		case len(more) > 0 && !t.Enabled():
			d.wrong(where.of("cert_file", b), "%stls: cert_file and key_file or cert_dir are needed besides certificate", d.within)
		case t.ClientCAFile != "" && !t.Enabled():
			d.wrong(where.of("client_ca_file", b), "%stls: client_ca_file needs cert_file and key_file, or cert_dir", d.within)
		}
		t.Certificates = append(t.Certificates, more...)
	}
}

// certificate returns the decoder of a further certificate, which is chosen by
// the name of the server that the client asks for.
func (d *decoder) certificate(t *TLS) func(*hcl.Block) {
	return func(b *hcl.Block) {
		var pair KeyPair
		where := d.body(b, options{"cert_file": text(&pair.CertFile), "key_file": text(&pair.KeyFile)}, nil)
		d.keyPair(t, pair, where, b)
	}
}

func (d *decoder) keyPair(t *TLS, pair KeyPair, where places, b *hcl.Block) {
	if d.together(pair, where, b) && pair.CertFile != "" {
		t.Certificates = append(t.Certificates, pair)
	}
}

// together reports whether both files of a pair are named, or neither is.
func (d *decoder) together(pair KeyPair, where places, b *hcl.Block) bool {
	if (pair.CertFile == "") == (pair.KeyFile == "") {
		return true
	}
	d.wrong(where.of("cert_file", b), "%s%s: cert_file and key_file are needed together", d.within, b.Type)
	return false
}

func tlsVersion(s string) (uint16, error) {
	word, err := oneOf("1.2", "1.3")(s)
	if word == "1.3" {
		return tls.VersionTLS13, err
	}
	return tls.VersionTLS12, err
}

// UpstreamTLS is the block upstream_tls of dispatch "http": how instances with
// lictor-scheme = "https" are spoken to.
type UpstreamTLS struct {
	CAFile     string // "" = the system's
	CertFile   string // with KeyFile, to identify lictor
	KeyFile    string
	ServerName string // expected in the certificate; "" = the host of the instance's address
}

func (d *decoder) upstreamTLS(u *UpstreamTLS) func(*hcl.Block) {
	return func(b *hcl.Block) {
		where := d.body(b, options{
			"ca_file":     text(&u.CAFile),
			"cert_file":   text(&u.CertFile),
			"key_file":    text(&u.KeyFile),
			"server_name": text(&u.ServerName),
		}, nil)
		d.together(KeyPair{u.CertFile, u.KeyFile}, where, b)
	}
}
