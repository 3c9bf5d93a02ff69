// Package longlived keeps the exchanges that take long, on either listener: slow
// answers, large bodies, tunnels. They are decided again when the policy changes,
// and now and then, since a credential may have run out; what is forbidden by now
// is cut (X14), and so is what is over its time.
package longlived

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/internal/guarded"
	"lictor/policy"
	"lictor/proxy/answer"
)

// What an exchange is cut with.
var (
	ErrRevoked = errors.New("proxy: the policy forbids it by now")
	ErrTooLong = errors.New("proxy: it is over its time")
)

// Facts are what an exchange was let pass by, in memory of their own.
type Facts interface {
	// Recheck decides again, by what is in force. The zero Refusal lets the
	// exchange go on. It is called on the goroutine of [Registry.Run].
	Recheck() answer.Refusal
}

// Connection is what an exchange runs on.
type Connection interface {
	// Cut ends what the connection does, with an error. It may be called often,
	// and by another goroutine than the connection's.
	Cut(err error)
}

// Registry holds the exchanges of one listener. [New] makes one.
type Registry struct {
	changed chan struct{} // what was decided before may not hold any more
	entries guarded.Set[*Entry]
	began   time.Time
	next    atomic.Int64 // since began, in nanoseconds: until then no entry is to be cut
}

// Entry is one exchange in a Registry.
type Entry struct {
	registry *Registry
	conn     Connection
	facts    Facts
	until    time.Time // zero = no limit

	mu      sync.Mutex // guards what follows
	over    bool       // the exchange ended: conn serves another one by now
	cause   error      // why it is to be cut; nil if it is not
	refused answer.Refusal
}

// New returns an empty Registry.
func New() *Registry {
	r := &Registry{changed: make(chan struct{}, 1), began: time.Now()}
	r.next.Store(math.MaxInt64)
	return r
}

// Add enters an exchange, until [Entry.End]. It is cut at the time until, if that
// is not zero.
func (r *Registry) Add(conn Connection, facts Facts, until time.Time) *Entry {
	e := &Entry{registry: r, conn: conn, facts: facts, until: until}
	r.entries.Add(e)
	if !until.IsZero() {
		r.cutsBy(int64(until.Sub(r.began)))
	}
	return e
}

// cutsBy says that an entry is to be cut at a time.
func (r *Registry) cutsBy(at int64) {
	for next := r.next.Load(); at < next && !r.next.CompareAndSwap(next, at); {
		next = r.next.Load()
	}
}

// Len is how many exchanges there are.
func (r *Registry) Len() int { return r.entries.Len() }

// Changed has every exchange decided again, soon. It does not wait.
func (r *Registry) Changed() {
	select {
	case r.changed <- struct{}{}:
	default: // is due already
	}
}

// End takes the exchange out. It returns why it was cut, nil if it was not, and
// the refusal if that was by the policy.
func (e *Entry) End() (refused answer.Refusal, cause error) {
	r := e.registry
	r.entries.Remove(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	return e.refused, e.cause
}

const (
	// recut is how often a cut is repeated until the exchange ended: what it
	// waits for may have begun just after the last one.
	recut = 100 * time.Millisecond
	// recheckEvery bounds how long an exchange outlives its credential.
	recheckEvery = 5 * time.Second
)

// Run decides again and cuts, until ctx ends. It sees a change of the policy in
// force even if nobody tells of it.
func (r *Registry) Run(ctx context.Context, inForce func() *policy.Set) {
	tick, due := time.NewTicker(recut), time.NewTicker(recheckEvery)
	defer tick.Stop()
	defer due.Stop()
	last := inForce()
	for {
		changed := true
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		case <-due.C:
		case <-tick.C:
			changed = false
		}
		if set := inForce(); set != last {
			last, changed = set, true
		}
		r.review(changed)
	}
}

func (r *Registry) review(changed bool) {
	defer crash.Contain("review of what takes long", nil) // the next time is tried again
	if changed {
		for _, e := range r.entries.All() {
			e.recheck()
		}
	}
	if int64(time.Since(r.began)) < r.next.Load() {
		return // there may be many, and hardly ever one to cut
	}
	r.next.Store(math.MaxInt64) // before the look at them: what comes meanwhile is not forgotten
	for _, e := range r.entries.All() {
		e.cut()
	}
}

func (e *Entry) recheck() {
	refused := e.facts.Recheck()
	if refused.Status == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused.Status == 0 && !e.over {
		e.registry.cutsBy(0)
		e.cause, e.refused = ErrRevoked, refused
	}
}

// cut ends the exchange if it was found forbidden, or is over its time, and says when
// to look again.
func (e *Entry) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil && !e.until.IsZero() && time.Now().After(e.until) {
		e.cause = ErrTooLong
	}
	switch {
	case e.over:
	case e.cause != nil:
		e.registry.cutsBy(0) // until it is over
		e.conn.Cut(e.cause)
	case !e.until.IsZero():
		e.registry.cutsBy(int64(e.until.Sub(e.registry.began)))
	}
}
