package listener

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/app/listener/certtest"
)

// source has certificates by host, and one for challenges.
type source struct {
	all       map[string]*tls.Certificate
	challenge *tls.Certificate
}

func (s *source) Certificate(name string) *tls.Certificate { return s.all[name] }
func (s *source) All() map[string]*tls.Certificate         { return s.all }
func (s *source) Problems() []string                       { return []string{"told"} }
func (s *source) Challenge(hello *tls.ClientHelloInfo) *tls.Certificate {
	if slices.Equal(hello.SupportedProtos, []string{ChallengeProtocol}) {
		return s.challenge
	}
	return nil
}

func TestCertificatesOfASourceComeBehindThoseOfFiles(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	keep := func(names ...string) *tls.Certificate {
		cert := ca.Issue(t, names...)
		c, k := certtest.Write(t, t.TempDir(), "x", cert)
		read, err := Pair{c, k}.Load()
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	src := &source{all: map[string]*tls.Certificate{"a.test": keep("source a", "a.test"), "b.test": keep("source b", "b.test")}}
	c, k := certtest.Write(t, dir, "a", ca.Issue(t, "file a", "a.test"))
	shown := func(s *TLS, server string, protos ...string) string {
		state, err := shake(t, s.Config(), &tls.Config{ServerName: server, InsecureSkipVerify: true, NextProtos: protos})
		if err != nil {
			return "none"
		}
		return state.PeerCertificates[0].Subject.CommonName + " " + state.NegotiatedProtocol
	}
	files := newTestTLS(t, TLSConfig{Pairs: []Pair{{c, k}}, Source: src, ClientCAFile: ca.WriteCA(t, t.TempDir())})
	if got := shown(files, "a.test", ChallengeProtocol); got != "none" {
		t.Errorf("a challenge that is not pending: %s", got)
	}
	alone, err := NewTLS(TLSConfig{Source: src, Protocols: []string{"h2"}, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	both := newTestTLS(t, TLSConfig{Pairs: []Pair{{c, k}}, Source: src})
	for _, tt := range []struct {
		name   string
		tls    *TLS
		server string
		want   string
	}{
		{"a file first", both, "a.test", "file a h2"},
		{"a host that no file has, in capitals and with a dot", both, "B.TEST.", "source b h2"},
		{"an unknown one gets the first of the files", both, "c.test", "file a h2"},
		{"an unknown one where there are no files", alone, "c.test", "source a h2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := shown(tt.tls, tt.server, "h2"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	src.challenge = keep("challenge", "a.test")
	if got := shown(files, "a.test", ChallengeProtocol); got != "challenge "+ChallengeProtocol {
		t.Errorf("a challenge that is pending, where clients must show certificates: %s", got)
	}
	if got := shown(files, "a.test", "h2"); got != "none" {
		t.Errorf("a client without a certificate is let in while a challenge is pending: %s", got)
	}
	if got := alone.Shown(); len(got) != 2 || got["b.test"].Expires.IsZero() {
		t.Errorf("shown: %v", got)
	}
	if told := alone.Problems(); !slices.Equal(told, []string{"told"}) {
		t.Errorf("told: %q", told)
	}
}
