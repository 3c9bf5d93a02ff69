package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ocsp"

	"lictor/app/listener/certtest"
	"lictor/internal/eventually"
)

// shake makes a handshake and returns what the client saw.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer a.Close()
	defer b.Close()
	wg.Go(func() {
		s := tls.Server(b, server)
		if s.Handshake() == nil {
			io.WriteString(s, "x") // what TLS 1.3 has to say comes with the first bytes
		}
		b.Close()
	})
	c := tls.Client(a, client)
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

func newTestTLS(t *testing.T, cfg TLSConfig) *TLS {
	t.Helper()
	cfg.Log = hclog.NewNullLogger()
	cfg.Protocols = []string{"h2", "http/1.1"}
	s, err := NewTLS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCertificateIsChosenByTheNameThatIsAskedFor(t *testing.T) {
	dir, ca := t.TempDir(), certtest.NewCA(t)
	var pairs []Pair
	var staple string
	for _, name := range []string{"one.test", "two.test", "*.three.test"} {
		cert := ca.Issue(t, name)
		c, k := certtest.Write(t, dir, strings.TrimPrefix(name, "*."), cert)
		pairs = append(pairs, Pair{c, k})
		if name == "two.test" {
			staple = string(ca.OCSP(t, cert, ocsp.Response{Status: ocsp.Good, ThisUpdate: time.Now()}))
		}
	}
	if err := os.WriteFile(pairs[1].CertFile+".ocsp", []byte(staple), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestTLS(t, TLSConfig{Pairs: pairs})
	tests := []struct{ name, server, want, staple string }{
		{"the first name", "one.test", "one.test", ""},
		{"another name, which has an OCSP answer", "two.test", "two.test", staple},
		{"a wildcard", "a.three.test", "*.three.test", ""},
		{"capitals", "TWO.test", "two.test", staple},
		{"an unknown name gets the first", "four.test", "one.test", ""},
		{"no name gets the first", "", "one.test", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, err := shake(t, s.Config(), &tls.Config{ServerName: tt.server, InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := state.PeerCertificates[0].Subject.CommonName; got != tt.want || string(state.OCSPResponse) != tt.staple {
				t.Errorf("got %q with %q, want %q with %q", got, state.OCSPResponse, tt.want, tt.staple)
			}
		})
	}
}

func TestVersionsAndClientCertificates(t *testing.T) {
	dir, ca, other := t.TempDir(), certtest.NewCA(t), certtest.NewCA(t)
	c, k := certtest.Write(t, dir, "site", ca.Issue(t, "site.test"))
	cas := ca.WriteCA(t, dir)
	tests := []struct {
		name   string
		cfg    TLSConfig
		client *tls.Config
		wrong  bool
	}{
		{"TLS 1.2 is the least by default", TLSConfig{}, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		{"TLS 1.1 is refused", TLSConfig{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, true},
		{"TLS 1.3 can be demanded", TLSConfig{MinVersion: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"a client certificate of the authority", TLSConfig{ClientCAFile: cas}, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "me")}}, false},
		{"a client without one", TLSConfig{ClientCAFile: cas}, &tls.Config{}, true},
		{"a client with one of somebody else's", TLSConfig{ClientCAFile: cas}, &tls.Config{Certificates: []tls.Certificate{other.Issue(t, "me")}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Pairs = []Pair{{c, k}}
			s := newTestTLS(t, tt.cfg)
			tt.client.RootCAs, tt.client.ServerName = ca.Pool(), "site.test"
			if _, err := shake(t, s.Config(), tt.client); (err != nil) != tt.wrong {
				t.Errorf("got %v, want an error: %v", err, tt.wrong)
			}
		})
	}
}

// TestFilesThatChangeAreReadAgain replaces the certificate, then writes
// nonsense, then the next one.
func TestFilesThatChangeAreReadAgain(t *testing.T) {
	dir, ca := t.TempDir(), certtest.NewCA(t)
	c, k := certtest.Write(t, dir, "site", ca.Issue(t, "first", "site.test"))
	s := newTestTLS(t, TLSConfig{Pairs: []Pair{{c, k}}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	is := func(want string) func() bool {
		return func() bool {
			state, err := shake(t, s.Config(), &tls.Config{RootCAs: ca.Pool(), ServerName: "site.test"})
			if err != nil {
				t.Fatal(err)
			}
			return state.PeerCertificates[0].Subject.CommonName == want
		}
	}
	shows := func(want string) {
		t.Helper()
		eventually.True(t, "the certificate is the "+want, is(want))
	}
	shows("first")
	certtest.Write(t, dir, "site", ca.Issue(t, "second", "site.test"))
	shows("second")
	if err := os.WriteFile(c, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Longer than a look at the files takes to come.
	eventually.Holds(t, 1500*time.Millisecond, "nonsense is not taken", is("second"))
	certtest.Write(t, dir, "site", ca.Issue(t, "third", "site.test"))
	shows("third")
}

func TestMistakesInFilesAreToldAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewTLS(TLSConfig{Pairs: []Pair{{"no.pem", "no.key"}, {empty, empty}}, ClientCAFile: empty, Log: hclog.NewNullLogger()})
	for _, want := range []string{"no.pem", "certificate " + empty, "authorities " + empty} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, err := LoadPool("no.pem"); err == nil {
		t.Error("a pool of nothing")
	}
	if x509.NewCertPool().Equal(certtest.NewCA(t).Pool()) {
		t.Error("the authority is in no pool")
	}
}
