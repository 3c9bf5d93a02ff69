package gateway

import (
	"slices"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
)

// facts are those of each decision that let an exchange pass.
type facts struct {
	gw  *Gateway
	all []*policy.Facts
}

// Recheck implements [longlived.Facts]. Without a policy nothing new is let in,
// but what runs was let in by one.
func (f *facts) Recheck() answer.Refusal {
	set := f.gw.policy.Set()
	if set == nil {
		return answer.Refusal{}
	}
	for _, one := range f.all {
		var v policy.Verdict
		if set.Recheck(one, time.Now(), &v); !v.Allowed() {
			return answer.Verdict(&v)
		}
	}
	return f.recheckOthers(set)
}

// recheckOthers rechecks under the names that rules came to know the API by since.
func (f *facts) recheckOthers(set *policy.Set) answer.Refusal {
	own := f.all[len(f.all)-1]
	for i := 0; ; i++ {
		name := set.OtherName(&own.Route, i)
		if name == "" {
			return answer.Refusal{}
		}
		if slices.ContainsFunc(f.all, func(one *policy.Facts) bool { return one.Route.API == name }) {
			continue
		}
		as := *own
		set.As(&as.Route, name)
		var v policy.Verdict
		if set.Recheck(&as, time.Now(), &v); !v.Allowed() {
			return answer.Verdict(&v)
		}
	}
}

// Lasts implements [upstream.Exchange].
func (x *exchange) Lasts() { x.gw.Lasting(x.in.c) }

// Lasting is called when an exchange turns out to take long.
func (g *Gateway) Lasting(c *http1.Conn) {
	x, ok := c.User.(*exchange)
	if !ok || x.lasting != nil || !x.decision.permit.Forwards() {
		return
	}
	x.lasting = g.live.Add(c, &facts{g, x.decision.facts()}, time.Time{})
	if g.policy.Set() != x.decision.set { // it changed before the exchange was among them
		g.PolicyChanged()
	}
}

// settleLasting takes the exchange out again, and notes if it was cut.
func (x *exchange) settleLasting() {
	refused, cause := x.lasting.End()
	if cause == nil || x.err == nil {
		return
	}
	x.reason, x.err, x.rule, x.plugin, x.cutBy = refused.Reason, cause, refused.Rule, refused.Plugin, x.gw.policy.Set()
	x.gw.log.Info("cut by a policy change", "request_id", x.in.id, "reason", string(refused.Reason), "rule", refused.Rule.Key,
		"service", x.outcome.Service, "client", x.in.client.String(), "took_ms", time.Since(x.in.began).Milliseconds())
}

// PolicyChanged has every exchange that takes long decided again, soon.
func (g *Gateway) PolicyChanged() { g.live.Changed() }
