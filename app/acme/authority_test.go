package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/go-hclog"
)

// authority orders at once, without any proof, and gives the certificate that sign makes.
type authority struct {
	*httptest.Server
	orders atomic.Int64
	sign   func(csr *x509.CertificateRequest) (tmpl *x509.Certificate, key any)
	chain  atomic.Pointer[[]byte]
}

func newAuthority(t *testing.T, sign func(csr *x509.CertificateRequest) (*x509.Certificate, any)) *authority {
	t.Helper()
	a := &authority{sign: sign}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", "nonce")
	w.Header().Set("Content-Type", "application/json")
	order := fmt.Sprintf(`"identifiers": [{"type": "dns", "value": "a.test"}], "authorizations": [], "finalize": %q`, a.URL+"/finalize")
	switch r.URL.Path {
	case "/dir":
		fmt.Fprintf(w, `{"newNonce": %q, "newAccount": %q, "newOrder": %q}`, a.URL+"/nonce", a.URL+"/account", a.URL+"/order")
	case "/account":
		w.Header().Set("Location", a.URL+"/account/1")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"status": "valid"}`)
	case "/order":
		a.orders.Add(1)
		w.Header().Set("Location", a.URL+"/order/1")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"status": "ready", %s}`, order)
	case "/finalize":
		a.finalize(r.Body)
		fmt.Fprintf(w, `{"status": "valid", "certificate": %q, %s}`, a.URL+"/cert", order)
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(*a.chain.Load())
	}
}

// finalize makes the certificate for the request in body.
func (a *authority) finalize(body io.Reader) {
	var signed struct{ Payload string }
	var payload struct{ CSR string }
	_ = json.NewDecoder(body).Decode(&signed)
	text, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	_ = json.Unmarshal(text, &payload)
	der, _ := base64.RawURLEncoding.DecodeString(payload.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		panic(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl, public := a.sign(csr)
	tmpl.SerialNumber = big.NewInt(1)
	if der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, key); err != nil {
		panic(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.chain.Store(&chain)
}

// ordered is the certificate that csr asks for.
func ordered(csr *x509.CertificateRequest) (*x509.Certificate, any) {
	return &x509.Certificate{DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}, csr.PublicKey
}

// orderFrom returns an issuer that orders from a, and the request that it is given for a.test.
func orderFrom(t *testing.T, a *authority) (*issuer, *x509.CertificateRequest) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	i, err := newIssuer(&Config{
		Directory: a.URL + "/dir", CAFile: ca, Challenges: ChallengeTypes,
		Storage: &certmagic.FileStorage{Path: t.TempDir()}, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return i, csr
}

// TestACertificateIsTakenIfItIsOfUse: what is taken once is kept by all, in the place of
// what they had.
func TestACertificateIsTakenIfItIsOfUse(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(tmpl *x509.Certificate, key *any)
		good bool
	}{
		{"the one that was ordered", func(*x509.Certificate, *any) {}, true},
		{"one that holds from soon on, by another clock", func(c *x509.Certificate, _ *any) { c.NotBefore = time.Now().Add(time.Minute) }, true},
		{"one that has run out", func(c *x509.Certificate, _ *any) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}, false},
		{"one that is to be renewed at once", func(c *x509.Certificate, _ *any) { c.NotBefore = time.Now().Add(-100 * time.Hour) }, false},
		{"one for another host", func(c *x509.Certificate, _ *any) { c.DNSNames = []string{"b.test"} }, false},
		{"one for another key", func(_ *x509.Certificate, key *any) { *key = stranger.Public() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthority(t, func(csr *x509.CertificateRequest) (*x509.Certificate, any) {
				tmpl, key := ordered(csr)
				tt.edit(tmpl, &key)
				return tmpl, key
			})
			i, csr := orderFrom(t, a)
			got, err := i.Issue(t.Context(), csr)
			if (err == nil) != tt.good || (got != nil) != tt.good {
				t.Errorf("taken: %v, %v", got != nil, err)
			}
			if _, err := i.Issue(t.Context(), csr); !tt.good && (err == nil || a.orders.Load() != 1) {
				t.Errorf("%d were ordered without a pause", a.orders.Load())
			}
		})
	}
}

// TestAClockThatWasAheadHoldsNobodyBack: what a lictor said whose clock was ahead counts as
// far as it may be true.
func TestAClockThatWasAheadHoldsNobodyBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count int
		in    time.Duration
		asked bool
	}{
		{"a pause that is under way", 1, 30 * time.Second, false},
		{"a long one, after many refusals", 9, 5 * time.Hour, false},
		{"one that is over", 1, -time.Second, true},
		{"a longer one than there is", 1, 24 * 365 * time.Hour, true},
		{"by a count that is none", -3, time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthority(t, ordered)
			i, csr := orderFrom(t, a)
			text, err := json.Marshal(refusal{Count: tt.count, Next: time.Now().Add(tt.in), Why: "no"})
			if err != nil {
				t.Fatal(err)
			}
			if err := i.cfg.Storage.Store(t.Context(), refusalKey("a.test"), text); err != nil {
				t.Fatal(err)
			}
			if _, err := i.Issue(t.Context(), csr); (err == nil) != tt.asked || a.orders.Load() > 0 != tt.asked {
				t.Errorf("asked: %v, %v", a.orders.Load() > 0, err)
			}
		})
	}
}
