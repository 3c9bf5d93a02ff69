package upstream

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"lictor/internal/crash"
	"lictor/resolver"
)

// Several sources may know a service, as the datacenters of a federation do. Each
// has a group of its own, a site. The first source with a usable instance serves
// (D10); where none of its instances can be reached, whatever it says of them, the
// request goes on to the next (K4): nothing can have been acted on.
//
// A site in which as many connections failed in a row as it has members is cut
// off: requests go to the others without trying it. lictor looks by connections of
// its own whether a member can be reached again. The first that can ends it, and
// requests are home again.

// outage says that a site is cut off.
type outage struct{ since time.Time }

const (
	checkEvery = 300 * time.Millisecond // between looks at one site
	checkPause = 3 * time.Millisecond   // between looks at any of them
	maxChecks  = 8                      // of one site at the same time: the answer to one may never come
)

// sites yields what each source knows of the service, as far as it was needed.
func (g *group) sites() iter.Seq[*group] {
	return func(yield func(*group) bool) {
		for site := g; site != nil; site = site.next.Load() {
			if !yield(site) {
				return
			}
		}
	}
}

// site returns the site of a service at a source, nil if there is none yet.
func (s *Sender) site(name string, at int) *group {
	site := (*s.groups.Load())[name]
	for site != nil && site.source != at {
		site = site.next.Load()
	}
	return site
}

// siteOf returns the site of g at a source, making it if need be.
func (s *Sender) siteOf(g *group, at int) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; g.source != at; g = g.next.Load() {
		if g.next.Load() == nil {
			site := s.newGroup(g.name)
			site.source, site.metrics = at, g.metrics
			g.next.Store(site)
		}
	}
	return g
}

// isCut reports whether the service is cut off at a source.
func (s *Sender) isCut(name string, at int) bool {
	if s.cuts.Load() == 0 {
		return false
	}
	site := s.site(name, at)
	return site != nil && site.cut.Load() != nil
}

// elsewhere returns the members of the service at another source, none of those in
// r having taken the request; nil if no other can serve. One that is cut off is
// the last resort. Who was only too busy does not send the request away.
func (q *Request) elsewhere(r *roster) *roster {
	if !q.mayLeave() {
		return nil
	}
	svc, at := q.otherSite()
	if svc == nil {
		return nil
	}
	if q.group.misses.Load() >= int64(len(r.members)) {
		q.s.cutOff(q.group)
	}
	q.former = len(q.out.tries)
	next, refused := q.use(svc, at)
	if refused != nil || q.Path.Climbs(q.out.Target) {
		return nil
	}
	return next
}

// mayLeave reports whether the request may go to another source at all.
func (q *Request) mayLeave() bool {
	return len(q.s.sources) > 1 && q.permit.Backends() == nil && q.busy == 0 && !q.full
}

// hasOtherSite reports whether another source has instances that were not tried yet.
func (q *Request) hasOtherSite() bool {
	if !q.mayLeave() {
		return false
	}
	svc, _ := q.otherSite()
	return svc != nil
}

// otherSite returns the service as another source knows it whose instances were
// not tried yet, and the place of that source.
func (q *Request) otherSite() (svc *resolver.Service, at int) {
	for i, src := range q.s.sources {
		if q.sites&(1<<i) != 0 {
			continue
		}
		other := q.loaded(src)
		switch {
		case other == nil || !other.UsableBy(q.Canary) || !decidedOn(&q.permit, other):
		case !q.s.isCut(other.Name, i):
			return other, i
		case svc == nil:
			svc, at = other, i
		}
	}
	return svc, at
}

// loaded returns the service as a source knows it, which it may have to find out.
func (q *Request) loaded(src resolver.Source) *resolver.Service {
	svc := src.Catalog().Lookup(q.permit.Service())
	if svc != nil && !svc.Loaded {
		svc = await(src, q.permit.Service(), loadPatience)
	}
	if svc == nil || !svc.Loaded {
		return nil
	}
	return svc
}

// cutOff has requests leave out a site until one of its members can be reached.
func (s *Sender) cutOff(site *group) {
	out := &outage{since: time.Now()}
	if !site.cut.CompareAndSwap(nil, out) {
		return
	}
	s.cuts.Add(1)
	s.log.Warn("no instance can be reached, another resolver takes over", "service", site.name, "resolver", s.sources[site.source].Kind())
	crash.Go("site check", func() { s.awaitHome(site, out) }, nil)
}

// awaitHome ends an outage once a member of the site can be reached, or there is
// none left.
func (s *Sender) awaitHome(site *group, out *outage) {
	defer func() {
		site.misses.Store(0)
		site.cut.Store(nil)
		s.cuts.Add(-1)
	}()
	home := make(chan struct{}, maxChecks)
	free := make(chan struct{}, maxChecks)
	for n := rand.Uint64N(1 << 16); ; n++ { // spreads load, guards nothing
		pause := time.NewTimer(max(checkEvery, time.Duration(s.cuts.Load())*checkPause))
		select {
		case <-home:
			pause.Stop()
			s.log.Info("instances can be reached again, requests are home", "service", site.name,
				"resolver", s.sources[site.source].Kind(), "took_ms", time.Since(out.since).Milliseconds())
			return
		case <-pause.C:
		}
		r := site.current.Load()
		if r == nil || len(r.members) == 0 {
			return
		}
		select {
		case free <- struct{}{}:
		default:
			continue // all of them hang
		}
		m := r.members[n%uint64(len(r.members))]
		crash.Go("site check", func() {
			defer func() { <-free }()
			if m.check() == nil {
				m.readmit("a connection could be made")
				home <- struct{}{}
			}
		}, nil)
	}
}

// CutOff tells of the services that another resolver serves than the one that comes
// first, as none of its instances can be reached.
func (s *Sender) CutOff() (all []string) {
	if s.cuts.Load() == 0 {
		return nil
	}
	for name, g := range *s.groups.Load() {
		for site := range g.sites() {
			if out := site.cut.Load(); out != nil {
				all = append(all, fmt.Sprintf("service %s: since %s no instance that resolver %s knows can be reached, another resolver serves it",
					name, out.since.UTC().Format(time.RFC3339), s.sources[site.source].Kind()))
			}
		}
	}
	return all
}
