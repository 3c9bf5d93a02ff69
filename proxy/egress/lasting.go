package egress

import (
	"net/netip"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
)

// facts are what a destination was let pass by: of its addresses the one that
// was dialled, and the services that were registered there. An instance that
// discovery loses cuts no stream.
type facts struct {
	proxy  *Proxy
	target target
	method string
	creds  credentials
	addr   netip.Addr
	at     services
}

// services is the part of a registry that speaks of one destination.
type services struct{ addressed, named []string }

var _ policy.Registry = services{}

// ServicesAt implements policy.Registry.
func (s services) ServicesAt(netip.AddrPort) []string { return s.addressed }

// ServicesNamed implements policy.Registry.
func (s services) ServicesNamed(string, uint16) []string { return s.named }

// Lasting is called when an exchange turns out to take long.
func (p *Proxy) Lasting(c *http1.Conn) {
	x, ok := c.User.(*exchange)
	if !ok || x.lasting != nil || !x.dialled.IsValid() {
		return
	}
	f := &facts{proxy: p, target: x.target, method: strings.Clone(x.req.Method), creds: x.inquiry.creds, addr: x.dialled.Addr()}
	f.target.host = strings.Clone(x.target.host)
	f.target.path = x.target.path.Clone()
	f.target.rest = ""
	if r := x.inquiry.registry; r != nil {
		f.at = services{r.ServicesAt(x.dialled), r.ServicesNamed(f.target.host, f.target.port)}
	}
	var until time.Time
	if x.target.tunnel {
		until = x.began.Add(x.inquiry.settings.TunnelLife)
	}
	x.lasting = p.live.Add(c, f, until)
	if x.inquiry.era != p.era.Load() || x.inquiry.set != p.policy() { // it changed before the exchange was among them
		p.PolicyChanged()
	}
}

// settleLasting takes the exchange out again, and notes if it was cut.
func (x *exchange) settleLasting() {
	refused, cause := x.lasting.End()
	if cause == nil || x.err == nil {
		return
	}
	x.err, x.refused = cause, refused
	x.p.log.Info("cut", "request_id", x.id, "reason", string(refused.Reason), "rule", refused.Rule.Key,
		"entry", refused.Rule.Entry, "host", x.target.host, "port", x.target.port, "address", x.dialled.String(),
		"client", x.c.RemoteAddr().String(), "bytes_in", x.in, "bytes_out", x.out,
		"took_ms", time.Since(x.began).Milliseconds(), "error", cause)
}

// Recheck implements [longlived.Facts]. Without a policy, or with one that cannot
// be read in part, nothing new is let in, but what runs was let in by one.
func (f *facts) Recheck() answer.Refusal {
	g := f.proxy.guard()
	if g.set == nil || g.own == nil {
		return answer.Refusal{}
	}
	g.registry = f.at
	var q inquiry
	q.begin(g, &f.target, f.method, f.creds, nil)
	q.learn([]netip.Addr{f.addr})
	_, r := q.again()
	if r.Reason == policyUnavailable {
		return answer.Refusal{}
	}
	return r
}
