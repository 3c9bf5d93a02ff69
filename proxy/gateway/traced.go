package gateway

import (
	"lictor/policy"
	"lictor/proxy/answer"
)

// keepsTrace says why the spans of the request are to be sent, if they are.
func (x *exchange) keepsTrace() answer.Why {
	if x.gw.traces == nil {
		return answer.NotKept
	}
	o := &x.outcome
	answered := o.Answered
	if answered > 0 {
		answered += o.Waited
	}
	return x.gw.traces.Wants(x.in.place.Sampled, x.status, x.reason, o.Tries, answered, x.in.began)
}

// keepTrace hands over what the spans of the request are made of.
func (x *exchange) keepTrace(l *answer.Line, why answer.Why) {
	in := &x.in
	t := answer.Traced{Line: *l, Why: why, Place: in.place, Peer: in.peer, Route: x.routeName(), Attempts: x.outcome.Attempts(l.Took)}
	proto, host, port := in.says()
	t.Proto, t.Server, t.ServerPort = proto, host, port
	x.gw.traces.Keep(&t)
}

// routeName is what the spans call the way to the service. Clients make up paths and
// hosts, so that it is only what the policy or a resolver knows.
func (x *exchange) routeName() string {
	d := x.decision
	about := x.gw.upstream.About(&d.route, d.set)
	switch {
	case d.route.By == policy.BySegment && about.Service != "":
		return "/" + about.Service
	case about.API != "":
		return about.API
	}
	return about.Service
}
