package admin

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// guard knows the token. Its zero value asks for none.
type guard struct {
	needed bool
	header string
	sum    atomic.Pointer[[sha256.Size]byte] // of the token
	wrong  backoff
}

func newGuard(token, header string) *guard {
	g := &guard{needed: token != "", header: cmp.Or(header, "X-Admin-Token")}
	g.set(token)
	return g
}

func (g *guard) set(token string) {
	sum := sha256.Sum256([]byte(token))
	g.sum.Store(&sum)
}

// pass reports whether r carries the token, and answers if not (X8). The right token
// is let in however many wrong ones its network has sent.
func (g *guard) pass(w http.ResponseWriter, r *http.Request) bool {
	token := g.token(r)
	switch {
	case g.right(token):
		return true
	case token == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="lictor"`)
		WriteError(w, http.StatusUnauthorized, "no_token", "The admin token is missing; send it as "+g.header+" or Authorization: Bearer.")
		return false
	}
	if wait := g.wrong.failed(networkOf(r), time.Now()); wait > 0 {
		refuseGuess(w, wait)
		return false
	}
	WriteError(w, http.StatusForbidden, "wrong_token", "The admin token is wrong.")
	return false
}

// knows reports whether r carries the token, or needs none.
func (g *guard) knows(r *http.Request) bool { return g.right(g.token(r)) }

func (g *guard) token(r *http.Request) string {
	if token := r.Header.Get(g.header); token != "" {
		return token
	}
	return bearer(r)
}

// right compares sums, which have one length, so that the time that it takes tells
// nothing of the token.
func (g *guard) right(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return !g.needed || subtle.ConstantTimeCompare(sum[:], g.sum.Load()[:]) == 1
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
