package egress

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/http1"
)

// lasting holds what takes long: tunnels, slow answers, large bodies. When the
// policy changes they are checked again, and cut if they are forbidden (X14).
type lasting struct {
	mu      sync.Mutex // guards entries
	entries map[*lastingEntry]struct{}
	changed chan struct{} // decisions made before may not hold any more
}

// lastingEntry is one of them, with its facts in memory of its own: the
// destination, of its addresses the one that was dialled, and the services that
// were registered there. An instance that discovery loses cuts no stream.
type lastingEntry struct {
	conn   *http1.Conn
	target target
	method string
	creds  credentials
	addr   netip.Addr
	at     services
	until  time.Time // of a tunnel; zero = no limit

	mu      sync.Mutex // guards what follows
	over    bool       // the exchange ended: conn serves another one by now
	cause   error      // why it is to be cut
	refused refusal    // if a rule is the cause
}

// What an exchange is cut with.
var (
	errRevoked = errors.New("egress: the policy forbids it by now")
	errTooLong = errors.New("egress: the tunnel is over its time")
)

// services is the part of a registry that speaks of one destination.
type services struct{ addressed, named []string }

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
	e := &lastingEntry{conn: c, target: x.target, method: strings.Clone(x.req.Method), creds: x.inquiry.creds, addr: x.dialled.Addr()}
	e.target.host = strings.Clone(x.target.host)
	e.target.path = x.target.path.Clone()
	e.target.rest = ""
	if r := x.inquiry.registry; r != nil {
		e.at = services{r.ServicesAt(x.dialled), r.ServicesNamed(e.target.host, e.target.port)}
	}
	if x.target.tunnel {
		e.until = x.began.Add(x.inquiry.settings.TunnelLife)
	}
	x.lasting = e
	p.lasting.mu.Lock()
	p.lasting.entries[e] = struct{}{}
	p.lasting.mu.Unlock()
	if x.inquiry.era != p.era.Load() || x.inquiry.set != p.policy() { // it changed before the exchange was among them
		p.PolicyChanged()
	}
}

// settleLasting takes the exchange out again, and notes if it was cut.
func (x *exchange) settleLasting() {
	e, l := x.lasting, &x.p.lasting
	l.mu.Lock()
	delete(l.entries, e)
	l.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	if e.cause == nil || x.err == nil {
		return
	}
	x.err = e.cause
	x.refused = e.refused
	x.p.log.Info("cut", "request_id", x.requestID(), "reason", string(e.refused.reason), "rule", e.refused.rule.Key,
		"entry", e.refused.rule.Entry, "host", e.target.host, "port", e.target.port, "address", x.dialled.String(),
		"client", x.c.RemoteAddr().String(), "bytes_in", x.in, "bytes_out", x.out,
		"took_ms", time.Since(x.began).Milliseconds(), "error", e.cause)
}

// recut is how often a cut is repeated until the exchange ended: what it waits
// for may have begun just after the last one.
const recut = 100 * time.Millisecond

// anew is how often it is checked without a change of the policy: a key may
// have run out.
const anew = 5 * time.Second

// review checks what lasts again when the policy changed, and now and then,
// until ctx ends. A change is seen even if nobody tells of it.
func (p *Proxy) review(ctx context.Context) {
	tick, due := time.NewTicker(recut), time.NewTicker(anew)
	defer tick.Stop()
	defer due.Stop()
	last := p.policy()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-p.lasting.changed:
			changed = true
		case <-due.C:
			changed = true
		case <-tick.C:
		}
		if set := p.policy(); set != last {
			last, changed = set, true
		}
		p.reviewOnce(changed)
	}
}

func (p *Proxy) reviewOnce(changed bool) {
	defer crash.Contain(upkeep, nil)
	if changed {
		g := p.guard()
		p.lasting.each(func(e *lastingEntry) { e.recheck(g) })
	}
	now := time.Now()
	p.lasting.each(func(e *lastingEntry) { e.cut(now) })
}

func (l *lasting) each(f func(*lastingEntry)) {
	l.mu.Lock()
	all := make([]*lastingEntry, 0, len(l.entries))
	for e := range l.entries {
		all = append(all, e)
	}
	l.mu.Unlock()
	for _, e := range all {
		f(e)
	}
}

// recheck decides again. Without a policy, or with one that cannot be read in
// part, nothing new is let in, but what runs was let in by one.
func (e *lastingEntry) recheck(g guard) {
	if g.set == nil || g.own == nil {
		return
	}
	g.registry = e.at
	var q inquiry
	q.begin(g, &e.target, e.method, e.creds, nil)
	q.learn([]netip.Addr{e.addr})
	r := q.again()
	if r.status == 0 || r.reason == policyUnavailable {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause, e.refused = errRevoked, r
}

// cut ends the exchange if it was found forbidden, or is over its time.
func (e *lastingEntry) cut(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil && !e.until.IsZero() && now.After(e.until) {
		e.cause = errTooLong
	}
	if e.cause != nil && !e.over {
		e.conn.Cut(e.cause)
	}
}

var _ policy.Registry = services{}
