package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// errCalm sends a client away that has us work for nothing.
var errCalm = &connError{http2.ErrCodeEnhanceYourCalm, "too much for nothing"}

// guard counts what costs a client less than us. Its zero value is ready.
type guard struct {
	resets allowance // streams that were given up, or spoilt by the client
	cheap  allowance // frames that bring no request further
}

// Rates that no honest client comes near: a browser that leaves a page, a
// caller that cancels all it has under way.
const (
	resetBurst, resetRate = 500, 50
	cheapBurst, cheapRate = 2000, 500
)

// maxEarned bounds the frames by which a client may make room for what was
// written, at any later time. It earns two with each frame of an answer, as some
// tell stream and connection of every one, and one with each KiB.
const maxEarned = 1 << 20

// idle counts a frame that brings no request further.
func (g *guard) idle(now time.Time) error {
	if !g.cheap.takeOf(now, cheapBurst, cheapRate) {
		return errCalm
	}
	return nil
}

// worked counts something that did bring a request further: it earns the
// client so many frames that do not.
func (g *guard) worked(earned float64) { g.cheap.used = max(0, g.cheap.used-earned) }

// allowance is a bucket of tokens that fills with time.
type allowance struct {
	used float64
	at   time.Time
}

// take takes one token out of the bucket for resets.
func (a *allowance) take(now time.Time) bool { return a.takeOf(now, resetBurst, resetRate) }

func (a *allowance) takeOf(now time.Time, burst, rate float64) bool {
	a.used = max(0, a.used-now.Sub(a.at).Seconds()*rate) + 1
	a.at = now
	return a.used <= burst
}
