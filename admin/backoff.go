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
	freeGuesses  = 10 // wrong tokens of an address before it has to wait
	firstPenalty = time.Second
	maxPenalty   = time.Minute
	forgetAfter  = 10 * time.Minute // without another wrong one
	maxGuessers  = 4096             // addresses that are remembered
)

// backoff makes addresses wait that keep sending wrong tokens. While one waits,
// what it sends is not looked at. The zero backoff is ready to use.
type backoff struct {
	mu       sync.Mutex // guards guessers
	guessers map[netip.Addr]guesser
}

type guesser struct {
	wrong int
	last  time.Time // of the wrong ones
	until time.Time
}

// waits returns how long an address still has to wait.
func (b *backoff) waits(a netip.Addr, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.guessers[a].until.Sub(now)
}

// failed notes a wrong token.
func (b *backoff) failed(a netip.Addr, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.guessers == nil {
		b.guessers = make(map[netip.Addr]guesser)
	}
	g, known := b.guessers[a]
	if !known && len(b.guessers) >= maxGuessers {
		b.makeRoom()
	}
	if now.Sub(g.last) > forgetAfter {
		g = guesser{}
	}
	g.wrong, g.last = g.wrong+1, now
	if over := g.wrong - freeGuesses; over >= 0 {
		g.until = now.Add(min(firstPenalty<<min(over, 10), maxPenalty))
	}
	b.guessers[a] = g
}

// passed forgets what an address did wrong.
func (b *backoff) passed(a netip.Addr) {
	b.mu.Lock()
	delete(b.guessers, a)
	b.mu.Unlock()
}

// makeRoom forgets the one of a few that has been quiet the longest. The caller
// holds mu.
func (b *backoff) makeRoom() {
	var oldest netip.Addr
	looked := 0
	for a, g := range b.guessers { // in random order
		if !oldest.IsValid() || g.last.Before(b.guessers[oldest].last) {
			oldest = a
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(b.guessers, oldest)
}

// clientOf is the address that counts: of IPv6 the network, of which anybody
// has more addresses than can be remembered.
func clientOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := peer.Addr().Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if network, err := a.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}

func refuseGuess(w http.ResponseWriter, wait time.Duration) {
	seconds := int((wait + time.Second - 1) / time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	WriteError(w, http.StatusForbidden, "wrong_token", "Too many wrong tokens came from this address, try again in "+strconv.Itoa(seconds)+" s.")
}
