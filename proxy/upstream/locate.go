package upstream

import (
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// locate finds the members that may serve the request, and the path that goes to
// them. The roster is nil with a refusal.
func (q *Request) locate(p *policy.Permit) (*roster, answer.Refusal) {
	if b := p.Backends(); b != nil {
		q.out.Service = b.Name
		return q.roster(b.Name, func(g *group) *resolver.Service { return g.fix(b) })
	}
	svc, known := q.s.lookup(p.Service())
	if known && (svc == nil || !svc.UsableBy(q.Canary)) {
		q.waited = true
		svc, known = q.s.resolve(p.Service())
	}
	switch {
	case !known:
		return nil, RefuseUnknown
	case svc == nil:
		return nil, refuseNoHealthy
	case p.By() == policy.BySegment && svc.Name != p.Service(): // another resolver's, by another spelling: it was not decided on
		return nil, RefuseUnknown
	}
	q.out.Service = svc.Name
	if svc.Options.KeepSegment {
		q.out.Target, q.stripped = q.Path.Target(false), false
	}
	return q.roster(svc.Name, func(*group) *resolver.Service { return svc })
}

// roster returns the members of the group called name. In a preview a service
// that nobody asked for yet gets no group that is kept.
func (q *Request) roster(name string, of func(*group) *resolver.Service) (*roster, answer.Refusal) {
	if q.group = (*q.s.groups.Load())[name]; q.group == nil {
		if q.dry {
			q.group = q.s.newGroup(name)
		} else {
			q.group = q.s.group(name)
		}
	}
	q.out.metrics = q.group.metrics
	r := q.group.adopt(of(q.group), q.Settings)
	if q.choices(r) == 0 {
		return r, refuseNoHealthy
	}
	return r, answer.Refusal{}
}
