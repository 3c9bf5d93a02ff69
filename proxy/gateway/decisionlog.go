package gateway

import (
	"lictor/policy"
	"lictor/proxy/answer"
)

// record keeps the decision on the request, of which l tells, in the decision log (R1).
func (x *exchange) record(l *answer.Line, share float64) {
	in, d := &x.in, x.decision
	if d.asked && !x.passed {
		d.set.LookForKey(&d.request, &d.route, &d.verdict)
	}
	var r answer.Decided // filled in place: a literal would be built aside and copied
	r.Line, r.Verdict, r.Route, r.Alias = l, &d.verdict, &d.route, d.alias
	r.Identity, r.Names = d.verdict.Identity, in.c.Names()
	r.Body = in.req.Chunked || in.req.ContentLength > 0
	r.Clean = in.path.Canonical != ""
	r.Passed, r.Answered = x.passed, d.verdict.Action == policy.Answer
	r.Ran, r.Matched, r.Routed = d.ran, d.matched, d.routed
	if x.cutBy != nil { // by a later policy, which did not decide on this
		l.Ruling = answer.RulingOf(d.set, &d.verdict)
	}
	if d.asked {
		r.Host, r.Port = d.request.Host, d.request.Port
		if d.route.By != policy.ByRegistration {
			r.Claimed[0], r.Claimed[1] = x.gw.upstream.ClaimOf(r.Host)
		}
		r.Preflight = d.request.Preflight()
		if x.gw.locator != nil {
			r.Country = d.request.Country()
			r.KnowsCountry = r.Country != policy.CountryUnknown
		}
		r.Headers = d.headersFit()
	}
	x.gw.decided.Write(&r, share)
}

// headersFit returns the names of the middleware of which the condition on the header
// holds, whatever else it wants.
func (d *decision) headersFit() []string {
	d.fits = d.fits[:0]
	for _, l := range d.in.set.Middleware {
		if len(l.Rule.Match.Headers) > 0 && l.Rule.Match.FitsHeaders(d) {
			d.fits = append(d.fits, l.Rule.Name)
		}
	}
	return d.fits
}
