package egress

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns"
	"lictor/proxy/own"
)

// basis is what a decision rests on, loaded once for each.
type basis struct {
	set      *policy.Set
	own      *own.Set
	settings *Settings
	registry policy.Registry // nil: no service is registered
	blind    bool            // it is not known where services are registered
	era      uint64          // Proxy.era before the rest was loaded
}

// inquiry is the decision about one target. Its memory is kept for the next.
type inquiry struct {
	basis
	target     *target
	creds      credentials
	credential string // id of the key, "" if it is unknown or has none
	dst        policy.Destination
	verdict    policy.Verdict
	rec        *policy.Recorder // nil unless somebody wants to know the steps
	lookup     time.Duration    // what the look-up of the name took
	addrs      []netip.Addr     // of the target, unmapped

	addrBuf, spellBuf []netip.Addr
}

// begin prepares q for a target; method and path may be those of a tunnel.
func (q *inquiry) begin(b basis, t *target, method string, creds credentials, rec *policy.Recorder) {
	q.target, q.creds, q.rec, q.lookup, q.addrs = t, creds, rec, 0, nil
	d := &q.dst
	d.Method, d.Host, d.Port, d.Path, d.Addrs = method, t.host, t.port, &t.path, nil
	if t.tunnel {
		d.Method, d.Path = "", nil
	}
	q.setBasis(b)
}

// setBasis replaces what q decides by, and finds the consumer by it.
func (q *inquiry) setBasis(b basis) {
	q.basis = b
	q.dst.Registry = b.registry
	q.dst.Identity, q.credential = q.creds.identity(b.set)
}

// run checks the target, in the order of A6: our own infrastructure, blacklist,
// registered services, private addresses, whitelist. It looks the name up by
// look, and waits for that; but not if the name alone is forbidden already, for a
// question to the servers of a name tells them something.
func (q *inquiry) run(ctx context.Context, look func(context.Context, string) ([]netip.Addr, error)) (policy.Permit, answer.Refusal) {
	if q.set == nil || q.own == nil {
		return policy.Permit{}, q.recordDeny("policy", refuseUnavailable)
	}
	if q.blind && (q.target.name() == "" || !q.set.AdmitsName(&q.dst)) {
		return policy.Permit{}, q.recordDeny("registered_service", refuseBlind)
	}
	t := q.target
	if name := t.name(); name != "" {
		if r := q.checkName(); r.Status != 0 {
			return policy.Permit{}, r
		}
		began := time.Now()
		found, err := look(ctx, name)
		q.lookup = time.Since(began)
		if err != nil || len(found) == 0 {
			return policy.Permit{}, q.lookupFailed(name, err)
		}
		q.recordPass("dns")
		q.setAddrs(found)
	} else {
		q.addrBuf = append(q.addrBuf[:0], t.addr)
		q.addrs = q.addrBuf
	}
	return q.checkAddrs()
}

// checkName checks what can be said without the addresses.
func (q *inquiry) checkName() answer.Refusal {
	t := q.target
	if q.own.ByName(t.host, t.port) {
		return q.recordDeny("own_address", refuseOwn)
	}
	if q.set.Blacklisted(&q.dst, &q.verdict, nil) {
		if q.rec != nil {
			q.set.Blacklisted(&q.dst, &q.verdict, q.rec)
		}
		return refuseVerdict(&q.verdict, true)
	}
	if t.tunnel && !q.settings.connects(t.port) {
		return q.recordDeny("connect_ports", refusePort)
	}
	q.dst.Addrs = nil
	if q.set.RefusedByName(&q.dst, &q.verdict, q.rec) {
		return refuseVerdict(&q.verdict, true)
	}
	return answer.Refusal{}
}

// recheck decides once more, about the addresses that the name had.
func (q *inquiry) recheck() (policy.Permit, answer.Refusal) {
	if q.set == nil || q.own == nil {
		return policy.Permit{}, refuseUnavailable
	}
	if q.target.name() != "" {
		if r := q.checkName(); r.Status != 0 {
			return policy.Permit{}, r
		}
	}
	return q.checkAddrs()
}

// lookupFailed is the refusal of a name that has no address. Whether it belongs
// to a registered service is known without one.
func (q *inquiry) lookupFailed(name string, err error) answer.Refusal {
	if q.isRegistered() {
		return q.recordDeny("registered_service", refuseRegistered)
	}
	r := refuseName(name)
	if e, ok := errors.AsType[*dns.Error](err); ok && e.Timeout || errors.Is(err, context.DeadlineExceeded) {
		r = refuseDNSTimeout
	}
	return q.recordDeny("dns", r)
}

// setAddrs stores the addresses of the target, IPv4 ones as such.
func (q *inquiry) setAddrs(found []netip.Addr) {
	q.addrs = found
	for i, a := range found {
		if a.Is4In6() {
			q.addrBuf = append(q.addrBuf[:0], found...) // found is shared
			for j := range q.addrBuf[i:] {
				q.addrBuf[i+j] = q.addrBuf[i+j].Unmap()
			}
			q.addrs = q.addrBuf
			break
		}
	}
}

// spell has the rules see the addresses, and whatever else one of them leads to.
func (q *inquiry) spell() {
	q.spellBuf = append(q.spellBuf[:0], q.addrs...)
	for _, a := range q.addrs {
		q.spellBuf = policy.LeadsTo(q.spellBuf, a)
	}
	q.dst.Addrs = q.spellBuf
}

// checkAddrs checks all addresses. One that is forbidden forbids the target; of
// the others the whitelist may admit some, which the permit is for.
func (q *inquiry) checkAddrs() (policy.Permit, answer.Refusal) {
	q.spell()
	if r := q.forbidden(); r.Status != 0 {
		return policy.Permit{}, r
	}
	// A whitelist admits the addresses that are dialled, in their own spelling.
	q.dst.Addrs = q.addrs
	p := q.set.PermitDial(&q.dst, &q.verdict, q.rec)
	if len(p.Addrs()) == 0 {
		return p, refuseVerdict(&q.verdict, true)
	}
	return p, answer.Refusal{}
}

// forbidden is the refusal of a target that no whitelist can open.
func (q *inquiry) forbidden() answer.Refusal {
	t := q.target
	for _, a := range q.dst.Addrs {
		if q.own.ByAddr(a, t.port) {
			return q.recordDeny("own_address", refuseOwn)
		}
	}
	q.recordPass("own_address")
	if q.set.Blacklisted(&q.dst, &q.verdict, q.rec) {
		return refuseVerdict(&q.verdict, q.mayTell(q.verdict.Rule.Entry))
	}
	if q.isRegistered() {
		return q.recordDeny("registered_service", refuseRegistered)
	}
	q.recordPass("registered_service")
	for _, a := range q.addrs {
		if q.settings.private(a) {
			return q.recordDeny("private_address", refusePrivate)
		}
	}
	q.recordPass("private_address")
	if t.tunnel && !q.settings.connects(t.port) {
		return q.recordDeny("connect_ports", refusePort)
	}
	return answer.Refusal{}
}

// mayTell reports whether the client may know the entry that refused: an
// address would tell what a name resolves to (A6).
func (q *inquiry) mayTell(entry string) bool {
	return q.target.addr.IsValid() || strings.HasPrefix(entry, "service:")
}

// isRegistered reports whether a service is registered at the target, by name
// or by any of its addresses (A15).
func (q *inquiry) isRegistered() bool {
	if q.settings.ReachRegistered || q.registry == nil {
		return false
	}
	if len(q.registry.ServicesNamed(q.dst.Host, q.dst.Port)) > 0 {
		return true
	}
	return slices.ContainsFunc(q.dst.Addrs, func(a netip.Addr) bool {
		return len(q.registry.ServicesAt(netip.AddrPortFrom(a.Unmap(), q.dst.Port))) > 0
	})
}

// recordDeny and recordPass add steps that only the egress has, such as
// own_address, to an explanation. recordDeny returns r.
func (q *inquiry) recordDeny(step string, r answer.Refusal) answer.Refusal {
	if q.rec != nil {
		q.rec.Steps = append(q.rec.Steps, policy.Step{Step: step, Verdict: "deny", Mode: policy.Enforce, Note: r.Message})
	}
	return r
}

func (q *inquiry) recordPass(step string) {
	if q.rec != nil {
		q.rec.Steps = append(q.rec.Steps, policy.Step{Step: step, Verdict: "pass"})
	}
}
