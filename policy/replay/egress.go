package replay

import (
	"net/netip"
	"slices"

	"lictor/internal/uri"
	"lictor/policy"
)

// ServicesAt implements policy.Registry.
func (e *evaluator) ServicesAt(netip.AddrPort) []string {
	e.lacks("where services are registered is not recorded")
	return nil
}

// ServicesNamed implements policy.Registry.
func (e *evaluator) ServicesNamed(string, uint16) []string {
	e.lacks("where services are registered is not recorded")
	return nil
}

// AnyCase implements policy.Registry.
func (e *evaluator) AnyCase(string) bool { return false }

// outbound is what the policy makes of a request through the egress (A6).
func (e *evaluator) outbound(path *uri.Path) outcome {
	r, set := e.record, e.policy.set(e.head)
	e.missing = ""
	d := policy.Destination{Method: r.Method, Host: r.Host, Port: uint16(r.Port), Path: path, Registry: e}
	if r.Method == "CONNECT" {
		d.Method, d.Path = "", nil
	}
	if d.Identity = e.outboundIdentity(set); e.missing != "" {
		return unknown(e.missing)
	}
	for _, text := range r.Addrs {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return unknown("an address of the target cannot be read")
		}
		d.Addrs = append(d.Addrs, a)
	}
	addrs, spelled := d.Addrs, slices.Clone(d.Addrs)
	for _, a := range addrs { // as the egress shows them to blacklists
		spelled = policy.LeadsTo(spelled, a)
	}
	var v policy.Verdict
	d.Addrs = nil
	if set.Blacklisted(&d, &v, e.rec) || set.RefusedByName(&d, &v, e.rec) {
		return e.refusal(&v)
	}
	if len(addrs) == 0 {
		return unknown("the addresses of the target are not recorded")
	}
	if d.Addrs = spelled; set.Blacklisted(&d, &v, e.rec) {
		return e.refusal(&v)
	}
	if d.Addrs = addrs; !set.Whitelisted(&d, &v, e.rec) {
		return e.refusal(&v)
	}
	if e.missing != "" {
		return unknown(e.missing)
	}
	if r.Verdict == "refuse" && r.Reason != "whitelist" { // what comes between was not asked
		return unknown("whether the addresses of the target are private, or those of a service, is not recorded")
	}
	return outcome{passed: true}
}

func (e *evaluator) refusal(v *policy.Verdict) outcome {
	return e.known(outcome{rule: e.policy.plain(v.Rule), reason: string(v.Reason)})
}

// outboundIdentity is who asks, nil if that is nobody.
func (e *evaluator) outboundIdentity(set *policy.Set) *policy.Identity {
	r := e.record
	if r.Consumer == "" {
		if e.fresh {
			e.lacks("a key that was nobody's then may be somebody's now")
		}
		return nil
	}
	digest, ok := e.policy.keys[r.KeySum]
	switch {
	case r.KeySum == "" || ok && digest == [32]byte{}:
		e.lacks("which key the consumer showed is not recorded")
		return nil
	case !ok:
		return nil // it is gone
	}
	c := e.policy.known[digest]
	if !c.NotAfter.IsZero() && !r.Time.Before(c.NotAfter) {
		return nil
	}
	return set.Consumer(c.Consumer)
}
