package admin

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Limits on guessing the token (X8).
const (
	freeGuesses    = 10  // wrong tokens of a network before they are slowed
	freeOfAll      = 100 // the same of everybody together
	firstPenalty   = time.Second
	maxPenalty     = time.Minute
	forgetAfter    = 10 * time.Minute // without another wrong one
	maxGuessers    = 4096             // networks that are remembered
	guesserPrefix4 = 24
	guesserPrefix6 = 64
)

// everybody stands for all networks together.
var everybody netip.Prefix

// backoff makes networks wait that keep sending wrong tokens. It is asked only
// about wrong ones: whoever has the right one is let in whatever others do from
// the same address. The zero backoff is ready to use.
type backoff struct {
	mu       sync.Mutex // guards guessers
	guessers map[netip.Prefix]guesser
}

type guesser struct {
	wrong int
	last  time.Time // of the wrong ones
	until time.Time
}

// failed notes a wrong token and returns how long its sender has to wait before
// the next one, 0 if not at all.
func (b *backoff) failed(from netip.Prefix, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.guessers == nil {
		b.guessers = make(map[netip.Prefix]guesser)
	}
	return max(b.count(everybody, freeOfAll, now), b.count(from, freeGuesses, now))
}

// count notes a wrong token of a network. One that comes while it has to wait
// makes the wait no longer. The caller holds mu.
func (b *backoff) count(from netip.Prefix, free int, now time.Time) time.Duration {
	g, known := b.guessers[from]
	if wait := g.until.Sub(now); wait > 0 {
		return wait
	}
	if !known && len(b.guessers) >= maxGuessers {
		b.makeRoom()
	}
	if now.Sub(g.last) > forgetAfter {
		g = guesser{}
	}
	g.wrong, g.last = g.wrong+1, now
	if over := g.wrong - free; over > 0 {
		g.until = now.Add(min(firstPenalty<<min(over-1, 10), maxPenalty))
	}
	b.guessers[from] = g
	return g.until.Sub(now)
}

// makeRoom forgets the one of a few that has been quiet the longest. The caller
// holds mu.
func (b *backoff) makeRoom() {
	var oldest netip.Prefix
	looked := 0
	for p, g := range b.guessers { // in random order
		if p == everybody {
			continue
		}
		if !oldest.IsValid() || g.last.Before(b.guessers[oldest].last) {
			oldest = p
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(b.guessers, oldest)
}

// networkOf is what counts of a client's address: who has one address usually
// has the others of its network.
func networkOf(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0) // a unix socket
	}
	a, bits := peer.Addr().Unmap().WithZone(""), guesserPrefix6
	if a.Is4() {
		bits = guesserPrefix4
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// refuseGuess answers a wrong token that comes too soon.
func refuseGuess(w http.ResponseWriter, wait time.Duration) {
	why := slowDown(w, wait)
	WriteError(w, why.Status, why.Reason, why.Message)
}

// slowDown refuses a wrong token that comes too soon. The connection ends, so
// that each further one costs a new one.
func slowDown(w http.ResponseWriter, wait time.Duration) *Refusal {
	seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	w.Header().Set("Retry-After", seconds)
	w.Header().Set("Connection", "close")
	return &Refusal{
		Status: http.StatusTooManyRequests, Reason: "wrong_token",
		Message: "The admin token is wrong, and too many wrong ones came before it; try again in " + seconds + " s.",
	}
}
