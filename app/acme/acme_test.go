package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/go-hclog"
	"github.com/mholt/acmez/v3/acme"

	"lictor/app/listener/certtest"
	"lictor/internal/eventually"
)

func newTestManager(t *testing.T, hosts ...string) *Manager {
	t.Helper()
	seal, err := OwnSeal(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{
		Directory: "https://ca.test/dir", Challenges: ChallengeTypes, Hosts: func() ([]string, int) { return hosts, 0 },
		Storage: &certmagic.FileStorage{Path: t.TempDir()}, LastGood: t.TempDir(), Seal: seal, Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range hosts {
		m.hosts[name] = &host{name: name}
	}
	return m
}

func TestASealedValueOpensUnderItsOwnNameAndKeyAlone(t *testing.T) {
	dir := t.TempDir()
	one, err := OwnSeal(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadSeal(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := OwnSeal(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := one.close("a", []byte("text"))
	flip := func(i int) []byte { b := append([]byte(nil), sealed...); b[i] ^= 1; return b }
	tests := []struct {
		name string
		seal *Seal
		as   string
		what []byte
		good bool
	}{
		{"by the same key", again, "a", sealed, true},
		{"by another key", other, "a", sealed, false},
		{"under another name", one, "b", sealed, false},
		{"with another version", one, "a", flip(0), false},
		{"with another nonce", one, "a", flip(5), false},
		{"changed", one, "a", flip(len(sealed) - 1), false},
		{"cut", one, "a", sealed[:20], false},
		{"nothing", one, "a", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.seal.open(tt.as, tt.what); (err == nil) != tt.good || tt.good && string(got) != "text" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if info, err := os.Stat(filepath.Join(dir, "one")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
}

func TestAKeyFileThatIsNoneIsToldWithoutWhatIsInIt(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "short": "abcdef", "too long": strings.Repeat("ab", 33), "no digits": strings.Repeat("secret", 8), "huge": strings.Repeat("a", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadSeal(file); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAChallengeIsAnsweredWhileItIsPendingAlone(t *testing.T) {
	m := newTestManager(t, "a.test", "b.test")
	s := &solver{storage: m.cfg.Storage}
	c := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "tok", KeyAuthorization: "tok.print", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
	stranger := c
	stranger.Identifier.Value = "c.test" // nobody wants one for it
	alpn := c
	alpn.Type = acme.ChallengeTypeTLSALPN01
	for _, one := range []acme.Challenge{c, stranger, alpn} {
		if err := s.Present(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(host, token string) string {
		r := httptest.NewRequest(http.MethodGet, "/.well-known/acme-challenge/"+token, nil)
		r.Host = host
		w := httptest.NewRecorder()
		if !m.Answer(w, r) {
			return "none"
		}
		return w.Body.String()
	}
	for _, tt := range [][3]string{
		{"a.test", "tok", "tok.print"}, {"A.TEST:80", "tok", "tok.print"}, {"a.test", "other", "none"},
		{"b.test", "tok", "none"}, {"c.test", "tok", "none"}, {"../a.test", "tok", "none"}, {"", "tok", "none"},
	} {
		if got := ask(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s of %s: got %q, want %q", tt[1], tt[0], got, tt[2])
		}
	}
	hello := func(name string, protos ...string) *tls.Certificate {
		return m.challenge(t.Context(), &tls.ClientHelloInfo{ServerName: name, SupportedProtos: protos})
	}
	if cert := hello("a.test", Protocol); cert == nil {
		t.Error("TLS-ALPN-01 is not answered")
	}
	if hello("a.test", Protocol, "h2") != nil || hello("a.test") != nil || hello("b.test", Protocol) != nil || hello("c.test", Protocol) != nil {
		t.Error("a handshake that is no challenge is answered as one")
	}
	if err := errors.Join(s.CleanUp(t.Context(), c), s.CleanUp(t.Context(), alpn)); err != nil {
		t.Fatal(err)
	}
	if got := ask("a.test", "tok"); got != "none" || hello("a.test", Protocol) != nil {
		t.Error("a challenge that is over is answered")
	}
}

// slow is a storage that takes a second for a look.
type slow struct {
	certmagic.Storage
	looks atomic.Int64
}

func (s *slow) Load(ctx context.Context, key string) ([]byte, error) {
	s.looks.Add(1)
	time.Sleep(time.Second)
	return s.Storage.Load(ctx, key)
}

// TestNobodyKeepsOutTheAuthority: who asks for proofs that there are not, however many at
// once, has one look after the other done, and who asks for one that came meanwhile gets it.
func TestNobodyKeepsOutTheAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, "a.test", "b.test")
		storage := &slow{Storage: m.cfg.Storage}
		m.cfg.Storage = storage
		ask := func(host, token string) bool {
			r := httptest.NewRequest(http.MethodGet, "/.well-known/acme-challenge/"+token, nil)
			r.Host = host
			return m.Answer(httptest.NewRecorder(), r)
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { ask("a.test", "made-up") })
		}
		synctest.Wait()
		for _, host := range []string{"a.test", "b.test"} {
			c := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "tok", KeyAuthorization: "tok.print", Identifier: acme.Identifier{Type: "dns", Value: host}}
			if err := (&solver{storage: m.cfg.Storage}).Present(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				if began := time.Now(); !ask(host, "tok") || time.Since(began) > 2*time.Second {
					t.Errorf("the authority got none for %s within %s", host, time.Since(began))
				}
			})
		}
		all.Wait()
		if n := storage.looks.Load(); n > 3 {
			t.Errorf("%d looks, want one after the other for each host", n)
		}
	})
}

// TestOnlyTheHostOfTheDirectoryIsAsked has an authority name other places.
func TestOnlyTheHostOfTheDirectoryIsAsked(t *testing.T) {
	m := newTestManager(t, "a.test")
	for _, url := range []string{"https://inside.test/", "http://ca.test/dir", "https://ca.test:8443/dir", "https://ca.test.evil.test/"} {
		if _, err := m.issuer.client.Get(url); err == nil || !strings.Contains(err.Error(), "not at ca.test") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestWhatTheAuthorityRefusedWaitsLonger: for all lictors of a storage.
func TestWhatTheAuthorityRefusedWaitsLonger(t *testing.T) {
	m := newTestManager(t, "a.test")
	i := m.issuer
	refused := fmt.Errorf("validation: %w", acme.Problem{Type: acme.ProblemTypeUnauthorized, Detail: "no"})
	for n, want := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 6 * time.Hour} {
		err := i.refused(t.Context(), "a.test", i.refusals(t.Context(), "a.test"), refused)
		later, ok := errors.AsType[*laterError](err)
		if !ok || time.Until(later.at) > want || time.Until(later.at) < want-10*time.Second {
			t.Errorf("refusal %d: %v, want in %v", n+1, err, want)
		}
	}
	_, err := i.Issue(t.Context(), &x509.CertificateRequest{DNSNames: []string{"a.test"}})
	if _, ok := errors.AsType[*laterError](err); !ok {
		t.Errorf("it is asked before its time: %v", err)
	}
	away := errors.New("connection refused")
	if err := i.refused(t.Context(), "b.test", refusal{}, away); err != away || i.refusals(t.Context(), "b.test").Count > 0 {
		t.Errorf("an authority that is away counts as one that refuses: %v", err)
	}
}

func TestTriesThatFailArePacedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Manager{cfg: Config{Log: hclog.NewNullLogger()}, hosts: map[string]*host{"a.test": {name: "a.test"}}}
		m.shown.Store(&map[string]*tls.Certificate{})
		h := m.hosts["a.test"]
		for n, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
			m.done(t.Context(), h, nil, errors.New("away"))
			if got := time.Until(h.next); got != want*time.Second {
				t.Errorf("try %d: the next one is in %v, want %v s", n+1, got, int(want))
			}
		}
		if told := m.Problems(); len(told) != 1 || !strings.Contains(told[0], "acme: a.test: there is no certificate, tried in vain since 2000-01-01T00:00:00Z: away") {
			t.Errorf("told %q", told)
		}
		for n := range 30 {
			name := fmt.Sprintf("h%d.test", n)
			m.hosts[name] = &host{name: name, err: errors.New("away")}
		}
		if told := m.Problems(); len(told) != mostTold+1 || !strings.Contains(told[mostTold], "11 hosts more") {
			t.Errorf("told %q", told)
		}
	})
}

// A host that had a certificate is known before anything is read of it.
func TestAHostThatHadACertificateIsKnown(t *testing.T) {
	m := newTestManager(t)
	if err := m.cfg.Storage.Store(t.Context(), certmagic.StorageKeys.SiteCert(m.issuer.IssuerKey(), "stored.test"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.lastGoodFile("kept.test"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.shown.Store(&map[string]*tls.Certificate{"shown.test": {}})
	for _, storage := range []certmagic.Storage{m.cfg.Storage, NewKV(nil, "", nil)} {
		_, local := storage.(*certmagic.FileStorage)
		m.cfg.Storage = storage
		for name, want := range map[string]bool{"shown.test": true, "stored.test": local, "kept.test": !local, "new.test": false} {
			if m.Has(name) != want {
				t.Errorf("%s, in a local storage %v: got %v", name, local, !want)
			}
		}
	}
}

func TestAFileStorageWithoutTheHostIsEmpty(t *testing.T) {
	m := newTestManager(t, "a.test")
	if _, err := m.stored(context.Background(), "a.test"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// broken is a storage that nobody may read.
type broken struct{ certmagic.Storage }

func (broken) Load(context.Context, string) ([]byte, error) { return nil, errors.New("403") }

func TestAStorageThatFailsIsToldAndTriedAgain(t *testing.T) {
	m := newTestManager(t)
	m.cfg.Storage, m.cfg.Hosts = broken{m.cfg.Storage}, func() ([]string, int) { return []string{"a.test"}, 2 }
	m.look(t.Context())
	m.worker.Wait()
	told := strings.Join(m.Problems(), "\n")
	if !strings.Contains(told, "a.test: there is no certificate") || !strings.Contains(told, "storage: 403") || !strings.Contains(told, "2 hosts are more than max_hosts") {
		t.Errorf("told %q", told)
	}
	if next := m.hosts["a.test"].next; time.Until(next) < leastWait/2 {
		t.Errorf("tried again at %v", next)
	}
	m.cfg.Hosts = func() ([]string, int) { return nil, 0 }
	if m.look(t.Context()); len(m.hosts) > 0 || len(m.Problems()) > 0 {
		t.Error("a host that nobody wants any more is kept")
	}
}

// TestAnOldCertificateInTheStorageTakesNothingFromOneThatHolds has a storage that was
// put back to an earlier state, while the authority does not order.
func TestAnOldCertificateInTheStorageTakesNothingFromOneThatHolds(t *testing.T) {
	const name = "a.test"
	m := newTestManager(t)
	m.cfg.Hosts = func() ([]string, int) { return []string{name}, 0 }
	ca := certtest.NewCA(t)
	chain, key := certtest.Write(t, t.TempDir(), "old", ca.Until(t, time.Now().Add(time.Minute), name))
	later, err := json.Marshal(refusal{Count: 1, Next: time.Now().Add(time.Hour), Why: "too many"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(to string, text []byte) {
		t.Helper()
		if err := m.cfg.Storage.Store(t.Context(), to, text); err != nil {
			t.Fatal(err)
		}
	}
	read := func(file string) []byte {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	put(certmagic.StorageKeys.SiteCert(m.issuer.IssuerKey(), name), read(chain))
	put(certmagic.StorageKeys.SitePrivateKey(m.issuer.IssuerKey(), name), read(key))
	put(certmagic.StorageKeys.SiteMeta(m.issuer.IssuerKey(), name), []byte(`{"sans": ["a.test"]}`))
	put(refusalKey(name), later)
	fresh := ca.Issue(t, name)
	m.keepLastGood(name, &fresh)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Run(ctx) }()
	defer func() { stop(); <-ended }()
	eventually.True(t, "it is told that there is no other one", func() bool {
		return strings.Contains(strings.Join(m.Problems(), "\n"), "too many")
	})
	if got := m.Certificate(name); got == nil || !bytes.Equal(got.Certificate[0], fresh.Certificate[0]) {
		t.Error("it is not shown any more")
	}
	if kept := m.readLastGood(name); kept == nil || !bytes.Equal(kept.Certificate[0], fresh.Certificate[0]) {
		t.Error("it is not kept for the next start any more")
	}
}
