package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"lictor/internal/consul/mesh"
	"lictor/internal/crash"
	"lictor/internal/monotonic"
	"lictor/proxy/http2"
	"lictor/proxy/socket"
	"lictor/resolver"
)

// An instance that is not there gets no requests for a while, whatever the
// registry says: it is ejected. Only what no client can bring about leads to
// that: a connection that cannot be made, or one that turned out dead. What an
// instance does with a request is the request's doing as much as its own. And
// at most half of a service is ejected at once: what looks like the end of more
// than that is more likely a fault on the way, which ejecting does not cure.
//
// Unless a service wants its instances to be ejected for answers: see faults.
//
// When its time is over lictor makes a connection of its own to see whether the
// instance works; no client's request is put at risk for it.

// ejection says that an instance is left out.
type ejection struct {
	since, until time.Time
	why          string
	err          error
	answers      bool         // for what it answered: it is back by a trial
	trial        atomic.Int32 // see faults
}

// Note is what status and explanations say of it.
func (e *ejection) Note() string {
	text := "until " + e.until.Format(time.TimeOnly) + ": " + e.why
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

const (
	ejectFirst = time.Second      // after the first failure
	ejectMost  = 30 * time.Second // doubled up to it
)

// upkeep is the place of panics in what is done now and then. The next time is
// tried again.
const upkeep = "upstream upkeep"

// eject leaves p out for a while because it cannot be reached.
func (p *peer) eject(why string, err error) {
	p.pool.Clear() // what is idle leads to the same place
	p.group.misses.Add(1)
	p.leaveOut(&ejection{why: why, err: err})
}

// leaveOut puts e in force, if the service can do without p.
func (p *peer) leaveOut(e *ejection) {
	g := p.group
	now := time.Now()
	g.mu.Lock()
	old := p.ejection.Load()
	spared := g.spares(p)
	if p.gone.Load() || old != nil && now.Before(old.until) || !spared { // many may fail at once
		if old != nil && !spared && !p.gone.Load() {
			p.readmit("the service cannot do without it") // nobody would look after it any more
		}
		g.mu.Unlock()
		return
	}
	fails := p.fails.Add(1)
	d := ejectMost
	if fails < 6 {
		d = min(ejectFirst<<(fails-1), ejectMost)
	}
	e.since, e.until = now, now.Add(d)
	if old != nil {
		e.since = old.since
	}
	p.ejection.Store(e)
	g.mu.Unlock()
	if old == nil {
		g.log.Info("instance is ejected", "service", g.name, "address", p.pool.Address(), "why", e.why, "retry_in_ms", d.Milliseconds(), "error", e.err)
	}
	time.AfterFunc(d, func() {
		defer crash.Contain(upkeep, nil)
		p.tryAgain(e)
	})
}

// spares reports whether g can do without p: if at most half of its stable members
// are ejected then. For a canary the stable ones stand in. g.mu must be held.
func (g *group) spares(p *peer) bool {
	r := g.current.Load()
	if r == nil {
		return false
	}
	out, stable := 1, false
	for _, m := range r.stable.members {
		switch {
		case m.peer == p:
			stable = true
		case m.ejected():
			out++
		}
	}
	if !stable {
		return len(r.stable.members) > 0
	}
	return 2*out <= len(r.stable.members)
}

// readmit ends the ejection of p.
func (p *peer) readmit(why string) {
	p.fails.Store(0)
	if e := p.ejection.Swap(nil); e != nil {
		p.born.Store(monotonic.Now())
		p.group.log.Info("instance is back", "service", p.group.name, "address", p.pool.Address(), "why", why, "took_ms", time.Since(e.since).Milliseconds())
	}
}

// tryAgain readmits p if it works now, and else ejects it for longer.
func (p *peer) tryAgain(e *ejection) {
	defer crash.Contain("instance check", nil)
	if p.gone.Load() || p.ejection.Load() != e {
		return
	}
	if e.answers {
		e.trial.Store(trialDue)
		return
	}
	switch err := p.check(); {
	case p.ejection.Load() != e:
	case err == nil:
		p.readmit("a connection could be made")
	default:
		p.eject(e.why, err)
	}
}

// check finds out, by a connection of lictor's own, whether the instance works.
func (p *peer) check() error {
	if p.h2.first {
		ctx, cancel := context.WithTimeout(context.Background(), p.patience)
		defer cancel()
		return p.h2.check(ctx)
	}
	return p.pool.Check(p.patience)
}

// readmitSurplus has no more than half of the stable members of r ejected, now
// that there are others. g.mu must be held.
func (g *group) readmitSurplus(r *roster) {
	out := 0
	for _, m := range r.stable.members {
		if m.ejected() {
			if out++; 2*out > len(r.stable.members) {
				m.readmit("half of the service is ejected without it")
				out--
			}
		}
	}
}

// unreachable is called when no connection to m could be made. hurried says
// that less time was given to it than the configuration allows.
func (q *Request) unreachable(m *member, err error, hurried bool) {
	switch {
	case ourWant(err), errors.Is(err, http2.ErrRefused), hurried && isTimeout(err):
		return
	case errors.Is(err, socket.ErrBusy):
		q.busy++
		return
	}
	if op, ok := errors.AsType[*net.OpError](err); !(ok && op.Op == "dial") && q.choseProtocol(m) {
		return
	}
	m.eject("no connection could be made", err)
}

// hungUp is called when a new connection to m ended before anything was asked.
func (q *Request) hungUp(m *member, err error) {
	if !q.choseProtocol(m) {
		m.eject("it hangs up", err)
	}
}

// choseProtocol reports whether it is the request that makes lictor speak
// another version of HTTP to m than its registration says.
func (q *Request) choseProtocol(m *member) bool {
	return q.byHTTP2(m) != (m.inst.Protocol != resolver.HTTP1)
}

// ourWant reports whether a connection failed for want of something that is
// lictor's own, which says nothing about the instance.
func ourWant(err error) bool {
	for _, ours := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return errors.Is(err, mesh.ErrNoCertificate)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

// silent is called when a request that began at the moment since got no answer
// in its time. Whoever asks for something slow must not cost others the
// instance: only if nobody had an answer from it meanwhile, and a connection of
// lictor's own gets none either, it is ejected.
func (p *peer) silent(since int64) {
	if p.answered.Load() >= since || p.ejected() || !p.checking.CompareAndSwap(false, true) {
		return
	}
	crash.Go("instance check", func() {
		defer p.checking.Store(false)
		if err := p.check(); isTimeout(err) && p.answered.Load() < since {
			p.eject("it answers nothing", err)
		}
	}, nil)
}

// ejectionOf returns why an instance is left out, nil if it is not. A nil roster
// leaves out nobody.
func (r *roster) ejectionOf(i *resolver.Instance) *ejection {
	if r == nil {
		return nil
	}
	for _, m := range r.members {
		if m.inst.ID == i.ID && m.inst.Address == i.Address {
			return m.ejection.Load()
		}
	}
	return nil
}
