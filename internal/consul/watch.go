package consul

import (
	"context"
	"errors"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/pace"
)

// Watch repeats a blocking query. It is the one place for Consul's rules:
//
//   - An index that went backwards means that the servers lost history, and one
//     after a failure may be of other servers: both begin at 0, without waiting.
//     An index of 0 would never wait, so it becomes 1. Whether it went backwards
//     [Client.Get] makes sure of, by [Query.Known].
//   - A new index does not promise new data: Step compares what it reads with what
//     is known.
//   - A query has a deadline of its own (see [Client.Get]), and Wait bounds how
//     long a Consul that lost its history leaves it without an answer.
//   - Failures are paused behind by [Backoff], successes by Pace, and a Consul that
//     does not block by [Pace].
//   - A panic in Step is a failure of this answer and of nothing else.
type Watch struct {
	// Step asks once, applies the answer and returns the index to ask from next;
	// required. It is not called again before it has returned.
	Step func(context.Context, Query) (uint64, error)

	// Ahead sends a query, for Query.Asked, and waits for its answer, see [Client.Ahead]; nil =
	// Step does it. With it Step is aside: a watch of very many keeps no more stack than
	// Ahead takes.
	Ahead func(context.Context, Query) *Asked

	// Wait returns how long the next answer may take while nothing changes; required.
	Wait func() time.Duration

	// Recovered waits after a failure until it is worth to ask again, on top of the
	// backoff; nil = at once.
	Recovered func(context.Context) error

	Index   uint64        // to begin with; 0 = the first answer comes at once
	Reread  time.Duration // how often to ask without an index, whatever is believed: watches have been known to miss a change; 0 = never
	Pace    []Bucket      // asked after each answer; the slowest counts
	Contact *Contact      // whoever hears Consul wakes the watch; nil = nobody does
	Nudge   *Nudge        // gives up a query whose connection may be dead; nil = nobody does
}

// Run repeats until ctx ends, and blocks until then.
func (w *Watch) Run(ctx context.Context) {
	var (
		index  = w.Index
		known  = w.Index // of the last answer, over failures
		back   Backoff
		idle   Pace
		reread = time.Now().Add(pace.Jitter(w.Reread))
	)
	if w.Contact == nil {
		w.Contact = NewContact()
	}
	for {
		q := Query{Index: index, Known: known, Wait: w.Wait()}
		if w.Reread > 0 && time.Now().After(reread) {
			q.Index, reread = 0, time.Now().Add(pace.Jitter(w.Reread))
		}
		began := time.Now()
		next, nudged, err := w.ask(ctx, q)
		if ctx.Err() != nil {
			return
		}
		if nudged {
			continue
		}
		if err != nil {
			index = 0 // the servers may have been restored: do not block on an old index
			if back.Wait(ctx, w.Contact) != nil || w.Recovered != nil && w.Recovered(ctx) != nil {
				return
			}
			continue
		}
		back.Reset()
		pause := idle.After(q.Index, next, time.Since(began), q.Wait)
		index, known = NextIndex(index, next), next
		for i := range w.Pace {
			pause = max(pause, w.Pace[i].Take(time.Now()))
		}
		if pace.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// ask does one step. If it is nudged while it waits, the answer does not count.
func (w *Watch) ask(ctx context.Context, q Query) (next uint64, nudged bool, err error) {
	ctx, fresh, done := w.Nudge.begin(ctx)
	if fresh {
		q.Fresh, q.Index = true, 0
	}
	do := Contain
	if w.Ahead != nil {
		do, q.Asked = Aside, w.Ahead(ctx, q)
		defer q.Asked.End()
	}
	err = do(func() (err error) {
		next, err = w.Step(ctx, q)
		return err
	})
	return next, done(), err
}

// ErrPanic is what [Contain] returns for work that raised a panic.
var ErrPanic = errors.New("the answer raised a panic")

// Contain does the work about one answer and returns its error. A panic in it is
// logged and counted, and an error of this answer alone.
func Contain(work func() error) (err error) {
	err = ErrPanic
	defer crash.Contain("consul answer", nil)
	return work()
}

// Nudge tells a watch that its connection may be dead: the query that runs is
// given up, and the next one is asked without an index on a new connection. The
// zero Nudge is ready; it belongs to one [Watch].
type Nudge struct {
	mu     sync.Mutex
	cancel context.CancelFunc // of the query that runs; nil = none
	set    bool
}

// Now gives the running query up. It does not wait for the next one.
func (n *Nudge) Now() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set = true
	if n.cancel != nil {
		n.cancel()
	}
}

// begin starts a query, which is to be a fresh one if n was nudged. done ends
// it and reports whether it was nudged meanwhile.
func (n *Nudge) begin(ctx context.Context) (asked context.Context, fresh bool, done func() bool) {
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
