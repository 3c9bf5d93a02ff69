package upstream

import (
	"time"

	"lictor/internal/monotonic"
	"lictor/internal/trace"
	"lictor/policy"
	"lictor/proxy/answer"
)

// Ended is a request that is over, sent or not, and what the client was told.
type Ended struct {
	Listener int // that it came by, of Config.Counts
	Set      *policy.Set
	Route    *policy.Route
	Who      *policy.Identity // nil = nobody who is known
	Trace    trace.ID         // that an operator may look up; zero = none
	Status   int
	Reason   answer.Reason
	Took     time.Duration
}

// Count counts a request that is over. What was refused before it was sent counts
// as its service's too, if that exists, but not among its durations: refusals are
// quick, and would hide how slow the service is.
func (s *Sender) Count(o *Outcome, e *Ended) {
	timed := o.metrics
	if timed == nil {
		timed = s.metrics.nobody
	}
	of, about := timed, answer.About{Service: timed.name}
	if e.Reason != answer.ReasonNone {
		about = s.About(e.Route, e.Set)
		if g := s.groupOf(e.Route); o.metrics == nil && g != nil {
			of = g.metrics
		} else {
			about.Service = of.name
		}
	}
	if e.Who != nil {
		about.Consumer = e.Who.Name
	}
	s.metrics.counts[e.Listener].Count(of.classes[e.Listener], about, e.Status, e.Reason)
	timed.observe(e.Took, &e.Trace)
	if o.Answered > 0 {
		timed.upstream.Observe(o.Answered)
	}
	if n := len(o.tries); n > 0 && o.tries[n-1].member.inst.Canary {
		s.metrics.countCanary(timed, o, e.Status, e.Reason)
	}
}

// About says whose a request by a route is. A name that is neither a service nor an
// API of the policy is nobody's: clients make up any number of them.
func (s *Sender) About(t *policy.Route, set *policy.Set) (about answer.About) {
	if g := s.groupOf(t); g != nil {
		about.Service = g.name
	}
	if t.By == policy.ByHost || t.By == policy.ByFilter || t.API == about.Service || set.Knows(t.API) {
		about.API = t.API
	}
	return about
}

// groupOf returns the group of the service that a route leads to, nil if there is no
// such service.
func (s *Sender) groupOf(t *policy.Route) *group {
	name := t.Service
	if t.Backends != nil {
		name = t.Backends.Name
	}
	if g := (*s.groups.Load())[name]; g != nil {
		return g
	}
	if name == "" || t.Backends != nil || s.bus.Carries(name, nil) {
		return nil
	}
	if svc, _, _ := s.lookup(name); svc != nil {
		return s.group(svc.Name)
	}
	return nil
}

// exemplarEvery is the least time between two exemplars of one service: each takes
// memory, and one for a scrape is enough.
const exemplarEvery = int64(time.Second)

// observe notes how long a request took, now and then with its trace as exemplar.
func (m *serviceMetrics) observe(took time.Duration, id *trace.ID) {
	if *id == (trace.ID{}) {
		m.duration.Observe(took)
		return
	}
	now, last := monotonic.Now(), m.exemplar.Load()
	if now-last < exemplarEvery {
		m.duration.Observe(took)
		return
	}
	if m.exemplar.CompareAndSwap(last, now) {
		m.duration.ObserveTraced(took, *id)
		return
	}
	m.duration.Observe(took)
}
