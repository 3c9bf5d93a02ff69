package gateway

import (
	"strings"

	"lictor/policy"
	"lictor/resolver"
)

// route names the API and the service of the request (X2). It answers if it is
// false.
func (x *exchange) route() bool {
	r := x.ruling
	if !r.fill(x) {
		return x.refuse(refuseBadHost)
	}
	r.route = r.set.Route(&r.request)
	if r.route.By == policy.ByNothing {
		return x.refuse(refuseNoService)
	}
	x.properName()
	x.target = x.path.Target(r.route.Stripped)
	if r.route.Stripped {
		x.prefix = r.route.Service
	}
	return true
}

// properName gives a service the spelling of its resolver, for the policy to go
// by. An API that a filter chose keeps its own name.
func (x *exchange) properName() {
	r := &x.ruling.route
	x.ruling.alias = ""
	if r.Backends != nil || x.gw.bus.carries(r) {
		return
	}
	name, folded, known := x.gw.spelling(r.Service)
	if folded && r.By == policy.BySegment {
		x.ruling.alias = x.shouted(name)
	}
	switch {
	case r.By != policy.BySegment:
		if known {
			r.Service = name
		}
	case known:
		x.ruling.set.Rename(r, name)
	default:
		x.ruling.request.Limiter = nil // names that clients make up are not counted one by one
	}
}

// shouted returns the name as registries show it that do not mind case, in upper
// case, if rules call it so: they hold as well (E7). Else it returns "".
func (x *exchange) shouted(name string) string {
	if upper := strings.ToUpper(name); upper != name && x.ruling.set.Knows(upper) {
		return upper
	}
	return ""
}

// locate finds the members that may serve a request that passed. It answers if
// it returns nil.
func (x *exchange) locate(p pass) *roster {
	if b := p.route.Backends; b != nil {
		x.service = b.Name
		x.group = x.gw.group(b.Name)
		return x.roster(x.group.fix(b))
	}
	svc, known := x.gw.find(p.route.Service)
	if known && (svc == nil || !svc.Usable()) {
		x.waited = true
		svc, known = x.gw.resolve(p.route.Service)
	}
	switch {
	case !known:
		x.refuse(refuseUnknown)
		return nil
	case svc == nil:
		x.refuse(refuseNoHealthy)
		return nil
	case p.route.By == policy.BySegment && svc.Name != p.route.Service: // another resolver's, by another spelling: it was not decided on
		x.refuse(refuseUnknown)
		return nil
	}
	x.service = svc.Name
	x.group = x.gw.group(svc.Name)
	if svc.Options.KeepSegment {
		x.target, x.prefix = x.path.Target(false), ""
	}
	return x.roster(svc)
}

func (x *exchange) roster(svc *resolver.Service) *roster {
	r := x.group.take(svc, x.set)
	if len(r.members) == 0 {
		x.refuse(refuseNoHealthy)
		return nil
	}
	return r
}
