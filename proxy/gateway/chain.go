package gateway

import (
	"strings"

	"lictor/internal/field"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
)

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

// Middleware returns the chain in force.
func (g *Gateway) Middleware() middleware.Chain { return g.settings.Load().Middleware }

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
		if x.recorder != nil {
			x.recorder.Steps = append(x.recorder.Steps, stepOf(l, &e))
		}
		if l.Rule.Report {
			x.tellWouldAct(l, &e)
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
			x.goesTo(r)
		}
	}
	return p, true
}

// ask is the request as middleware sees it: what the client asked for, with
// its service in its own spelling (E7).
func (x *exchange) ask() *middleware.Request {
	r := &x.ruling.middleware
	q, route := &x.ruling.request, &x.ruling.route
	r.Method, r.Host, r.Path, r.Client, r.Fields, r.Readings = q.Method, q.Host, &x.path, q.Client, x, q.Readings()
	if name, _, _ := x.path.Segment(); route.By == policy.BySegment && route.Stripped && name != route.Service {
		if path, _, err := uri.ParsePath("/"+route.Service+route.Rest, nil); err == nil {
			x.ruling.spelled = path
			r.Path = &x.ruling.spelled
		}
	}
	x.goesTo(r)
	return r
}

// goesTo says in r whom the request goes to by now.
func (x *exchange) goesTo(r *middleware.Request) {
	r.Service, r.Consumer = x.ruling.route.Service, ""
	if who := x.ruling.verdict.Identity; who != nil {
		r.Consumer = who.ID
	}
}

// Nth implements middleware.Fields. Fields that are not believed from this
// client, and never get to a backend, are not there (contract 4, step 3).
func (x *exchange) Nth(name string, n int) (value string, ok bool) {
	for i := range x.req.Fields {
		f := &x.req.Fields[i]
		if !field.Same(f.Name, name) || !x.believes(f) {
			continue
		}
		if n == 0 {
			return f.Value, true
		}
		n--
	}
	return "", false
}

func (x *exchange) believes(f *http1.Field) bool {
	switch f.ID {
	case http1.FieldXConsumer, http1.FieldXWASP, http1.FieldAlias, http1.FieldProxy:
		return false
	case http1.FieldXForwarded, http1.FieldXForwardedFor, http1.FieldXForwardedProto, http1.FieldXForwardedHost,
		http1.FieldXForwardedPort, http1.FieldXForwardedPrefix, http1.FieldXRealIP, http1.FieldForwarded:
		return x.trusted
	}
	return x.inside || !x.protected(f.Name)
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

// tellWouldAct logs what a middleware in report mode would have done, and
// counts a refusal (X13).
func (x *exchange) tellWouldAct(l *middleware.Link, e *middleware.Effect) {
	if e.Block != nil {
		x.gw.metrics.counts.Would(policy.Reason(Middleware))
	}
	if does := e.String(); does != "" {
		x.gw.log.Info("middleware would act", "middleware", l.Rule.Name, "action", does,
			"request_id", x.id, "method", x.req.Method, "path", answer.Clip(x.path.Canonical), "client", x.client.String())
	}
}

func blocked(b *middleware.Block) answer.Refusal {
	r := answer.Refusal{Status: b.Status, Reason: Middleware, Message: b.Message}
	if r.Message == "" {
		r.Message = "Blocked"
	}
	return r
}

// reroute sends the request to another service, if that one's own rules let it
// pass: routing is no way round them.
func (x *exchange) reroute(service string) (pass, bool) {
	x.former = append(x.former, x.ruling.request.Facts(&x.ruling.route, &x.ruling.verdict))
	if !x.redirect(service) {
		x.refuse(refuseUnknown)
		return pass{}, false
	}
	return x.decide()
}

// redirect makes the request one for another service, for the rules to see it
// as if the client had asked for that one. It reports whether there can be a
// service of the name.
func (x *exchange) redirect(service string) bool {
	r := x.ruling
	if !uri.IsServiceName(service) {
		return false
	}
	var target strings.Builder
	target.WriteString("/" + service + r.route.Rest)
	if x.path.HasQuery {
		target.WriteString("?" + x.path.Query)
	}
	path, _, err := uri.ParsePath(target.String(), nil)
	if err != nil {
		x.err = err
		return false
	}
	r.redirected = path
	to := policy.Route{By: policy.BySegment, Rest: r.route.Rest, Stripped: r.route.Stripped}
	r.set.Rename(&to, service)
	r.route = to
	r.request.Path, r.request.Limiter = &r.redirected, &x.gw.limiter
	x.properName()
	return true
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

// explainChain tells what the middleware would do, and reports whether it lets the
// request go on.
func (x *exchange) explainChain(e *answer.Explanation) bool {
	r := x.ask()
	for _, l := range x.set.Middleware {
		effect, fits := l.Apply(r)
		if !fits {
			continue
		}
		e.Steps = append(e.Steps, stepOf(l, &effect))
		if effect.Block != nil && !l.Rule.Report {
			e.Refuse(blocked(effect.Block))
			return false
		}
		if effect.Route == "" || l.Rule.Report {
			continue
		}
		if !x.explainReroute(e, effect.Route) {
			return false
		}
		x.goesTo(r)
	}
	return true
}

// stepOf is what an explanation says of a middleware that matched.
func stepOf(l *middleware.Link, e *middleware.Effect) policy.Step {
	step := policy.Step{Step: "middleware", Verdict: "pass", Note: l.Rule.Name}
	if does := e.String(); does != "" {
		step.Note += ": " + does
	}
	switch {
	case l.Rule.Report && e.Block != nil:
		step.Verdict, step.Mode = "would_deny", policy.Report
	case l.Rule.Report:
		step.Mode = policy.Report
	case e.Block != nil:
		step.Verdict, step.Mode = "deny", policy.Enforce
	}
	return step
}

// explainReroute explains the other service's rules behind the first one's.
func (x *exchange) explainReroute(e *answer.Explanation, service string) bool {
	if !x.redirect(service) {
		e.Refuse(refuseUnknown)
		return false
	}
	before := e.Steps
	x.explainDecision(e)
	e.Steps = append(before, e.Steps...)
	return e.Allowed
}
