package gateway

import (
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/middleware"
	"lictor/proxy/upstream"
)

// reroute sends the request to another service, if that one's own rules let it
// pass: routing is no way round them.
func (d *decision) reroute(service string) answer.Refusal {
	d.former = append(d.former, d.request.Facts(&d.route, &d.verdict))
	if !uri.IsServiceName(service) {
		return upstream.RefuseUnknown
	}
	if err := d.redirect(service); err != nil {
		return upstream.RefuseUnknown.Because(err)
	}
	return d.decide()
}

// redirect makes the request one for another service, for the rules to see it
// as if the client had asked for that one.
func (d *decision) redirect(service string) (err error) {
	if d.redirected, err = d.pathOf("/" + service + d.route.Rest); err != nil {
		return err
	}
	d.asService(service)
	return nil
}

// asService makes the route the one by the segment of a service.
func (d *decision) asService(service string) {
	to := policy.Route{By: policy.BySegment, Rest: d.route.Rest, Stripped: d.route.Stripped}
	d.set.Rename(&to, service)
	d.route = to
	d.request.Path, d.request.Limiter = &d.redirected, &d.gw.limiter
	d.set.Narrow(&d.request, &d.route)
	d.properName()
}

// pathOf reads a path together with the query of the request.
func (d *decision) pathOf(path string) (uri.Path, error) {
	if d.in.path.HasQuery {
		path += "?" + d.in.path.Query
	}
	p, _, err := uri.ParsePath(path, nil)
	return p, err
}

// rewrite gives the request another path behind its service's segment, if the rules
// let it pass with that one, too, as if the client had asked for it: rewriting is no
// way round them. Which backends it goes to does not change.
func (d *decision) rewrite(l *middleware.Link, path string) answer.Refusal {
	least := 0
	if d.route.Stripped {
		least = 1
	}
	rest := l.Rule.Match.RestOf(&d.middleware, d.in.path.Target(false), least)
	path = middleware.WithRest(path, rest)
	segment := ""
	if d.route.Stripped {
		name, _, _ := d.request.Path.Segment()
		segment = "/" + name
	}
	p, err := d.pathOf(segment + path)
	if err != nil {
		return refuseBadPath.Because(err)
	}
	if p.TooOdd() {
		return refuseOddPath
	}
	d.former = append(d.former, d.request.Facts(&d.route, &d.verdict))
	d.redirected, d.rewritten = p, p
	d.sends, d.request.Path = &d.rewritten, &d.redirected
	if d.route.Rest = p.Canonical; d.route.Stripped {
		_, d.route.Rest, _ = p.Segment()
	}
	if refused := d.decideAsService(); refused.Status != 0 {
		return refused
	}
	d.set.Narrow(&d.request, &d.route)
	return d.decide()
}

// decideAsService decides by the rules of the service as well, where the request
// came under those of an API that is for some of its paths only: with another path
// it may be outside of them.
func (d *decision) decideAsService() answer.Refusal {
	kept, alias, limiter := d.route, d.alias, d.request.Limiter
	name, _, _ := d.request.Path.Segment()
	part := kept.By == policy.ByFilter || kept.By != policy.ByHost && kept.API != kept.Service && kept.API != name
	if !part || kept.Backends != nil {
		return answer.Refusal{}
	}
	d.asService(kept.Service)
	refused := d.decide()
	if refused.Status == 0 {
		d.former = append(d.former, d.request.Facts(&d.route, &d.verdict))
		d.route, d.alias, d.request.Limiter = kept, alias, limiter
	}
	return refused
}
