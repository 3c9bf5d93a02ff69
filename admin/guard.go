package admin

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// guard knows the token. Its zero value asks for none.
type guard struct {
	needed bool
	header string
	sum    [sha256.Size]byte // of the token
	wrong  backoff
}

func newGuard(token, header string) *guard {
	return &guard{needed: token != "", header: cmp.Or(header, "X-Admin-Token"), sum: sha256.Sum256([]byte(token))}
}

// pass reports whether r carries the token, and answers if not (X8).
func (g *guard) pass(w http.ResponseWriter, r *http.Request) bool {
	if !g.needed {
		return true
	}
	token := r.Header.Get(g.header)
	if token == "" {
		token = bearer(r)
	}
	if token == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="lictor"`)
		WriteError(w, http.StatusUnauthorized, "no_token", "The admin token is missing; send it as "+g.header+" or Authorization: Bearer.")
		return false
	}
	client, now := clientOf(r), time.Now()
	if wait := g.wrong.waits(client, now); wait > 0 {
		refuseGuess(w, wait)
		return false
	}
	// Sums are of one length, so the time says nothing about the token.
	if sum := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(sum[:], g.sum[:]) != 1 {
		g.wrong.failed(client, now)
		WriteError(w, http.StatusForbidden, "wrong_token", "The admin token is wrong.")
		return false
	}
	g.wrong.passed(client)
	return true
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
