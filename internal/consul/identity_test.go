package consul

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/app/listener/certtest"
	"lictor/internal/secret"
)

// write replaces a file, as whoever rotates a secret does.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o600), os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
}

// guarded is a Consul that lets one token ask.
type guarded struct {
	token atomic.Value // string
	asked atomic.Int32
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked.Add(1)
	if r.Header.Get("X-Consul-Token") != g.token.Load() {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "ACL not found")
		return
	}
	w.Header().Set("X-Consul-Index", "1")
	fmt.Fprint(w, "yes")
}

func askedAs(t *testing.T, cfg IdentityConfig) (*guarded, *Client, *Identity) {
	t.Helper()
	g := new(guarded)
	g.token.Store("first")
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	i, err := NewIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{API: &api.Config{Address: s.URL}, Identity: i})
	if err != nil {
		t.Fatal(err)
	}
	return g, c, i
}

func ask(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Get(t.Context(), "/v1/x", Query{}, readAll(new(string)))
	return err
}

func TestATokenInAFileIsUsedFromTheNextQueryOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "first\n")
	var told []string
	g, c, i := askedAs(t, IdentityConfig{TokenFile: file, Report: func(what string, err error) { told = append(told, fmt.Sprint(what, " ", err)) }})
	if err := ask(t, c); err != nil {
		t.Fatal(err)
	}
	write(t, file, " second ")
	g.token.Store("second")
	if err := ask(t, c); err != nil || len(told) != 1 || told[0] != "token <nil>" {
		t.Errorf("with the new one: %v, told %q", err, told)
	}
	for _, bad := range []string{"", "two words", strings.Repeat("s", maxToken+1)} {
		told = nil
		write(t, file, bad)
		err := errors.Join(ask(t, c), ask(t, c))
		problems := i.Problems()
		if err != nil || len(told) != 1 || len(problems) != 1 || bad != "" && strings.Contains(told[0]+problems[0], bad) {
			t.Errorf("%.10q: %v, told %q, problems %q: want the former token, and one word about it", bad, err, told, problems)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, c); err != nil || len(i.Problems()) != 1 {
		t.Errorf("without the file: %v, problems %q", err, i.Problems())
	}
	write(t, file, "second")
	if err := ask(t, c); err != nil || len(i.Problems()) != 0 {
		t.Errorf("with it again: %v, problems %q", err, i.Problems())
	}
}

// TestAPipeInPlaceOfAFileKeepsNobodyWaiting: all queries would wait with whoever looks.
func TestAPipeInPlaceOfAFileKeepsNobodyWaiting(t *testing.T) {
	for _, name := range []string{"token", "ca.pem", "site.pem", "site.key"} {
		t.Run(name, func(t *testing.T) {
			ca, dir := certtest.NewCA(t), t.TempDir()
			ca.WriteCA(t, dir)
			at := func(name string) string { return filepath.Join(dir, name) }
			write(t, at("token"), "first")
			cert, key := certtest.Write(t, dir, "site", ca.Issue(t, "site.test"))
			_, c, i := askedAs(t, IdentityConfig{TokenFile: at("token"), TLS: api.TLSConfig{CAFile: at("ca.pem"), CertFile: cert, KeyFile: key}})
			path := map[string]string{"token": at("token"), "ca.pem": at("ca.pem"), "site.pem": cert, "site.key": key}[name]
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			problems := make(chan []string)
			go func() {
				if err := ask(t, c); err != nil {
					t.Error(err)
				}
				problems <- i.Problems()
			}()
			select {
			case all := <-problems:
				if len(all) != 1 || !strings.Contains(all[0], "is no file") {
					t.Errorf("told %q", all)
				}
			case <-time.After(5 * time.Second):
				t.Error("the query waits for who writes to the pipe")
			}
		})
	}
}

func TestAuthoritiesMayLieInADirectory(t *testing.T) {
	dir, certs := t.TempDir(), []*certtest.CA{certtest.NewCA(t), certtest.NewCA(t)}
	for n, ca := range certs {
		of := filepath.Join(dir, fmt.Sprint("of-", n))
		if err := os.Mkdir(of, 0o700); err != nil {
			t.Fatal(err)
		}
		ca.WriteCA(t, of)
	}
	i, err := NewIdentity(IdentityConfig{TLS: api.TLSConfig{CAPath: dir}})
	if err != nil {
		t.Fatal(err)
	}
	_, material := i.current()
	for _, ca := range certs {
		own := ca.Issue(t, "127.0.0.1")
		leaf, err := x509.ParseCertificate(own.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: material.RootCAs}); err != nil {
			t.Error(err)
		}
	}
}

// A query that waits has the token of when it began.
func TestATokenThatIsReplacedWhileAQueryWaitsCostsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "first")
	g, c, _ := askedAs(t, IdentityConfig{TokenFile: file})
	g.token.Store("second") // and the file is replaced as the first request is refused
	refused := false
	base := c.kept.base
	c.kept.base = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if !refused {
			refused = true
			write(t, file, "second")
		}
		return resp, err
	})
	if err := ask(t, c); err != nil || g.asked.Load() != 2 {
		t.Errorf("%v, after %d requests", err, g.asked.Load())
	}
	g.token.Store("third")
	status, ok := errors.AsType[*StatusError](ask(t, c))
	if !ok || status.Code != http.StatusForbidden || g.asked.Load() != 3 {
		t.Errorf("where there is no other: %v, after %d requests", status, g.asked.Load())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Who was refused may be let in as somebody else.
func TestWhoWaitsBehindARefusalIsWokenByANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, err := NewIdentity(IdentityConfig{Token: secret.New("first")})
		if err != nil {
			t.Fatal(err)
		}
		contact := NewContact()
		i.tell(contact)
		b := failed(time.Minute)
		began, done := time.Now(), make(chan time.Duration)
		go func() {
			_ = b.Wait(t.Context(), contact)
			done <- time.Since(began)
		}()
		for _, token := range []string{"first", "second"} {
			time.Sleep(time.Second)
			put, err := i.PrepareToken(secret.New(token), "")
			if err != nil {
				t.Fatal(err)
			}
			put()
		}
		if took := <-done; took != 2*time.Second {
			t.Errorf("it waited for %v, want 2 s, until the token was another one", took)
		}
	})
}

func TestATokenFileMustBeThereAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if _, err := NewIdentity(IdentityConfig{TokenFile: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	i, err := NewIdentity(IdentityConfig{Token: secret.New("first")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.PrepareToken(secret.Text{}, file); err == nil {
		t.Error("a reload takes one that is not there")
	}
	if token, _ := i.current(); token.Reveal() != "first" {
		t.Error("and changes the token")
	}
}

// Server and client are given certificates of another authority.
func TestCertificatesAreUsedFromTheNextQueryOn(t *testing.T) {
	dir := t.TempDir()
	var server atomic.Pointer[tls.Config]
	rotate := func() {
		ca := certtest.NewCA(t)
		server.Store(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()})
		certtest.Write(t, dir, "me", ca.Issue(t, "me"))
		ca.WriteCA(t, dir)
	}
	rotate()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "1")
		fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil }}
	s.StartTLS()
	t.Cleanup(s.Close)
	cert, key := filepath.Join(dir, "me.pem"), filepath.Join(dir, "me.key")
	var told []string
	i, err := NewIdentity(IdentityConfig{
		TLS:    api.TLSConfig{CAFile: filepath.Join(dir, "ca.pem"), CertFile: cert, KeyFile: key},
		Report: func(what string, err error) { told = append(told, fmt.Sprint(what, " ", err)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{API: &api.Config{Address: s.URL}, Identity: i})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, q := range []Query{{}, {Fresh: true}, {}} {
			if _, err := c.Get(t.Context(), "/v1/x", q, readAll(new(string))); err != nil {
				t.Fatal(err)
			}
		}
		rotate()
	}
	if len(told) < 2 {
		t.Errorf("told %q", told)
	}
	if err := ask(t, c); err != nil {
		t.Fatal(err)
	}
	write(t, cert, "half of it")
	if err := ask(t, c); err != nil || len(i.Problems()) != 1 {
		t.Errorf("with files that do not fit: %v, problems %q", err, i.Problems())
	}
}
