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

// Services beyond Config.Watches have no blocking query of their own: each is
// a connection, of which the client has so many. They are read
// again when something moved that may be theirs:
//
//   - a check became critical or warning, or ceased to be: two more watches
//     name the services, which are read at once;
//   - an instance was registered or went: the list of names wakes up without
//     saying which, but an overview of all services does (summary.go);
//   - if that shows nothing either, an instance may have changed in place:
//     all are read, within sweepLazy.
//
// So a change to one of them is seen within about a second, in place within
// sweepLazy, and each is read every rereadEvery whatever happens.
const (
	sweepers   = 8                      // queries at the same time
	sweepPace  = 4 * time.Millisecond   // of waiting for each service that was read again
	sweepDelay = 300 * time.Millisecond // collects registrations that come together
	sweepLazy  = 15 * time.Second
	lookPace   = time.Second // from one overview to the next
)

// sweeper knows which services are to be read again. Resolver.mu guards all of it.
type sweeper struct {
	members map[*follower]bool // true: is to be read again
	fresh   []*follower        // wanted by somebody who waits, not read yet
	hurry   chan struct{}      // tells that fresh has something
	next    time.Time          // when all are due; zero = not set
	look    time.Time          // when an overview is due; zero = never
	looked  time.Time          // when the last one was taken
	kick    chan struct{}
}

func newSweeper() sweeper {
	return sweeper{members: make(map[*follower]bool), hurry: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

func (s *sweeper) addLocked(f *follower) {
	s.members[f] = false
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
	d := sweepDelay
	if explained {
		d = sweepLazy
	}
	s.withinLocked(&s.look, max(d, time.Until(s.looked.Add(lookPace))))
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
			s.members[f] = true
			poke(s.kick)
		}
	}
}

// takeLocked returns what to read now, and when to look again. All are left alone
// until rest.
func (s *sweeper) takeLocked(now, rest time.Time) (batch []*follower, wake time.Time) {
	if s.next.IsZero() {
		s.next = now.Add(pace.Jitter(rereadEvery))
	}
	if !now.Before(s.next) {
		s.next = time.Time{}
		for f := range s.members {
			s.members[f] = true
		}
	}
	wake = earlier(s.next, s.look)
	for f, due := range s.members {
		overdue := !f.deadline.IsZero() && !now.Before(f.deadline)
		switch {
		case f.busy: // its first answer is on the way
		case !due && !overdue:
			wake = earlier(wake, f.deadline)
		case now.Before(rest):
			wake = earlier(wake, rest)
		default:
			s.members[f] = false
			batch = append(batch, f)
		}
	}
	return batch, wake
}

// doneLocked notes which of a batch could be read. What failed is due again.
func (s *sweeper) doneLocked(batch []*follower, failed map[*follower]bool) {
	for _, f := range batch {
		f.busy = false
		if _, member := s.members[f]; member && failed[f] {
			s.members[f] = true
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
	var back client.Backoff
	rest := time.Now()
	lines := summary{seed: r.seed}
	r.overview(ctx, &lines)
	for ctx.Err() == nil {
		r.lookAround(ctx, &lines)
		r.mu.Lock()
		batch, wake := r.sweeper.takeLocked(time.Now(), rest)
		r.mu.Unlock()
		if len(batch) == 0 {
			_ = pace.Doze(ctx, max(time.Until(wake), time.Millisecond), r.sweeper.kick) // the loop looks at ctx
			continue
		}
		failed := r.readAll(ctx, batch)
		rest = time.Now().Add(time.Duration(len(batch)) * sweepPace)
		if !failed {
			back.Reset()
			continue
		}
		if back.Wait(ctx, r.cfg.Client.Contact) != nil || r.waitContact(ctx) != nil {
			return
		}
	}
}

// lookAround takes an overview, if one is due, and makes the services due that moved.
func (r *Resolver) lookAround(ctx context.Context, lines *summary) {
	r.mu.Lock()
	look := r.sweeper.look
	due := !look.IsZero() && !time.Now().Before(look)
	if due {
		r.sweeper.look, r.sweeper.looked = time.Time{}, time.Now()
	}
	r.mu.Unlock()
	if !due {
		return
	}
	changed, sure := r.overview(ctx, lines)
	moved := setOf(changed)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !sure:
		r.sweeper.markAllLocked(0)
	case len(moved) == 0:
		r.sweeper.markAllLocked(sweepLazy)
	default:
		r.sweeper.markDueLocked(func(f *follower) bool { return f.concerns(moved) })
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
	return &parts{each: func(element []byte) error {
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
