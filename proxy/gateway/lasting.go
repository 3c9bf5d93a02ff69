package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/http1"
)

// lasting holds the exchanges that take long: slow answers, large bodies,
// tunnels. When the policy changes they are decided again, and cut if it now
// forbids them (X14).
type lasting struct {
	mu      sync.Mutex // guards entries
	entries map[*lastingEntry]struct{}
	changed chan struct{} // the policy changed
	doomed  atomic.Int64  // entries that are to be cut
}

// lastingEntry is one of them, with its facts in memory of its own.
type lastingEntry struct {
	conn  *http1.Conn
	facts []*policy.Facts // of each decision that let it pass

	mu     sync.Mutex // guards what follows
	over   bool       // the exchange ended: conn serves another one by now
	reason policy.Reason
	rule   policy.Rule
}

// errRevoked is what an exchange ends with that the policy forbids by now.
var errRevoked = errors.New("proxy: the policy forbids it by now")

// Lasting is called when an exchange turns out to take long.
func (g *Gateway) Lasting(c *http1.Conn) {
	x, ok := c.User.(*exchange)
	if !ok || x.lasting != nil || !x.ruling.verdict.Allowed() {
		return
	}
	r := x.ruling
	x.lasting = &lastingEntry{conn: c, facts: append(x.former, r.request.Facts(&r.route, &r.verdict))}
	g.live.mu.Lock()
	if g.live.entries == nil {
		g.live.entries = make(map[*lastingEntry]struct{})
	}
	g.live.entries[x.lasting] = struct{}{}
	g.live.mu.Unlock()
	if g.policy.Set() != r.set { // it changed before the exchange was among them
		g.PolicyChanged()
	}
}

// settleLasting takes the exchange out again, and notes if it was cut.
func (x *exchange) settleLasting() {
	e := x.lasting
	l := &x.gw.live
	l.mu.Lock()
	delete(l.entries, e)
	l.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	if e.reason != "" {
		l.doomed.Add(-1)
	}
	if e.reason != "" && x.err != nil {
		x.reason, x.err = Reason(e.reason), errRevoked
		x.gw.log.Info("cut by a policy change", "request_id", x.id, "reason", string(e.reason), "rule", e.rule.Key,
			"service", x.service, "client", x.client.String(), "took_ms", time.Since(x.began).Milliseconds())
	}
}

// PolicyChanged has every lasting exchange decided again, soon.
func (g *Gateway) PolicyChanged() {
	select {
	case g.live.changed <- struct{}{}:
	default: // is due already
	}
}

// recut is how often a cut is repeated until the exchange ended: what it waits
// for may have begun just after the last one.
const recut = 100 * time.Millisecond

// anew is how often an exchange is decided again without a change of the
// policy: a key may have run out.
const anew = 5 * time.Second

// review decides lasting exchanges again when the policy changed, and now and
// then, until ctx ends.
func (g *Gateway) review(ctx context.Context) {
	tick, due := time.NewTicker(recut), time.NewTicker(anew)
	defer tick.Stop()
	defer due.Stop()
	for {
		changed := true
		select {
		case <-ctx.Done():
			return
		case <-g.live.changed:
		case <-due.C:
		case <-tick.C:
			changed = false
		}
		g.reviewOnce(changed)
	}
}

func (g *Gateway) reviewOnce(changed bool) {
	defer crash.Contain(upkeep, nil)
	if changed {
		set := g.policy.Set()
		g.live.each(func(e *lastingEntry) { e.recheck(&g.live, set) })
	}
	if g.live.doomed.Load() > 0 {
		g.live.each((*lastingEntry).cut)
	}
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

func (e *lastingEntry) recheck(l *lasting, set *policy.Set) {
	if set == nil {
		return // without a policy nothing new is let in; what runs was let in by one
	}
	for _, f := range e.facts {
		var v policy.Verdict
		if set.Recheck(f, time.Now(), &v); v.Allowed() {
			continue
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.reason == "" && !e.over {
			l.doomed.Add(1)
			e.reason, e.rule = v.Reason, v.Rule
		}
		return
	}
}

// cut ends the exchange if it was found forbidden.
func (e *lastingEntry) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reason != "" && !e.over {
		e.conn.Cut(errRevoked)
	}
}
