package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/internal/limits"
	"lictor/internal/monotonic"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// While no instance of a service can take requests they wait, if the service wants
// it so, at most so long and so many: then a single instance can be replaced
// without an error. Only what nobody can have acted on waits. Who waits does not ask: a
// change of a catalog wakes it, or, where instances are known but refuse
// connections, one that lictor makes itself every now and then for all of them.

// Bounds of what waits.
const (
	maxWaiting    = 1000 // requests for one service
	maxWaitingAll = 4000
	probeEvery    = 100 * time.Millisecond
)

// lobby is where requests wait.
type lobby struct {
	all     atomic.Int64 // requests
	changes atomic.Int64 // of catalogs, so far

	mu     sync.Mutex // guards what follows
	queues map[*group]*queue
}

// queue is those that wait for one service. lobby.mu guards it.
type queue struct {
	requests int
	wake     chan struct{}     // closed when another look is worth it
	seen     *resolver.Service // as it was looked up last; nil: none was loaded
	known    bool              // then, by some source
	probed   bool              // somebody makes connections
}

// enter takes a place in the queue of g, for a request that saw what there is. It
// returns what wakes it; nil if there is no place.
func (l *lobby) enter(g *group, seen *resolver.Service, known bool) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.queues[g]
	if l.all.Load() >= maxWaitingAll || w != nil && w.requests >= maxWaiting {
		limits.Hit("hold")
		return nil
	}
	if w == nil {
		w = &queue{wake: make(chan struct{}), seen: seen, known: known}
		if l.queues == nil {
			l.queues = make(map[*group]*queue)
		}
		l.queues[g] = w
	}
	w.requests++
	l.all.Add(1)
	return w.wake
}

// leave gives a place back.
func (l *lobby) leave(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Add(-1)
	w := l.queues[g]
	if w.requests--; w.requests == 0 {
		delete(l.queues, g)
	}
}

// waiting is the number of requests that wait for g.
func (l *lobby) waiting(g *group) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.queues[g]; w != nil {
		return w.requests
	}
	return 0
}

// ring wakes all that wait in w. lobby.mu is held.
func (w *queue) ring() {
	close(w.wake)
	w.wake = make(chan struct{})
}

// catalogChanged wakes those whose service can serve now, or is known again and to
// be loaded. A source calls it.
func (s *Sender) catalogChanged() {
	l := &s.lobby
	l.changes.Add(1)
	if l.all.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for g, w := range l.queues {
		svc, _, known := s.lookup(g.name)
		if worthALook(svc, known, w.seen, w.known, true) {
			w.ring()
		}
		w.seen, w.known = svc, known
	}
}

// worthALook reports whether a service as it is looked up now may serve what it
// could not when it was seen last.
func worthALook(svc *resolver.Service, known bool, seen *resolver.Service, wasKnown, canary bool) bool {
	if svc == nil {
		return known && !wasKnown
	}
	return svc != seen && svc.UsableBy(canary)
}

// hold has a request that was refused for want of an instance wait for one. It
// reports whether another attempt is due; else the refusal stands. What is owed one has
// it, where it may not wait or waited in vain.
func (q *Request) hold(p *policy.Permit) (again bool) {
	if !q.awaits(p) && (!q.owed || q.out.Refusal.Reason != answer.Unreachable) {
		return false
	}
	q.out.Refusal = answer.Refusal{}
	q.former, q.sites, q.busy, q.waited, q.owed = len(q.out.tries), 0, 0, true, false
	return true
}

// awaits waits for an instance, as long as the request may, and reports whether there
// may be one now.
func (q *Request) awaits(p *policy.Permit) bool {
	g, patience := q.patience(p)
	if patience <= 0 {
		return false
	}
	l := &q.s.lobby
	wake := l.enter(g, q.service, q.known)
	if wake == nil {
		return false
	}
	defer l.leave(g)
	if q.out.Refusal.Reason == answer.Unreachable {
		q.s.probe(g)
	}
	return q.missed(p) || q.sleep(wake, patience)
}

// missed reports whether there was a change that is worth another look before the
// request took its place: it wakes nobody.
func (q *Request) missed(p *policy.Permit) bool {
	if p.Backends() != nil || q.s.lobby.changes.Load() == q.seen {
		return false
	}
	svc, _, known := q.s.lookup(p.Service())
	return worthALook(svc, known, q.service, q.known, q.Canary)
}

// patience is for how long the request may wait, and for an instance of what.
func (q *Request) patience(p *policy.Permit) (*group, time.Duration) {
	name, reason := p.Service(), q.out.Refusal.Reason
	if b := p.Backends(); b != nil {
		name = b.Name
		if reason == NoHealthy {
			return nil, 0 // it has no backends
		}
	}
	g := (*q.s.groups.Load())[name] // the name may be gone with its last instance
	if g == nil || reason != NoHealthy && reason != UnknownService && reason != answer.Unreachable {
		return nil, 0
	}
	now := monotonic.Now()
	if q.since == 0 {
		q.since = now
	}
	return g, g.mostWait(q.Settings) - time.Duration(now-q.since)
}

// mayWait reports whether the request may wait for an instance of g.
func (q *Request) mayWait() bool {
	g := (*q.s.groups.Load())[q.group.name]
	return g != nil && g.mostWait(q.Settings) > 0
}

// mostWait is for how long requests may wait for an instance of g.
func (g *group) mostWait(set *Settings) time.Duration {
	for site := range g.sites() {
		if own := site.hold.Load(); own != 0 {
			return time.Duration(own)
		}
	}
	return set.Hold
}

// sleep waits for wake, and reports whether it came.
func (q *Request) sleep(wake <-chan struct{}, patience time.Duration) bool {
	w := q.wait()
	defer w.end()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-wake:
		return true
	case <-timer.C:
	case <-w.ctx.Done():
		q.out.Err = context.Cause(w.ctx)
		q.refuse(answer.Left)
	}
	return false
}

// probe sees to it that somebody makes connections to the members of g while
// requests wait for them.
func (s *Sender) probe(g *group) {
	l := &s.lobby
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.queues[g]
	if w.probed {
		return
	}
	w.probed = true
	crash.Go("instance check", func() { s.makeConnections(g, w) }, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.probed = false
	})
}

// makeConnections tries one member of g after the other, and wakes those that wait
// in w when one can be reached, until nobody waits there.
func (s *Sender) makeConnections(g *group, w *queue) {
	l := &s.lobby
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		<-tick.C
		l.mu.Lock()
		over := l.queues[g] != w
		l.mu.Unlock()
		all := g.members()
		switch {
		case over:
			return
		case len(all) == 0:
			continue
		}
		if m := all[i%len(all)]; m.check() == nil {
			if e := m.ejection.Load(); e != nil && !e.answers {
				m.readmit("a connection could be made")
			}
			l.mu.Lock()
			w.ring()
			l.mu.Unlock()
		}
	}
}

// awaited reports whether g, which no source knows any more, is kept for requests
// to wait until it is back.
func (g *group) awaited(set *Settings) bool {
	most := g.mostWait(set)
	if most == 0 {
		return false
	}
	now := monotonic.Now()
	g.lost.CompareAndSwap(0, now)
	return now-g.lost.Load() <= int64(most)
}

// members are those of all sites.
func (g *group) members() (all []*member) {
	for site := range g.sites() {
		if r := site.current.Load(); r != nil {
			all = append(all, r.members...)
		}
	}
	return all
}
