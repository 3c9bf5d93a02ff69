package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// solver puts challenges into the storage, where any lictor finds them: behind a
// balancer nobody knows which one the authority asks. It implements [acmez.Solver].
type solver struct{ storage certmagic.Storage }

func challengeKey(kind, name string) string {
	return "challenges/" + kind + "/" + certmagic.StorageKeys.Safe(name)
}

// Present implements [acmez.Solver].
func (s *solver) Present(ctx context.Context, c acme.Challenge) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.storage.Store(ctx, challengeKey(c.Type, c.Identifier.Value), text)
}

// CleanUp implements [acmez.Solver].
func (s *solver) CleanUp(ctx context.Context, c acme.Challenge) error {
	return s.storage.Delete(context.WithoutCancel(ctx), challengeKey(c.Type, c.Identifier.Value))
}

// pending returns the challenge of a type for a host, if there is one. Only hosts
// that a certificate is wanted for are looked for, and each once at a time: who asks
// may be anybody.
func (m *Manager) pending(ctx context.Context, kind, name string) (c acme.Challenge, ok bool) {
	m.mu.Lock()
	wanted := m.hosts[name] != nil
	m.mu.Unlock()
	if !wanted || !m.cfg.answers(kind) {
		return c, false
	}
	key := challengeKey(kind, name)
	return m.lookups.find(ctx, key, func(ctx context.Context) (c acme.Challenge, ok bool) {
		text, err := m.cfg.Storage.Load(ctx, key)
		return c, err == nil && json.Unmarshal(text, &c) == nil && c.Identifier.Value == name && c.Type == kind
	})
}

// Answer answers a GET below /.well-known/acme-challenge/, by HTTP-01 (RFC 8555
// 8.3), and reports whether it did. It blocks for as long as the storage takes, 5 s
// at most, and once more for one that began before.
func (m *Manager) Answer(w http.ResponseWriter, r *http.Request) bool {
	name := r.Host
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		name = host
	}
	c, ok := m.pending(r.Context(), acme.ChallengeTypeHTTP01, strings.ToLower(name))
	if !ok || r.URL.Path != c.HTTP01ResourcePath() {
		return false
	}
	_, err := w.Write([]byte(c.KeyAuthorization))
	return err == nil
}

// Protocol is what is agreed on in a handshake that is a challenge and nothing else
// (RFC 8737).
const Protocol = acmez.ACMETLS1Protocol

// Challenge returns the certificate that answers a handshake of TLS-ALPN-01 (RFC
// 8737), nil if it is none or no challenge is pending. It blocks as Answer does.
func (m *Manager) Challenge(hello *tls.ClientHelloInfo) *tls.Certificate {
	return m.challenge(hello.Context(), hello)
}

func (m *Manager) challenge(ctx context.Context, hello *tls.ClientHelloInfo) *tls.Certificate {
	if !slices.Equal(hello.SupportedProtos, []string{Protocol}) {
		return nil
	}
	c, ok := m.pending(ctx, acme.ChallengeTypeTLSALPN01, strings.ToLower(hello.ServerName))
	if !ok {
		return nil
	}
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return nil
	}
	return cert
}
