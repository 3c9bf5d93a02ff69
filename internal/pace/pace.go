// Package pace waits: for a while, again and again, and longer and longer while
// something fails. Each wait ends with its context.
package pace

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d, or until ctx ends and returns its error.
func Sleep(ctx context.Context, d time.Duration) error { return Doze(ctx, d, nil) }

// Doze is a Sleep that wake ends early; nil never does.
func Doze(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-t.C:
	}
	return nil
}

// Every calls f with the time again and again, d after it began for the first time,
// until ctx ends. A call that takes longer than d costs those that it is in the way of.
func Every(ctx context.Context, d time.Duration, f func(now time.Time)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f(now)
		}
	}
}

// Jitter returns something between three quarters of d and d, so that many who
// began together do not come together.
func Jitter(d time.Duration) time.Duration {
	return d - rand.N(d/4+1) // spreads load, guards nothing
}

// Backoff is the growing pause between failures: twice as long each time, each with
// [Jitter].
type Backoff struct {
	First time.Duration // the longest that the first pause may be; required
	Most  time.Duration // the longest that any pause may be; required

	next time.Duration // 0 = First
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	d := min(max(b.next, b.First), b.Most)
	b.next = min(2*d, b.Most)
	return Jitter(d)
}

// Reset notes a success.
func (b *Backoff) Reset() { b.next = 0 }
