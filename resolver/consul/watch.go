package consul

import (
	"context"
	"sync"
	"time"

	client "lictor/internal/consul"
)

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
	pace []client.Bucket

	contact *client.Contact // nil: nobody wakes it
	nudge   *nudge          // nil: nobody nudges it
}

// run repeats until ctx ends.
func (l *loop) run(ctx context.Context) {
	var (
		index  uint64
		back   client.Backoff
		idle   client.Pace
		reread = time.Now().Add(client.Jitter(rereadEvery))
	)
	if l.contact == nil {
		l.contact = client.NewContact()
	}
	for {
		q := query{Index: index, Wait: l.wait()}
		if time.Now().After(reread) {
			// Watches have been known to miss a change: look without an index now and then.
			q.Index, reread = 0, time.Now().Add(client.Jitter(rereadEvery))
		}
		began := time.Now()
		next, nudged, err := l.ask(ctx, q)
		if ctx.Err() != nil {
			return
		}
		if nudged {
			continue
		}
		if err != nil {
			index = 0 // the servers may have been restored: do not block on an old index
			if back.Wait(ctx, l.contact) != nil || l.recovered != nil && l.recovered(ctx) != nil {
				return
			}
			continue
		}
		back.Reset()
		pause := idle.After(q.Index, next, time.Since(began), q.Wait)
		index = client.NextIndex(index, next)
		for i := range l.pace {
			pause = max(pause, l.pace[i].Take(time.Now()))
		}
		if client.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// ask does one step. If it is nudged while it waits, the answer does not count.
func (l *loop) ask(ctx context.Context, q query) (next uint64, nudged bool, err error) {
	ctx, fresh, done := l.nudge.begin(ctx)
	if fresh {
		q.Fresh, q.Index = true, 0
	}
	err = contain(func() (err error) {
		next, err = l.step(ctx, q)
		return err
	})
	return next, done(), err
}

// nudge tells a watch that its connection may be dead: the query that runs is
// given up, and the next one is asked without an index on a new connection.
type nudge struct {
	mu     sync.Mutex
	cancel context.CancelFunc // of the query that runs; nil = none
	set    bool
}

// now gives the running query up.
func (n *nudge) now() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set = true
	if n.cancel != nil {
		n.cancel()
	}
}

// begin starts a query, which is to be a fresh one if n was nudged. done ends
// it and reports whether it was nudged meanwhile.
func (n *nudge) begin(ctx context.Context) (asked context.Context, fresh bool, done func() bool) {
	if n == nil {
		return ctx, false, func() bool { return false }
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh, n.set = n.set, false
	asked, cancel := context.WithCancel(ctx)
	n.cancel = cancel
	return asked, fresh, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		cancel()
		n.cancel = nil
		return n.set
	}
}
