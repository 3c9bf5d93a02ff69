package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/files"
)

// guard knows who holds which token. Its zero value asks for none.
type guard struct {
	needed  bool
	header  string
	holders atomic.Pointer[[]*holder]
	wrong   backoff
	report  func(a *Access, err error) // is told of a token file that is another one; it must not block
}

// holder is an access whose token is known by its sum: the sums have one length, so
// that the time that comparing takes tells nothing of the token.
type holder struct {
	*Access

	mu     sync.Mutex // guards what follows
	sum    sum
	usable bool // there is a token
	looked time.Time
	stamp  files.Stamp // of the token file
}

// anybody is who asks where no token is needed.
var anybody = &Access{All: true}

func newGuard(header string, all []Access, report func(*Access, error)) (*guard, error) {
	g := &guard{needed: len(all) > 0, header: cmp.Or(header, "X-Admin-Token"), report: report}
	put, err := g.prepare(all)
	if err != nil {
		return nil, err
	}
	put()
	return g, nil
}

// prepare reads the tokens; put gives them to who holds them now. An error is a file that
// cannot be read.
func (g *guard) prepare(all []Access) (put func(), err error) {
	holders := make([]*holder, len(all))
	for i := range all {
		h := &holder{Access: &all[i], looked: time.Now()}
		token := []byte(h.Token.Reveal())
		if h.TokenFile != "" {
			h.stamp = files.StampOf(h.TokenFile)
			if token, err = readToken(h.TokenFile); err != nil {
				return nil, fmt.Errorf("admin: access %q: token_file: %w", h.Name, err)
			}
		}
		h.put(token)
		holders[i] = h
	}
	return func() { g.holders.Store(&holders) }, nil
}

func (h *holder) put(token []byte) { h.sum, h.usable = sha256.Sum256(token), len(token) > 0 }

// maxToken bounds a token file.
const maxToken = 4 << 10

// readToken reads a token, less the space around it.
func readToken(path string) ([]byte, error) {
	text, err := files.Read(path, maxToken)
	switch text = bytes.TrimSpace(text); {
	case err != nil:
		return nil, err
	case len(text) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case bytes.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return nil, fmt.Errorf("%s: want visible ASCII characters and no space", path)
	}
	return text, nil
}

// refreshEvery is how often a token file is looked at, at most: when somebody asks.
const refreshEvery = time.Second

// current returns the sum of a holder's token, ok = false if it has none. A file that
// cannot be read any more is a token that was taken away: it lets nobody in.
func (h *holder) current(now time.Time, report func(*Access, error)) (s sum, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.TokenFile != "" && now.Sub(h.looked) >= refreshEvery {
		h.looked = now
		if stamp := files.StampOf(h.TokenFile); stamp != h.stamp || stamp == (files.Stamp{}) && h.usable {
			token, err := readToken(h.TokenFile)
			h.stamp = stamp
			h.put(token)
			report(h.Access, err)
		}
	}
	return h.sum, h.usable
}

// pass returns who asks, by the token of r, and nil after it has answered if that is
// nobody (X8). The right token is let in however many wrong ones its network has sent.
func (g *guard) pass(w http.ResponseWriter, r *http.Request) *Access {
	token := g.token(r)
	who, _ := g.who(token)
	switch {
	case who != nil:
		return who
	case token == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="lictor"`)
		WriteError(w, http.StatusUnauthorized, "no_token", "The admin token is missing; send it as "+g.header+" or Authorization: Bearer.")
		return nil
	}
	if wait := g.wrong.failed(networkOf(r), time.Now()); wait > 0 {
		refuseGuess(w, wait)
		return nil
	}
	WriteError(w, http.StatusForbidden, "wrong_token", "The admin token is wrong.")
	return nil
}

func (g *guard) token(r *http.Request) string {
	if token := r.Header.Get(g.header); token != "" {
		return token
	}
	return bearer(r)
}

// who returns the holder of a token and the token's sum, nil if nobody holds it.
func (g *guard) who(token string) (*Access, sum) {
	s := sha256.Sum256([]byte(token))
	return g.holderOf(s), s
}

// holderOf returns the holder of the token with a sum, nil if nobody holds it. It
// compares with each, so that the time that it takes tells nothing.
func (g *guard) holderOf(s sum) (found *Access) {
	if !g.needed {
		return anybody
	}
	now := time.Now()
	for _, h := range *g.holders.Load() {
		own, ok := h.current(now, g.report)
		if subtle.ConstantTimeCompare(s[:], own[:]) == 1 && ok && found == nil {
			found = h.Access
		}
	}
	return found
}

// mayRead reports whether r carries a token that may read, or needs none.
func (g *guard) mayRead(r *http.Request) bool {
	who, _ := g.who(g.token(r))
	return who != nil && who.allows(Read, "")
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
