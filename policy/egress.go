package policy

import (
	"net/netip"
	"slices"
)

// Blacklisted reports whether a destination is denied, by its name, and by each
// of its addresses once they are known (A3, A4); it overwrites v, and lets it
// allow if nothing denies. Called before DNS it spares the look-up of a name
// that is denied anyway. An unreadable blacklist denies everything (X6).
func (s *Set) Blacklisted(dst *Destination, v *Verdict, rec *Recorder) bool {
	*v = Verdict{}
	switch {
	case s == nil:
		Unavailable(v)
		return true
	case len(s.closed[egress]) > 0:
		Unavailable(v)
		v.Rule = s.closed[egress][0]
		return refused(v, rec, "blacklist")
	}
	x := &s.guards[blacklists]
	q := s.destination(blacklists, dst, seekEnforced)
	if x.byName(&q, dst, true) || x.byAddrs(&q, dst) || s.fedHost(&q) ||
		slices.ContainsFunc(dst.Addrs, func(addr netip.Addr) bool { return s.fedAddr(&q, addr) }) {
		*v = Verdict{Reason: ReasonBlacklist, Status: 403, Message: "Denied", Rule: q.hit.rule()}
		v.speaks(q.hit.tally(), hasRefused)
		return refused(v, rec, "blacklist")
	}
	v.Action = Allow
	if q.would.list != nil {
		v.speaks(q.would.tally(), wouldRefuse)
		noteWould(v, rec, "blacklist", ReasonBlacklist, q.would.rule())
	} else {
		rec.pass("blacklist", Rule{}, "")
	}
	return false
}

// Whitelisted reports whether a destination is admitted (A10): there is no
// whitelist, or its name or every one of its addresses is on one. It wants the
// addresses to be known. It goes on with the v of Blacklisted.
func (s *Set) Whitelisted(dst *Destination, v *Verdict, rec *Recorder) bool {
	if s == nil {
		Unavailable(v)
		return false
	}
	n := s.admits[egress]
	if n.enforced+n.report == 0 {
		v.Action = Allow
		return true
	}
	by, ok, asks := s.whitelisted(dst, seekEnforced)
	if n.enforced > 0 && !ok {
		v.Action, v.Reason, v.Status, v.Message = Deny, ReasonWhitelist, 403, "Denied"
		if asks {
			v.Status, v.Message, v.Challenge = 407, "Proxy authentication required", `Basic realm="lictor"`
		}
		refused(v, rec, "whitelist")
		return false
	}
	v.Action = Allow
	if n.enforced == 0 {
		if by, ok, _ = s.whitelisted(dst, seekAny); !ok {
			v.speaks(s.misses[egress], wouldRefuse)
			noteWould(v, rec, "whitelist", ReasonWhitelist, Rule{})
			return true
		}
	}
	v.speaks(by.tally(), hasPassed)
	rec.pass("whitelist", by.rule(), "")
	return true
}

// PermitDial is the last step about a destination that Blacklisted let pass with v:
// if it is Whitelisted, the Permit is to connect to its addresses, as dst has them.
func (s *Set) PermitDial(dst *Destination, v *Verdict, rec *Recorder) Permit {
	if !v.Allowed() || !s.Whitelisted(dst, v, rec) {
		return Permit{}
	}
	return Permit{grant: grantDial, identity: dst.Identity, addrs: dst.Addrs, port: dst.Port}
}

// RefusedByName reports whether a destination is not admitted whatever its name
// resolves to: whitelists are enforced, none of them admits the name, and none
// holds an address or a service by which its addresses could be admitted. Called
// before DNS it keeps names that carry data from reaching a server. It goes on
// with the v of Blacklisted, which it changes only if it reports true.
func (s *Set) RefusedByName(dst *Destination, v *Verdict, rec *Recorder) bool {
	if s == nil {
		return false // Blacklisted has refused
	}
	if n := s.admits[egress]; n.enforced == 0 || n.byAddr > 0 {
		return false
	}
	if _, ok, _ := s.whitelisted(dst, seekEnforced); ok {
		return false
	}
	return !s.Whitelisted(dst, v, rec)
}

// AdmitsName reports whether an enforced whitelist admits a destination by its
// name, whatever its addresses are and whichever services are there.
func (s *Set) AdmitsName(dst *Destination) bool {
	if s == nil || s.admits[egress].enforced == 0 {
		return false
	}
	addrs, registry := dst.Addrs, dst.Registry
	dst.Addrs, dst.Registry = nil, nil
	_, ok, _ := s.whitelisted(dst, seekEnforced)
	dst.Addrs, dst.Registry = addrs, registry
	return ok
}

// DeniesServices reports whether a blacklist for the egress names services, so
// that it matters to know where they are.
func (s *Set) DeniesServices() bool {
	return s != nil && s.guards[blacklists].services[egress] > 0
}

func refused(v *Verdict, rec *Recorder, step string) bool {
	if rec != nil {
		rec.deny(step, v)
	}
	return true
}

func (s *Set) destination(kind int, dst *Destination, how seek) inquiry {
	return inquiry{lists: &s.lists[kind], side: egress, method: dst.Method, host: dst.Host, port: dst.Port, tunnel: dst.Path == nil,
		denies: kind == blacklists, seek: how, who: dst.Identity}
}

// whitelisted reports whether whitelists admit a destination, by which rule, and,
// if not, whether they might if they knew who asks.
func (s *Set) whitelisted(dst *Destination, how seek) (by hit, ok, asks bool) {
	x := &s.guards[whitelists]
	q := s.destination(whitelists, dst, how)
	if x.byName(&q, dst, false) {
		return q.hit, true, false
	}
	for _, addr := range dst.Addrs {
		if !x.byAddr(&q, addr) && !x.byServiceAt(&q, dst, addr) {
			return hit{}, false, q.asks
		}
	}
	return q.hit, len(dst.Addrs) > 0, q.asks
}

// byName looks for the name of a destination; any says which readings of the
// path count.
func (x *listIndex) byName(q *inquiry, dst *Destination, any bool) bool {
	dst.readings.Reset()
	if x.byHost(q) || x.byReadings(q, dst.Path, &dst.readings, any) {
		return true
	}
	if x.services[egress] == 0 || dst.Registry == nil {
		return false
	}
	return x.byServices(q, dst.Registry, dst.Registry.ServicesNamed(dst.Host, dst.Port))
}

// byAddrs looks for the addresses of a destination: one match is enough.
func (x *listIndex) byAddrs(q *inquiry, dst *Destination) bool {
	return slices.ContainsFunc(dst.Addrs, func(addr netip.Addr) bool { return x.byAddr(q, addr) || x.byServiceAt(q, dst, addr) })
}

func (x *listIndex) byServiceAt(q *inquiry, dst *Destination, addr netip.Addr) bool {
	if x.services[egress] == 0 || dst.Registry == nil {
		return false
	}
	return x.byServices(q, dst.Registry, dst.Registry.ServicesAt(netip.AddrPortFrom(addr.Unmap(), dst.Port)))
}

func (x *listIndex) byServices(q *inquiry, at Registry, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		q.anyCase = q.denies && at.AnyCase(name)
		return x.byService(q, name)
	})
}
