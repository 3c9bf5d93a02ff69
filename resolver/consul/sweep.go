package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/pace"
)

// Services beyond the room (see room.go) have no blocking query of their own. They
// are read again when something moved that may be theirs:
//
//   - a check became critical or warning, or ceased to be: two more watches
//     name the services, which are read at once;
//   - an instance was registered or went: the list of names wakes up without
//     saying which, but an overview of all services does (summary.go);
//   - if that shows nothing either, an instance may have changed in place:
//     all are read, within sweepLazy.
//
// What an overview costs grows with the catalog: from a few milliseconds to half a
// second of 10,000 services. So it is taken the sooner, and the more often, the less it
// takes: a change to one of a thousand services is seen within a quarter of a second, to
// one of very many within seconds, in place within sweepLazy, and each is read every
// rereadEvery whatever happens.
const (
	sweepers   = 8                    // queries at the same time
	sweepPace  = 4 * time.Millisecond // of waiting for each service that was read again
	sweepRest  = time.Second          // at most, before one that moved is read
	sweepSlice = 100                  // of all that are read for no reason of their own: one that moved waits for no more of them
	sweepLazy  = 15 * time.Second

	// An overview is taken as long after a registration as it takes, to see those that
	// come together, and takes a tenth of the time, both within bounds.
	leastDelay, mostDelay = 20 * time.Millisecond, 300 * time.Millisecond
	lookShare             = 10
	leastPace, mostPace   = 200 * time.Millisecond, time.Second // from one overview to the next
)

// sweeper knows which services are to be read again. Resolver.mu guards all of it.
type sweeper struct {
	members map[*follower]due
	fresh   []*follower   // wanted by somebody who waits, not read yet
	hurry   chan struct{} // tells that fresh has something
	next    time.Time     // when all are due; zero = not set
	look    time.Time     // when an overview is due; zero = never
	looked  time.Time     // when the last one was taken
	took    time.Duration // how long it took
	kick    chan struct{}
}

// due is why a service is to be read again.
type due uint8

const (
	notDue due = iota
	lazily     // all are read now and then
	moved      // it is known to have moved, or could not be read
)

// rests are the times until which nothing is read again.
type rests struct{ moved, lazy time.Time }

// after notes a batch that was read.
func (r *rests) after(batch int, why due) {
	d := time.Duration(batch) * sweepPace
	r.lazy = time.Now().Add(d)
	if why == moved {
		r.moved = time.Now().Add(min(d, sweepRest))
	}
}

func newSweeper() sweeper {
	return sweeper{members: make(map[*follower]due), hurry: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

func (s *sweeper) addLocked(f *follower) {
	s.members[f] = notDue
	f.busy = true
	s.fresh = append(s.fresh, f)
	poke(s.hurry)
}

func (s *sweeper) removeLocked(f *follower) { delete(s.members, f) }

// markAllLocked makes every member due after d, if that is not the case sooner.
func (s *sweeper) markAllLocked(d time.Duration) { s.withinLocked(&s.next, d) }

// namesMovedLocked notes that the list of names woke up. If names came or went, that
// explains it for now.
func (s *sweeper) namesMovedLocked(explained bool) {
	d := min(max(s.took, leastDelay), mostDelay)
	if explained {
		d = sweepLazy
	}
	rest := min(max(lookShare*s.took, leastPace), mostPace)
	s.withinLocked(&s.look, max(d, time.Until(s.looked.Add(rest))))
}

func (s *sweeper) withinLocked(at *time.Time, d time.Duration) {
	if len(s.members) == 0 {
		return
	}
	if then := time.Now().Add(d); at.IsZero() || then.Before(*at) {
		*at = then
		poke(s.kick)
	}
}

// markDueLocked schedules a new reading of each member for which concerned returns
// true.
func (s *sweeper) markDueLocked(concerned func(*follower) bool) {
	for f := range s.members {
		if concerned(f) {
			s.members[f] = moved
			poke(s.kick)
		}
	}
}

// takeLocked returns what to read now and why, and when to look again: those that
// moved, and if none did a slice of those that are due with all others.
func (s *sweeper) takeLocked(now time.Time, rest rests) (batch []*follower, why due, wake time.Time) {
	if s.next.IsZero() {
		s.next = now.Add(pace.Jitter(rereadEvery))
	}
	if !now.Before(s.next) {
		s.next = time.Time{}
		for f, why := range s.members {
			s.members[f] = max(why, lazily)
		}
	}
	wake = earlier(s.next, s.look)
	var lazy []*follower
	for f, why := range s.members {
		overdue := !f.deadline.IsZero() && !now.Before(f.deadline)
		switch {
		case f.busy: // its answer is on the way
		case now.Before(f.retry):
			wake = earlier(wake, f.retry)
		case why == moved || overdue:
			batch = append(batch, f)
		case why == lazily:
			lazy = append(lazy, f)
		default:
			wake = earlier(wake, f.deadline)
		}
	}
	until := rest.moved
	if why = moved; len(batch) == 0 {
		batch, why, until = lazy[:min(len(lazy), sweepSlice)], lazily, rest.lazy
	}
	if len(batch) > 0 && now.Before(until) {
		return nil, why, earlier(wake, until)
	}
	for _, f := range batch {
		s.members[f] = notDue
		f.busy = true
	}
	return batch, why, wake
}

// doneLocked notes which of a batch could be read. What failed is due again, behind a
// pause of its own: what can never be read keeps nothing else from being read.
func (s *sweeper) doneLocked(batch []*follower, failed map[*follower]bool) {
	for _, f := range batch {
		f.busy = false
		if !failed[f] {
			f.pause.Reset()
			continue
		}
		f.retry = time.Now().Add(f.pause.Next())
		if _, member := s.members[f]; member {
			s.members[f] = moved
		}
	}
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// sweep reads the services that have no watch, until ctx ends.
func (r *Resolver) sweep(ctx context.Context) {
	var rest rests
	lines := summary{seed: r.seed}
	r.overview(ctx, &lines)
	for ctx.Err() == nil {
		r.lookAround(ctx, &lines)
		r.mu.Lock()
		batch, why, wake := r.sweeper.takeLocked(time.Now(), rest)
		r.mu.Unlock()
		if len(batch) == 0 {
			_ = pace.Doze(ctx, max(time.Until(wake), time.Millisecond), r.sweeper.kick) // the loop looks at ctx
			continue
		}
		failed := r.readAll(ctx, batch)
		rest.after(len(batch), why)
		if failed && r.waitContact(ctx) != nil {
			return
		}
	}
}

// lookAround takes an overview, if one is due, and makes the services due that moved.
func (r *Resolver) lookAround(ctx context.Context, lines *summary) {
	r.mu.Lock()
	look, began := r.sweeper.look, time.Now()
	due := !look.IsZero() && !began.Before(look)
	if due {
		r.sweeper.look, r.sweeper.looked = time.Time{}, began
	}
	r.mu.Unlock()
	if !due {
		return
	}
	changed, sure := r.overview(ctx, lines)
	names := setOf(changed)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeper.took = time.Since(began)
	switch {
	case !sure:
		r.sweeper.markAllLocked(0)
	case len(names) == 0:
		r.sweeper.markAllLocked(sweepLazy)
	default:
		r.sweeper.markDueLocked(func(f *follower) bool { return f.concerns(names) })
	}
}

// readFresh reads at once what somebody waits for, until ctx ends. It does not
// wait for a sweep.
func (r *Resolver) readFresh(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		batch := r.sweeper.fresh
		r.sweeper.fresh = nil
		r.mu.Unlock()
		if len(batch) == 0 {
			_ = pace.Doze(ctx, rereadEvery, r.sweeper.hurry) // the loop looks at ctx
			continue
		}
		r.readAll(ctx, batch)
		poke(r.sweeper.kick) // some may be due again
	}
}

// readAll reads each service of the batch once, and reports whether any failed.
func (r *Resolver) readAll(ctx context.Context, batch []*follower) bool {
	var parts sync.WaitGroup
	var next atomic.Int64
	var mu sync.Mutex // guards failed
	failed := make(map[*follower]bool)
	for range min(sweepers, len(batch)) {
		parts.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(batch) {
					return
				}
				if client.Contain(func() error { _, err := batch[i].step(ctx, query{}); return err }) != nil {
					mu.Lock()
					failed[batch[i]] = true
					mu.Unlock()
				}
			}
		})
	}
	parts.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeper.doneLocked(batch, failed)
	r.resumeLocked()
	return len(failed) > 0
}

// checkKey names a check; node is part of it, for IDs are unique there only.
type checkKey struct{ Node, CheckID, ServiceName string }

// watchChecks follows the checks of one status, until ctx ends, and has the
// services read whose checks took or left it.
func (r *Resolver) watchChecks(ctx context.Context, status string) {
	var last map[checkKey]bool
	step := func(ctx context.Context, q query) (uint64, error) {
		now := make(map[checkKey]bool)
		m, err := r.read(ctx, "/v1/health/state/"+status, q, readChecks(now))
		if err != nil {
			return 0, err
		}
		r.checksMoved(last, now)
		last = now
		return m.Index, nil
	}
	w := client.Watch{
		Step:      step,
		Wait:      func() time.Duration { return pace.Jitter(maxWait) },
		Recovered: r.waitContact,
		Reread:    rereadEvery,
		Pace:      []client.Bucket{{Burst: 20, Every: time.Second}},
		Contact:   r.cfg.Client.Contact,
	}
	w.Run(ctx)
}

// maxChecks bounds the checks of one state.
const maxChecks = 500_000

// readChecks returns what puts the checks of an answer into set.
func readChecks(set map[checkKey]bool) *parts {
	return &parts{apart: true, each: func(element []byte) error {
		var k checkKey
		if err := json.Unmarshal(element, &k); err != nil {
			return err
		}
		if set[k] = true; len(set) > maxChecks {
			return fmt.Errorf("consul lists more than %d checks of one state", maxChecks)
		}
		return nil
	}}
}

// checksMoved makes the services due whose checks are in one of the sets only.
// A node's own check concerns every service, for who is on it may be news.
func (r *Resolver) checksMoved(last, now map[checkKey]bool) {
	services := make(map[string]bool)
	differ := func(a, b map[checkKey]bool) {
		for k := range a {
			if !b[k] {
				services[k.ServiceName] = true
			}
		}
	}
	differ(last, now)
	differ(now, last)
	if len(services) == 0 || last == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeper.markDueLocked(func(f *follower) bool { return services[""] || f.concerns(services) })
}
