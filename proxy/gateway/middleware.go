package gateway

import (
	"lictor/internal/field"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
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

// appendTo appends the fields that middleware adds.
func (e *edits) appendTo(dst []byte, up bool) []byte {
	if e == nil {
		return dst
	}
	o := &e.down
	if up {
		o = &e.up
	}
	for _, f := range o.Fields() {
		dst = message.AppendField(dst, f.Name, f.Value)
	}
	return dst
}

// Middleware returns the chain in force.
func (g *Gateway) Middleware() middleware.Chain { return g.settings.Load().Middleware }

// runMiddleware runs the middleware, in its order, on a request that the policy
// let pass.
func (d *decision) runMiddleware() answer.Refusal {
	r := d.seen()
	d.ran = true
	for _, l := range d.in.set.Middleware {
		e, fits := l.Apply(r)
		if !fits {
			continue
		}
		if !d.dry {
			l.Matched.Add(1)
		}
		d.matched = append(d.matched, l.Rule.Name)
		if d.recorder != nil {
			d.recorder.Steps = append(d.recorder.Steps, stepOf(l, &e))
		}
		if l.Rule.Report {
			d.tellWouldAct(l, &e)
			e = middleware.Effect{Record: e.Record}
		}
		d.applyEdits(l, &e)
		d.canary = d.canary || e.Canary
		if e.Block != nil {
			return blocked(e.Block)
		}
		if e.Route != "" {
			d.routed = append(d.routed, e.Route)
			if refused := d.reroute(e.Route); refused.Status != 0 {
				return refused
			}
		}
		if e.Path != "" {
			if refused := d.rewrite(l, e.Path); refused.Status != 0 {
				return refused
			}
		}
		d.goesTo(r)
	}
	return answer.Refusal{}
}

// seen is the request as middleware sees it: what the client asked for, with
// its service in its own spelling (E7).
func (d *decision) seen() *middleware.Request {
	r, q, route, path := &d.middleware, &d.request, &d.route, &d.in.path
	r.Method, r.Host, r.Path, r.Client, r.Fields, r.Readings = q.Method, q.Host, path, q.Client, d, q.Readings()
	name, _, _ := path.Segment()
	r.Named = route.Named(path)
	if route.By == policy.BySegment && route.Stripped && name != route.Service && name != route.API {
		if spelled, _, err := uri.ParsePath("/"+route.Service+route.Rest, nil); err == nil {
			d.spelled = spelled
			r.Path = &d.spelled
		}
	}
	d.goesTo(r)
	return r
}

// goesTo says in r whom the request goes to by now.
func (d *decision) goesTo(r *middleware.Request) {
	r.Service, r.Folded, r.Consumer, r.Name = d.route.Service, d.route.AnyCase, "", ""
	if d.route.Backends != nil {
		r.Service = ""
	}
	if who := d.verdict.Identity; who != nil {
		r.Consumer, r.Name = who.ID, who.Name
	}
}

// Nth implements middleware.Fields. Fields that are not believed from this
// client, and never get to a backend, are not there (contract 4, step 3).
func (d *decision) Nth(name string, n int) (value string, ok bool) {
	for i := range d.in.req.Fields {
		f := &d.in.req.Fields[i]
		if !field.Same(f.Name, name) || !d.believes(f) {
			continue
		}
		if n == 0 {
			return f.Value, true
		}
		n--
	}
	return "", false
}

func (d *decision) believes(f *message.Field) bool { return !d.owned(f.Name) && d.admits(f) }

// admits reports whether the client may send a field to the inside.
func (d *decision) admits(f *message.Field) bool {
	switch f.ID {
	case message.FieldXConsumer, message.FieldXWASP, message.FieldAlias, message.FieldProxy:
		return false
	case message.FieldXForwarded, message.FieldXForwardedFor, message.FieldXForwardedProto, message.FieldXForwardedHost,
		message.FieldXForwardedPort, message.FieldXForwardedPrefix, message.FieldXRealIP, message.FieldForwarded:
		return d.in.trusted
	}
	return d.in.inside || !d.protected(f.Name)
}

func (d *decision) applyEdits(l *middleware.Link, e *middleware.Effect) {
	if e.Request.Empty() && e.Response.Empty() && !e.Record {
		return
	}
	if d.edits == nil {
		d.edits = new(edits)
	}
	d.edits.up.Apply(e.Request)
	d.edits.down.Apply(e.Response)
	if e.Record {
		d.edits.recorded = append(d.edits.recorded, l.Rule.Name)
	}
}

// tellWouldAct logs what a middleware in report mode would have done, and
// counts a refusal (X13).
func (d *decision) tellWouldAct(l *middleware.Link, e *middleware.Effect) {
	if d.dry {
		return
	}
	if e.Block != nil {
		d.gw.counts[d.in.listener].Would(d.gw.upstream.About(&d.route, d.set), policy.Reason(Middleware))
	}
	if does := e.String(); does != "" {
		d.gw.log.Info("middleware would act", "middleware", l.Rule.Name, "action", does,
			"request_id", d.in.id, "method", d.in.req.Method, "path", answer.Clip(d.in.path.Canonical), "client", d.in.client.String())
	}
}

func blocked(b *middleware.Block) answer.Refusal {
	r := answer.Refusal{Status: b.Status, Reason: Middleware, Message: b.Message}
	if r.Message == "" {
		r.Message = "Blocked"
	}
	return r
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
