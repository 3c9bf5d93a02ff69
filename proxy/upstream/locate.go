package upstream

import (
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// locate finds the members that may serve the request, and the path that goes to
// them. A refusal says that there are none; it belongs to all requests.
func (q *Request) locate(p *policy.Permit) (*roster, *answer.Refusal) {
	if b := p.Backends(); b != nil {
		q.out.Service = b.Name
		return q.roster(b.Name, 0, func(g *group) *resolver.Service { return g.fix(b) })
	}
	q.seen = q.s.lobby.changes.Load()
	svc, at, known := q.s.lookup(p.Service())
	if known && (svc == nil || !svc.UsableBy(q.Canary)) {
		q.waited = true
		svc, at, known = q.s.resolve(p.Service())
	}
	q.service, q.known = svc, known
	switch {
	case !known:
		return nil, &RefuseUnknown
	case svc == nil:
		return nil, &refuseNoHealthy
	case !decidedOn(p, svc):
		return nil, &RefuseUnknown
	}
	return q.use(svc, at)
}

// decidedOn reports whether a service is the one that was permitted, and not
// another resolver's by another spelling.
func decidedOn(p *policy.Permit, svc *resolver.Service) bool {
	return p.By() != policy.BySegment || svc.Name == p.Service()
}

// use makes svc, as the source at a place knows it, the service that the request
// goes to.
func (q *Request) use(svc *resolver.Service, at int) (*roster, *answer.Refusal) {
	q.out.Service = svc.Name
	if stripped := q.Stripped && !svc.Options.KeepSegment; stripped != q.stripped {
		q.out.Target, q.stripped = q.Path.Target(stripped), stripped
	}
	return q.roster(svc.Name, at, func(*group) *resolver.Service { return svc })
}

// roster returns the members of the group called name, of what the source at a
// place knows. In a preview a service that nobody asked for yet gets no group that
// is kept.
func (q *Request) roster(name string, at int, of func(*group) *resolver.Service) (*roster, *answer.Refusal) {
	if q.group = q.s.site(name, at); q.group == nil {
		if q.dry {
			q.group = q.s.newGroup(name)
		} else {
			q.group = q.s.siteOf(q.s.group(name), at)
		}
	}
	q.sites |= 1 << at
	q.out.metrics = q.group.metrics
	r := q.group.adopt(of(q.group), q.Settings)
	q.care(r)
	if q.choices(r) == 0 {
		return r, &refuseNoHealthy
	}
	return r, nil
}
