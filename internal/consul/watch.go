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

	// Ahead sends a query that waits, for Query.Asked, see [Client.Ahead]; nil, and where it
	// returns false, Step does it.
	Ahead func(ctx context.Context, q Query, answered func(*Asked)) bool

	// Wait returns how long the next answer may take while nothing changes; required.
	Wait func() time.Duration

	// Recovered waits after a failure until it is worth to ask again, on top of the
	// backoff; nil = at once.
	Recovered func(context.Context) error

	Pause   time.Duration // before the first query
	Index   uint64        // to begin with; 0 = the first answer comes at once
	Reread  time.Duration // how often to ask without an index, whatever is believed: watches have been known to miss a change; 0 = never
	Pace    []Bucket      // asked after each answer; the slowest counts
	Contact *Contact      // whoever hears Consul wakes the watch; nil = nobody does
	Nudge   *Nudge        // gives up a query whose connection may be dead; nil = nobody does

	index  uint64
	known  uint64 // of the last answer, over failures
	back   Backoff
	idle   Pace
	reread time.Time
}

// Run repeats until ctx ends, and blocks until then.
func (w *Watch) Run(ctx context.Context) {
	done := make(chan struct{})
	w.run(ctx, func() { close(done) })
	<-done
}

// Start is a Run of its own that calls ended at last. While a query waits that Ahead sent
// it takes no goroutine.
func (w *Watch) Start(ctx context.Context, ended func()) {
	crash.Go("consul answer", func() { w.run(ctx, ended) }, ended)
}

func (w *Watch) run(ctx context.Context, ended func()) {
	w.index, w.known, w.reread = w.Index, w.Index, time.Now().Add(pace.Jitter(w.Reread))
	if w.Contact == nil {
		w.Contact = NewContact()
	}
	if pace.Sleep(ctx, w.Pause) != nil {
		ended()
		return
	}
	w.resume(ctx, ended)
}

// resume asks again and again, until ctx ends or a query waits that was sent ahead.
func (w *Watch) resume(ctx context.Context, ended func()) {
	for {
		t := w.next(ctx)
		if w.ahead(ctx, t, ended) {
			return
		}
		if !w.finish(ctx, t) {
			ended()
			return
		}
	}
}

// turn is one query of a watch.
type turn struct {
	q     Query
	ctx   context.Context
	done  func() (nudged bool)
	began time.Time
}

// next returns what is to be asked now.
func (w *Watch) next(ctx context.Context) *turn {
	t := &turn{q: Query{Index: w.index, Known: w.known, Wait: w.Wait()}, began: time.Now()}
	if w.Reread > 0 && time.Now().After(w.reread) {
		t.q.Index, w.reread = 0, time.Now().Add(pace.Jitter(w.Reread))
	}
	fresh := false
	if t.ctx, fresh, t.done = w.Nudge.begin(ctx); fresh {
		t.q.Fresh, t.q.Index = true, 0
	}
	return t
}

// ahead sends a query, if it can, and goes on when it is answered.
func (w *Watch) ahead(ctx context.Context, t *turn, ended func()) bool {
	return w.Ahead != nil && w.Ahead(t.ctx, t.q, func(a *Asked) {
		crash.Go("consul answer", func() {
			if t.q.Asked = a; w.finish(ctx, t) {
				w.resume(ctx, ended)
				return
			}
			ended()
		}, ended)
	})
}

// finish does a step, and pauses behind it. It reports whether to go on. If it is nudged
// while it waits, the answer does not count.
func (w *Watch) finish(ctx context.Context, t *turn) bool {
	var next uint64
	err := Contain(func() (err error) {
		next, err = w.Step(t.ctx, t.q)
		return err
	})
	t.q.Asked.End()
	nudged := t.done()
	switch {
	case ctx.Err() != nil:
		return false
	case nudged:
		return true
	case err != nil:
		w.index = 0 // the servers may have been restored: do not block on an old index
		return w.back.Wait(ctx, w.Contact) == nil && (w.Recovered == nil || w.Recovered(ctx) == nil)
	}
	w.back.Reset()
	pause := w.idle.After(t.q.Index, next, time.Since(t.began), t.q.Wait)
	w.index, w.known = NextIndex(w.index, next), next
	for i := range w.Pace {
		pause = max(pause, w.Pace[i].Take(time.Now()))
	}
	return pace.Sleep(ctx, pause) == nil
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
