package egress

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
)

// facts are what a long exchange is decided on again when the policy changes: of
// the target's addresses the one that was dialled, and the services that were
// registered there at the time, so that an instance that leaves discovery cuts no
// stream.
type facts struct {
	proxy  *Proxy
	client netip.Addr
	target target
	method string
	creds  credentials
	addr   netip.Addr
	at     services
}

// services is the part of a registry that speaks of one destination.
type services struct {
	addressed, named []string
	anyCase          []string // those of them whose registry does not mind the case of names
}

var _ policy.Registry = services{}

// ServicesAt implements policy.Registry.
func (s services) ServicesAt(netip.AddrPort) []string { return s.addressed }

// ServicesNamed implements policy.Registry.
func (s services) ServicesNamed(string, uint16) []string { return s.named }

// AnyCase implements policy.Registry.
func (s services) AnyCase(service string) bool { return slices.Contains(s.anyCase, service) }

// servicesAt are those of a registry at an address, and at a name.
func servicesAt(r policy.Registry, at netip.AddrPort, host string) services {
	s := services{addressed: r.ServicesAt(at), named: r.ServicesNamed(host, at.Port())}
	for _, name := range slices.Concat(s.addressed, s.named) {
		if r.AnyCase(name) {
			s.anyCase = append(s.anyCase, name)
		}
	}
	return s
}

// Lasting enters the exchange of c among those that are decided on again when the
// policy changes. http1 calls it once an exchange turns out to take long.
func (p *Proxy) Lasting(c *http1.Conn) {
	x, ok := c.User.(*exchange)
	if !ok || x.lasting != nil || !x.dialled.IsValid() {
		return
	}
	f := &facts{proxy: p, client: c.RemoteAddr().Addr(), target: x.target, method: strings.Clone(x.req.Method), creds: x.inquiry.creds, addr: x.dialled.Addr()}
	f.target.host = strings.Clone(x.target.host)
	f.target.path = x.target.path.Clone()
	f.target.rest = ""
	if r := x.inquiry.registry; r != nil {
		f.at = servicesAt(r, x.dialled, f.target.host)
	}
	var until time.Time
	if x.target.tunnel {
		until = x.began.Add(x.inquiry.settings.TunnelLife)
	}
	x.lasting = p.live.Add(c, f, until)
	if x.inquiry.era != p.era.Load() || x.inquiry.set != p.policy() { // it changed before the exchange was entered
		p.PolicyChanged()
	}
}

// endLasting takes the exchange out of those that are reviewed when the policy
// changes, and logs if it was cut.
func (x *exchange) endLasting() {
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

// Recheck implements [longlived.Facts]. While no policy is available new requests
// are refused, but what runs goes on: a policy let it in.
func (f *facts) Recheck() answer.Refusal {
	b := f.proxy.basis()
	if !b.settings.serves(f.client) {
		return refuseClient
	}
	if b.set == nil || b.own == nil {
		return answer.Refusal{}
	}
	b.registry = f.at
	var q inquiry
	q.begin(b, &f.target, f.method, f.creds, nil)
	q.setAddrs([]netip.Addr{f.addr})
	_, r := q.recheck()
	if r.Reason == policyUnavailable {
		return answer.Refusal{}
	}
	return r
}
