package proxy

import (
	"time"

	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
)

// Middleware is the reason of what a middleware blocked (D19).
const Middleware Reason = "middleware"

// edits is what middleware made of an exchange. A nil edits is nothing.
type edits struct {
	up, down middleware.Overlay
	recorded []string // names of the middleware that wants a record
}

func (e *edits) drops(name string, up bool) bool {
	switch {
	case e == nil:
		return false
	case up:
		return e.up.Drops(name)
	}
	return e.down.Drops(name)
}

// pass runs the middleware, in its order, on a request that the policy let
// pass. It answers if it is not ok.
func (x *exchange) pass(p pass) (_ pass, ok bool) {
	r := x.ask()
	for _, l := range x.set.Middleware {
		e, fits := l.Apply(r)
		if !fits {
			continue
		}
		l.Matched.Add(1)
		if l.Rule.Report {
			if e.Block != nil || e.Route != "" {
				x.gw.metrics.would(policy.Reason(Middleware))
			}
			e = middleware.Effect{Record: e.Record}
		}
		x.take(l, &e)
		if e.Block != nil {
			x.refuse(blocked(e.Block))
			return p, false
		}
		if e.Route != "" {
			if p, ok = x.reroute(e.Route); !ok {
				return p, false
			}
			r.Service = e.Route
		}
	}
	return p, true
}

// ask is the request as middleware sees it.
func (x *exchange) ask() *middleware.Request {
	r := &x.ruling.middleware
	q := &x.ruling.request
	r.Method, r.Host, r.Path, r.Client, r.Fields = q.Method, q.Host, q.Path, q.Client, x
	r.Service, r.Consumer = x.ruling.route.Service, ""
	if who := x.ruling.verdict.Identity; who != nil {
		r.Consumer = who.ID
	}
	return r
}

func (x *exchange) take(l *middleware.Link, e *middleware.Effect) {
	if e.Request.Empty() && e.Response.Empty() && !e.Record {
		return
	}
	if x.edits == nil {
		x.edits = new(edits)
	}
	x.edits.up.Apply(e.Request)
	x.edits.down.Apply(e.Response)
	if e.Record {
		x.edits.recorded = append(x.edits.recorded, l.Rule.Name)
	}
}

func blocked(b *middleware.Block) refusal {
	r := refusal{status: b.Status, reason: Middleware, message: b.Message}
	if r.message == "" {
		r.message = "Blocked"
	}
	return r
}

// reroute sends the request to another service, if that one's own rules let it
// pass: routing is no way round them.
func (x *exchange) reroute(service string) (pass, bool) {
	r := x.ruling
	to := policy.Route{By: policy.BySegment, Rest: r.route.Rest, Stripped: r.route.Stripped}
	r.set.Rename(&to, service)
	r.route = to
	r.request.Limiter = &x.gw.limiter
	x.properName()
	return x.decide()
}

// appendEdits appends the fields that middleware adds.
func (x *exchange) appendEdits(dst []byte, up bool) []byte {
	if x.edits == nil {
		return dst
	}
	o := &x.edits.down
	if up {
		o = &x.edits.up
	}
	for _, f := range o.Fields() {
		dst = http1.AppendField(dst, f.Name, f.Value)
	}
	return dst
}

// record writes a line for each middleware that wants one: into the access
// log, in JSON whatever its format, or else into the log.
func (x *exchange) record(took time.Duration) {
	for _, name := range x.edits.recorded {
		if x.gw.access != nil {
			x.gw.access.record(name, x, took)
			continue
		}
		x.gw.log.Info("recorded", "middleware", name, "request_id", x.id, "method", x.req.Method, "path", x.path.Received,
			"service", x.service, "status", x.status, "took_us", took.Microseconds())
	}
}

// chain tells what the middleware would do, and reports whether it lets the
// request go on.
func (e *Explanation) chain(x *exchange) bool {
	r := x.ask()
	for _, l := range x.set.Middleware {
		effect, fits := l.Apply(r)
		if !fits {
			continue
		}
		step := policy.Step{Step: "middleware", Verdict: "pass", Note: l.Rule.Name}
		switch does := effect.Block != nil || effect.Route != ""; {
		case l.Rule.Report && does:
			step.Verdict, step.Mode = "would_deny", policy.Report
		case effect.Block != nil:
			step.Verdict, step.Mode = "deny", policy.Enforce
			e.refuse(blocked(effect.Block))
		case effect.Route != "":
			step.Note += ": route to " + effect.Route
		}
		e.Steps = append(e.Steps, step)
		if step.Verdict == "deny" {
			return false
		}
		if effect.Route != "" && !l.Rule.Report && !e.reroute(x, effect.Route) {
			return false
		}
	}
	return true
}

// reroute explains the other service's rules behind the first one's.
func (e *Explanation) reroute(x *exchange, service string) bool {
	r := x.ruling
	to := policy.Route{By: policy.BySegment, Rest: r.route.Rest, Stripped: r.route.Stripped}
	r.set.Rename(&to, service)
	r.route = to
	before := e.Steps
	e.decide(x)
	e.Steps = append(before, e.Steps...)
	return e.Allowed
}
