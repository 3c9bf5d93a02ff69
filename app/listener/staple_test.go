package listener

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lictor/app/listener/certtest"
)

// TestOCSPAnswersThatClientsWouldRefuseAreNotSent puts files beside a certificate.
func TestOCSPAnswersThatClientsWouldRefuseAreNotSent(t *testing.T) {
	ca, other := certtest.NewCA(t), certtest.NewCA(t)
	cert := ca.Issue(t, "site.test")
	cert.Certificate = append(cert.Certificate, ca.Cert.Raw)
	now := time.Now()
	good := ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	with := func(edit func(*ocsp.Response)) ocsp.Response { r := good; edit(&r); return r }
	tests := []struct {
		name   string
		answer []byte
		sent   bool
	}{
		{"a good one", ca.OCSP(t, cert, good), true},
		{"one without an end", ca.OCSP(t, cert, with(func(r *ocsp.Response) { r.NextUpdate = time.Time{} })), true},
		{"garbage", []byte("\x30\x03not an answer"), false},
		{"nothing", nil, false},
		{"one that ran out", ca.OCSP(t, cert, with(func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Minute) })), false},
		{"one of tomorrow", ca.OCSP(t, cert, with(func(r *ocsp.Response) { r.ThisUpdate = now.Add(24 * time.Hour) })), false},
		{"one that says revoked", ca.OCSP(t, cert, with(func(r *ocsp.Response) { r.Status = ocsp.Revoked; r.RevokedAt = now })), false},
		{"one that does not know", ca.OCSP(t, cert, with(func(r *ocsp.Response) { r.Status = ocsp.Unknown })), false},
		{"one about another certificate", ca.OCSP(t, ca.Issue(t, "site.test"), good), false},
		{"one that somebody else signed", other.OCSP(t, cert, good), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, k := certtest.Write(t, t.TempDir(), "site", cert)
			if err := os.WriteFile(c+".ocsp", tt.answer, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newTestTLS(t, TLSConfig{Pairs: []Pair{{c, k}}})
			state, err := shake(t, s.Config(), &tls.Config{RootCAs: ca.Pool(), ServerName: "site.test"})
			if err != nil {
				t.Fatal(err)
			}
			if sent := len(state.OCSPResponse) > 0; sent != tt.sent {
				t.Errorf("sent: %v, want %v", sent, tt.sent)
			}
			if noted := len(s.current.Load().notes()) > 0; noted == tt.sent {
				t.Errorf("told: %v, want %v", noted, !tt.sent)
			}
		})
	}
}

// TestAPipeInPlaceOfAnOCSPAnswerIsNone: with it everything would be looked at no more.
func TestAPipeInPlaceOfAnOCSPAnswerIsNone(t *testing.T) {
	ca := certtest.NewCA(t)
	cert := ca.Issue(t, "site.test")
	file := filepath.Join(t.TempDir(), "site.ocsp")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, _, err := readStaple(file, &cert, time.Now())
		read <- err
	}()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "is no file") {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for who writes to the pipe")
	}
}

// TestOCSPAnswerThatRunsOutIsDropped looks at the files when its time is over.
func TestOCSPAnswerThatRunsOutIsDropped(t *testing.T) {
	ca := certtest.NewCA(t)
	cert := ca.Issue(t, "site.test")
	c, k := certtest.Write(t, t.TempDir(), "site", cert)
	now := time.Now()
	answer := ca.OCSP(t, cert, ocsp.Response{Status: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(time.Hour)})
	if err := os.WriteFile(c+".ocsp", answer, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := TLSConfig{Pairs: []Pair{{c, k}}}
	m, err := load(&cfg, new(material), now)
	if err != nil || m.changed(&cfg, now) || len(m.held[0].cert.OCSPStaple) == 0 {
		t.Fatalf("%v, or it is not in use", err)
	}
	late := now.Add(2 * time.Hour)
	if !m.changed(&cfg, late) {
		t.Error("nobody notices that it ran out")
	}
	former := m
	if m, err = load(&cfg, former, late); err != nil || m.held[0].cert.OCSPStaple != nil || m.changed(&cfg, late) {
		t.Errorf("%v, or it is still in use", err)
	}
	if err := os.WriteFile(c, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err = load(&cfg, former, late); err != nil || m.held[0].cert == nil || m.held[0].cert.OCSPStaple != nil || m.changed(&cfg, late) {
		t.Errorf("%v, or it is in use for as long as the file is nonsense, or the certificate is not", err)
	}
}

// TestClientsAreVerifiedByTheAuthoritiesOfNow replaces the file of authorities.
func TestClientsAreVerifiedByTheAuthoritiesOfNow(t *testing.T) {
	dir, ca, next := t.TempDir(), certtest.NewCA(t), certtest.NewCA(t)
	c, k := certtest.Write(t, dir, "site", ca.Issue(t, "site.test"))
	s := newTestTLS(t, TLSConfig{Pairs: []Pair{{c, k}}, ClientCAFile: ca.WriteCA(t, dir)})
	changes := 0
	s.OnChange(func() { changes++ })
	parse := func(cert tls.Certificate) []*x509.Certificate {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{leaf}
	}
	old, new := parse(ca.Issue(t, "me")), parse(next.Issue(t, "me"))
	end := old[0].NotAfter // the authority, made a moment before, may end a moment before
	if until, err := s.Verify(old); err != nil || until.After(end) || until.Before(end.Add(-time.Minute)) {
		t.Errorf("got %v, %v, want %v", until, err, end)
	}
	next.WriteCA(t, dir)
	if s.look(time.Now()); changes != 1 {
		t.Errorf("%d changes", changes)
	}
	if _, err := s.Verify(old); err == nil {
		t.Error("one of the former authority is good")
	}
	if _, err := s.Verify(new); err != nil {
		t.Error(err)
	}
	if _, err := s.Verify(nil); err == nil {
		t.Error("no certificate is good")
	}
}
