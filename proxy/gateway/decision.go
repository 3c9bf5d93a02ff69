package gateway

import (
	"slices"
	"sync"

	"lictor/internal/field"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
	"lictor/proxy/middleware"
)

// decision is the way from what came to a permit, or a refusal: the API and the
// service, the policy's verdict, the middleware behind it. A dry one goes the same
// way for an explanation, and leaves no trace. Its memory is kept for its buffers.
type decision struct {
	gw *Gateway
	in *inbound
	as string // of a dry one: the consumer whose the request is, without any credential; "" = as the rest says

	*work                // nil once nobody asks any more
	set      *policy.Set // loaded once; all of the request goes by it
	route    policy.Route
	verdict  policy.Verdict
	permit   policy.Permit
	recorder *policy.Recorder // nil if nobody asked for it
	former   []*policy.Facts  // of decisions for services that middleware took it away from
	asks     []policy.Ask     // that are to be answered with yes, by all verdicts (P3)
	granted  []message.Field  // that authorities have the backend told
	cookies  []string         // that they set at the client

	sends       *uri.Path            // that goes on: what came, or what middleware made of it
	prefix      string               // the segment that named the first service, "" if none did
	query       string               // that goes to the backend, if the path has one
	claims      []policy.ClaimHeader // fields that are made of claims, by all verdicts (P2)
	drop        [][]string           // fields of the client's that lictor alone sets, by all verdicts
	looked      [][]string           // fields that were looked in for who it is, by all verdicts
	hide        []string             // fields and arguments that the backend must not see, by all verdicts (C24)
	hideCookies []string             // the same of cookies
	edits       *edits               // by middleware, nil if none matched
	watched     []policy.BodyWatch   // limits in report mode on it, by all verdicts
	most        int64                // bytes that the body may have, by the settings and all verdicts; 0 = no limit

	dry     bool
	canary  bool     // middleware routed it to canaries
	asked   bool     // request is that of this decision
	ran     bool     // middleware ran
	matched []string // middleware that matched, for the decision log
	routed  []string // services that middleware sent it to instead, for the decision log
	fits    []string // middleware of which the condition on the header holds

	alias     string   // another name by which it was decided on, "" if by none
	rewritten uri.Path // that goes on, if middleware made it another one
	queryBuf  []byte
}

// work is what a decision works with until it is made.
type work struct {
	request    policy.Request
	middleware middleware.Request
	redirected uri.Path // of request, if middleware sent it to another service or path
	spelled    uri.Path // of middleware, if the client spelled the service otherwise
	hostBuf    []byte
}

var works = sync.Pool{New: func() any { return new(work) }}

// rest gives back, while the request is sent and answered, what a decision on another
// one may be made with meanwhile: of many requests at once each would have its own in
// the CPU's caches. The decision log asks it later on, and so does who wants to know the
// path that middleware made.
func (d *decision) rest() {
	if d.work != nil && d.gw.decided == nil && d.request.Path == &d.in.path {
		d.giveBack()
	}
}

// giveBack gives back what is of no use once the decision was made.
func (d *decision) giveBack() {
	w := d.work
	if w == nil {
		return
	}
	q := &w.request
	q.Method, q.Host, q.Path, q.Names, q.Fields, q.Shown = "", "", nil, nil, nil, nil
	w.middleware, w.redirected, w.spelled = middleware.Request{}, uri.Path{}, uri.Path{}
	d.work = nil
	works.Put(w)
}

// reset readies d for what came. Each large part is cleared by itself, in place:
// in one assignment, or with values, they would be built aside and copied.
func (d *decision) reset(g *Gateway, in *inbound) {
	if d.work == nil {
		d.work = works.Get().(*work)
	}
	d.gw, d.in, d.dry, d.as = g, in, false, ""
	d.set, d.recorder, d.former, d.hide, d.hideCookies, d.edits = nil, nil, nil, nil, nil, nil
	d.asks, d.granted, d.cookies, d.claims, d.drop, d.looked = nil, nil, nil, nil, d.drop[:0], d.looked[:0]
	d.asked, d.ran, d.matched, d.routed, d.watched = false, false, d.matched[:0], d.routed[:0], d.watched[:0]
	d.route = policy.Route{}
	d.verdict = policy.Verdict{}
	d.permit = policy.Permit{}
	d.sends = &in.path
	d.prefix, d.query, d.alias, d.canary, d.most = "", "", "", false, in.set.MaxBody
}

// run decides. It returns the refusal; after the zero one there is a permit.
func (d *decision) run() answer.Refusal {
	if r := d.findRoute(); r.Status != 0 {
		return r
	}
	r := d.decide()
	if r.Status == 0 && len(d.in.set.Middleware) > 0 {
		r = d.runMiddleware()
	}
	if r.Status != 0 {
		d.permit = policy.Permit{}
	}
	return r
}

// findRoute names the API and the service of the request (X2).
func (d *decision) findRoute() answer.Refusal {
	if err := d.ask(); err != nil {
		return refuseBadHost.Because(err)
	}
	d.set, d.asked = d.gw.policy.Set(), true
	d.route = d.set.Route(&d.request)
	if d.route.By == policy.ByNothing {
		return refuseNoService
	}
	d.properName()
	if d.route.Stripped {
		d.prefix = d.route.Service
		if name, _, _ := d.in.path.Segment(); name == d.route.API {
			d.prefix = d.route.API // which is not the service's where the API is a part of it
		}
	}
	return answer.Refusal{}
}

// ask fills in what the policy is asked about. The error is a host that cannot
// be read.
func (d *decision) ask() error {
	in, q := d.in, &d.request
	host, port, buf, err := uri.Host(in.req.Host, d.hostBuf)
	d.hostBuf = buf
	if err != nil {
		return err
	}
	if port == 0 {
		_, port = in.scheme()
	}
	q.Method, q.Host, q.Port, q.Path = in.req.Method, host, port, &in.path
	if q.Names = nil; in.c != nil {
		q.Names = in.c.Names()
	}
	q.Client, q.Fields, q.Length, q.Locator, q.Hosts = in.client, in, in.req.ContentLength, d.gw.locator, d.gw.upstream
	q.Now, q.Limiter, q.Tokens, q.Dry, q.Again = in.began, &d.gw.limiter, d.gw.tokens, d.dry, false
	q.As = d.as
	return nil
}

// properName gives a service the spelling of its resolver, for the policy to go
// by. An API that a filter chose keeps its own name.
func (d *decision) properName() {
	r := &d.route
	if r.Backends != nil || d.gw.upstream.Bus().Carries(r.Service, nil) {
		r.AnyCase = d.segmentInAnyCase()
		return
	}
	name, anyCase, known := d.gw.upstream.Spelling(r.Service)
	r.AnyCase = anyCase || r.API != r.Service && d.segmentInAnyCase()
	switch {
	case known && r.By == policy.BySegment && r.Service != name:
		if d.set.Rename(r, name); r.Service != name { // an API object of that name chose another one
			d.respell()
		}
		d.set.Narrow(&d.request, r)
	case known:
		r.Service = name
	case r.By == policy.BySegment && r.API == r.Service:
		d.request.Limiter = nil // names that clients make up are not counted one by one
	}
}

// segmentInAnyCase reports whether a registry knows the service that the path names in
// any case, so that in another one the request would go the same way.
func (d *decision) segmentInAnyCase() bool {
	if d.route.By != policy.BySegment {
		return false
	}
	name, _, _ := d.in.path.Segment()
	_, anyCase, known := d.gw.upstream.Spelling(name)
	return anyCase && known
}

// respell gives the service the spelling of its resolver, whatever the API is called.
func (d *decision) respell() {
	if name, _, known := d.gw.upstream.Spelling(d.route.Service); known {
		d.route.Service = name
	}
}

// judge asks the policy under each name that rules may call the service by. The
// first refusal stands.
func (d *decision) judge() {
	if d.alias = d.set.OtherName(&d.route, 0); d.alias != "" {
		d.judgeEach()
		return
	}
	d.permit = d.set.Decide(&d.request, &d.route, &d.verdict, d.recorder)
	d.request.Again = true
}

// judgeEach is judge of a service that has other names. It is a function of its own for
// its large frame.
//
//go:noinline
func (d *decision) judgeEach() {
	own, name := d.route, d.alias
	var former policy.Verdict
	for i := 1; name != ""; i++ {
		d.route = own
		d.set.As(&d.route, name)
		if d.set.Decide(&d.request, &d.route, &d.verdict, d.recorder); !d.verdict.Allowed() {
			return
		}
		d.former = append(d.former, d.request.Facts(&d.route, &d.verdict))
		d.demand()
		own.Protected = policy.Union(own.Protected, d.route.Protected)
		d.request.Again = true
		d.verdict.Follow(&former)
		former, name = d.verdict, d.set.OtherName(&own, i)
	}
	d.route = own
	d.permit = d.set.Decide(&d.request, &d.route, &d.verdict, d.recorder)
	d.verdict.Follow(&former)
}

// demand adds what a verdict that let the request pass demands of what goes to the
// backend: each verdict on a request holds, the last one no more than those under
// another name of the service, or for one that middleware routed away from.
func (d *decision) demand() {
	v := &d.verdict
	if v.MaxBody > 0 && (d.most == 0 || v.MaxBody < d.most) {
		d.most = v.MaxBody
	}
	if v.Watch != (policy.BodyWatch{}) && !slices.Contains(d.watched, v.Watch) {
		d.watched = append(d.watched, v.Watch)
	}
	d.hide, d.hideCookies = policy.Union(d.hide, v.Hide), policy.Union(d.hideCookies, v.HideCookies)
	d.drop, d.looked = append(d.drop, v.Drop...), append(d.looked, v.Credentials...)
	d.claim(v.Claims)
	for _, a := range v.Asks() { // each once
		if !slices.ContainsFunc(d.asks, func(b policy.Ask) bool { return a.ForwardAuth == b.ForwardAuth }) {
			d.asks = append(d.asks, a)
		}
	}
}

// decide asks the policy whether the request may pass (contract 4, step 5).
func (d *decision) decide() answer.Refusal {
	v := &d.verdict
	d.judge()
	if !d.dry {
		v.Count(d.in.began)
		d.tellWould()
	}
	if !v.Allowed() {
		return answer.Verdict(v)
	}
	d.demand()
	d.query = d.in.path.Query
	if len(d.hide) > 0 {
		d.query, d.queryBuf = uri.WithoutArguments(d.query, d.hide, d.queryBuf)
	}
	return answer.Refusal{}
}

// tellWould logs and counts what rules in report mode would have refused (X13).
func (d *decision) tellWould() {
	for _, w := range d.verdict.Would() {
		d.tellOne(&w)
	}
}

func (d *decision) tellOne(w *policy.Would) {
	d.gw.counts[d.in.listener].Would(d.gw.upstream.About(&d.route, d.set), w.Reason)
	d.gw.log.Info("would be denied", "request_id", d.in.id, "reason", string(w.Reason), "rule", w.Rule.Key,
		"entry", w.Rule.Entry, "note", w.Rule.Note, "path", answer.Clip(d.in.path.Canonical), "client", d.in.client.String())
}

// tellBody does the same for limits on the body, once so many bytes of it were read: its
// head may have told no length.
func (d *decision) tellBody(bytes int64) {
	for _, watch := range d.watched {
		if w, over := watch.Read(&d.verdict, bytes, d.in.began); over {
			d.tellOne(&w)
		}
	}
}

// facts are what the request was let pass by, to decide again while it lasts.
func (d *decision) facts() []*policy.Facts {
	if d.work == nil { // see rest
		d.work = works.Get().(*work)
		_ = d.ask() // the host was read before
	}
	defer d.rest()
	return append(d.former, d.request.Facts(&d.route, &d.verdict))
}

// claim adds fields that are made of claims. Of one that a former verdict made as
// well, the new value holds.
func (d *decision) claim(claims []policy.ClaimHeader) {
	switch {
	case len(claims) == 0:
		return
	case len(d.claims) == 0:
		d.claims = claims
		return
	}
	kept := slices.DeleteFunc(slices.Clone(d.claims), func(c policy.ClaimHeader) bool { return isClaim(claims, c.Name) })
	d.claims = append(kept, claims...)
}

// isClaim reports whether a field is made of one of the claims.
func isClaim(claims []policy.ClaimHeader, name string) bool {
	return slices.ContainsFunc(claims, func(c policy.ClaimHeader) bool { return field.Same(c.Name, name) })
}

// owned reports whether a field speaks for a token or for an authority (P2, P3), so
// that what the client sent of it goes to nobody, however it spells it; or whether
// it is another spelling of one that says who the client is.
func (d *decision) owned(name string) bool {
	for _, names := range d.drop {
		if anyName(names, name) {
			return true
		}
	}
	for _, names := range d.looked {
		if respelled(names, name) {
			return true
		}
	}
	return false
}

// identifies reports whether a field is one that says who the client is. A trailer is
// read when that is settled.
func (d *decision) identifies(name string) bool {
	return slices.ContainsFunc(d.looked, func(names []string) bool { return anyName(names, name) })
}

// respelled reports whether a name is another spelling of one of names: what was
// looked at is the one, and a CGI-style backend may take the other.
func respelled(names []string, name string) bool {
	for _, n := range names {
		if field.Same(n, name) && !message.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// hides reports whether a field holds the key that the backend must not see (C24).
func (d *decision) hides(name string) bool { return anyName(d.hide, name) }

// protected reports whether a header belongs to the inside, for this gateway
// or this API (D18).
func (d *decision) protected(name string) bool {
	return anyName(d.in.set.ProtectedHeaders, name) || anyName(d.route.Protected, name)
}

// tellsLimits reports whether the gateway itself tells of a limit: then what the
// service says of its own would be a second value of the same fields.
func (d *decision) tellsLimits() bool { return len(d.verdict.Limits.All()) > 0 }
