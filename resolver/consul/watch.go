package consul

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"errors"

	"github.com/hashicorp/consul/api"
)

// query is how Consul is asked.
type query struct {
	index      uint64        // 0 = answer at once
	wait       time.Duration // how long the answer may take while nothing changes
	consistent bool          // past every cache, by the leader and with a quorum
}

// meta is what Consul says about its answer.
type meta struct {
	index    uint64
	filtered bool // its ACLs hid something
}

// read asks Consul. The query has a deadline of its own, for a dead connection
// never answers; Consul adds up to a sixteenth to wait.
func (r *Resolver) read(ctx context.Context, path string, q query, out any) (meta, error) {
	ctx, cancel := context.WithTimeout(ctx, q.wait+q.wait/16+10*time.Second)
	defer cancel()
	options := &api.QueryOptions{WaitIndex: q.index, WaitTime: q.wait, RequireConsistent: q.consistent}
	m, err := r.cfg.Client.Raw().Query(path, out, options.WithContext(ctx))
	if err != nil {
		return meta{}, err
	}
	return meta{index: m.LastIndex, filtered: m.ResultsFilteredByACLs}, nil
}

// refused reports whether Consul answered err because of its ACLs.
func refused(err error) bool {
	e, ok := errors.AsType[api.StatusError](err)
	return ok && e.Code == http.StatusForbidden
}

// loop repeats a blocking query.
type loop struct {
	// step asks once, applies the answer, and returns its index.
	step func(context.Context, query) (uint64, error)

	// wait returns how long the next answer may take.
	wait func() time.Duration

	// recovered, if set, waits after a failure until it is worth to ask again,
	// on top of the backoff.
	recovered func(context.Context) error

	// pace is asked after each answer; the slowest bucket counts.
	pace []bucket
}

// run repeats until ctx ends.
func (l *loop) run(ctx context.Context) {
	var (
		index  uint64
		back   backoff
		reread = time.Now().Add(jitter(rereadEvery))
	)
	for {
		q := query{index: index, wait: l.wait()}
		if time.Now().After(reread) {
			// Watches have been known to miss a change: look without an index now and then.
			q.index, reread = 0, time.Now().Add(jitter(rereadEvery))
		}
		next, err := l.step(ctx, q)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			index = 0 // the servers may have been restored: do not block on an old index
			if sleep(ctx, back.next()) != nil || l.recovered != nil && l.recovered(ctx) != nil {
				return
			}
			continue
		}
		back = backoff{}
		index = nextIndex(index, next)
		var pause time.Duration
		for i := range l.pace {
			pause = max(pause, l.pace[i].take(time.Now()))
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// nextIndex applies Consul's rules: an index that went backwards means the
// servers lost history, so start over; an index of 0 would not block, so use 1.
func nextIndex(current, next uint64) uint64 {
	if next < current {
		return 0
	}
	return max(next, 1)
}

// backoff is the growing delay between failures: 0.25 s to 30 s, with jitter so
// that many clients of one Consul do not come back together.
type backoff struct{ failures int }

func (b *backoff) next() time.Duration {
	d := min(500*time.Millisecond<<min(b.failures, 10), 30*time.Second)
	b.failures++
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, guards nothing
}

// jitter returns something between three quarters of d and d.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/4+1) //nolint:gosec // spreads load, guards nothing
}

// bucket paces what succeeds: burst answers may be taken at once, then one per
// every. So a single change passes without delay and a storm of them does not
// keep lictor and Consul busy.
type bucket struct {
	burst int
	every time.Duration
	used  float64
	at    time.Time
}

// take returns how long to wait before the next query.
func (b *bucket) take(now time.Time) time.Duration {
	if !b.at.IsZero() {
		b.used = max(0, b.used-float64(now.Sub(b.at))/float64(b.every))
	}
	b.used++
	b.at = now
	over := b.used - float64(b.burst)
	if over <= 0 {
		return 0
	}
	return time.Duration(over * float64(b.every))
}

// sleep waits for d, or until ctx ends and returns its error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
