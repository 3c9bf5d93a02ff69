package replay

import (
	"slices"

	"lictor/policy"
	"lictor/proxy/middleware"
)

// middleware is what middleware makes of a request that the policy lets pass.
func (e *evaluator) middleware(set *policy.Set, route *policy.Route, v *policy.Verdict, masked bool) outcome {
	r := e.record
	if e.head == nil {
		if !r.Ran || r.Reason == "middleware" || len(r.Routed) > 0 {
			return unknown("the log does not say which middleware there was")
		}
		return outcome{passed: true}
	}
	if len(e.head.acts) == 0 {
		return outcome{passed: true}
	}
	consumer := ""
	if v.Identity != nil {
		consumer = v.Identity.ID
	}
	same := r.API == route.API && r.Service == route.Service && len(r.Routed) == 0
	if r.Ran && consumer == r.Consumer && (same || !e.looksAtServices()) {
		return e.asItWas(set, route, v)
	}
	return e.anew(route, v, same, masked)
}

func (e *evaluator) looksAtServices() bool {
	return slices.ContainsFunc(e.head.acts, func(a act) bool { return a.service || a.program })
}

// asItWas is what middleware did, for all that it looks at is as it was.
func (e *evaluator) asItWas(set *policy.Set, route *policy.Route, v *policy.Verdict) outcome {
	r := e.record
	if r.Reason == "middleware" && r.Verdict == "refuse" {
		return outcome{reason: "middleware"}
	}
	for _, m := range e.head.Middleware {
		if (m.Path || m.Program) && slices.Contains(r.Matched, m.Name) {
			return unknown("middleware " + m.Name + " sends the request on with another path, which is decided on anew")
		}
	}
	for _, service := range r.Routed {
		if out := e.elsewhere(set, route, v, service); out.unknown != "" || !out.passed {
			return out
		}
	}
	return outcome{passed: true}
}

// elsewhere decides on the request anew, for a service that middleware sent it to.
func (e *evaluator) elsewhere(set *policy.Set, route *policy.Route, v *policy.Verdict, service string) outcome {
	path, err := parsePath("/"+service+route.Rest, false)
	if err != nil {
		return unknown("the path that middleware made cannot be read")
	}
	to := policy.Route{By: policy.BySegment, Rest: route.Rest, Stripped: route.Stripped}
	set.Rename(&to, service)
	e.cases(set, &to)
	*route = to
	e.request.Path, e.request.Again = &path, true
	set.Narrow(&e.request, route)
	out, refused := e.decideEach(set, route, v)
	if refused {
		return out
	}
	v.Rests.Plugins(func(name string, sum uint32) {
		if name != "jwt" && name != "forward-auth" && e.said(name, sum) != yes {
			e.lacks("plugin " + name + ": what it would say is not recorded")
		}
	})
	return e.known(out)
}

// anew is what middleware would do with a request that it has not seen so.
func (e *evaluator) anew(route *policy.Route, v *policy.Verdict, same, masked bool) outcome {
	q := &e.seen
	*q = middleware.Request{Method: e.request.Method, Host: e.request.Host, Path: e.request.Path, Service: route.Service, Client: e.request.Client, Readings: e.request.Readings(),
		Folded: route.AnyCase, Named: route.Named(e.request.Path)}
	if route.Backends != nil {
		q.Service = ""
	}
	if v.Identity != nil {
		q.Consumer, q.Name = v.Identity.ID, v.Identity.Name
	}
	for _, a := range e.head.acts {
		switch {
		case a.program:
			return unknown("middleware " + a.name + " is a program")
		case a.share && masked && q.Consumer == "":
			return unknown("middleware " + a.name + " draws a share by the address, which is masked")
		}
		if _, fits := a.link.Apply(q); !fits {
			continue
		}
		if len(a.reads) > 0 {
			if !same {
				return unknown("middleware " + a.name + " reads " + a.reads[0] + ", not recorded")
			}
			if !slices.Contains(e.record.Headers, a.name) {
				continue
			}
		}
		if a.block {
			return outcome{reason: "middleware"}
		}
		return unknown("middleware " + a.name + " sends the request elsewhere")
	}
	return outcome{passed: true}
}
