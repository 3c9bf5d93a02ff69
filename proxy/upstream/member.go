package upstream

import (
	"sync/atomic"
	"time"

	"lictor/proxy/http1"
	"lictor/proxy/socket"
	"lictor/resolver"
)

// member is an instance as one version of the catalog describes it.
type member struct {
	inst *resolver.Instance
	*peer
}

// peer is what lictor has with an address that stays: its connections, what is
// under way on it, and whether it is ejected. It outlives changes of the
// catalog that leave the instance's address as it is.
type peer struct {
	group    *group
	pool     *http1.Pool // by HTTP/1.1
	h2       *line2
	slots    socket.Slots // that all its connections take
	patience time.Duration
	inflight atomic.Int64
	answered atomic.Int64 // monotonic time of the last answer

	// See eject.
	fails    atomic.Int32 // ejections in a row
	ejection atomic.Pointer[ejection]
	checking atomic.Bool // somebody finds out whether it works
	gone     atomic.Bool // no roster has it any more
	faults   faults

	born atomic.Int64 // monotonic time since which it is new; 0 = it is not

	latencies latencies
}

// newPeer makes what lictor has with an instance.
func newPeer(g *group, inst *resolver.Instance, cfg *Settings) *peer {
	p := &peer{group: g, patience: cfg.ConnectTimeout}
	p.slots.SetMost(cfg.MaxConnections)
	p.slots.Spare = func() bool { return p.pool.Spare() || p.h2.spare() }
	p.pool = g.newPool(inst, cfg, &p.slots)
	p.h2 = g.newLine2(inst, cfg, &p.slots)
	return p
}

// ready reports whether a request may go to p, and be it the one that finds out
// whether it works again.
func (p *peer) ready() bool {
	e := p.ejection.Load()
	return e == nil || e.trial.Load() == trialDue
}

// ejected reports whether p is left out.
func (p *peer) ejected() bool { return p.ejection.Load() != nil }

// worked is called when an answer came, at that moment of monotonic.
func (p *peer) worked(at int64) {
	p.answered.Store(at)
	if p.group.misses.Load() != 0 {
		p.group.misses.Store(0)
	}
	if p.fails.Load() == 0 {
		return
	}
	if e := p.ejection.Load(); e == nil || !e.answers { // else its trial decides
		p.readmit("it answers")
	}
}

// retire ends the connections of p that are idle, and all care for it.
func (p *peer) retire() {
	p.gone.Store(true)
	p.pool.Close()
	p.h2.close()
}

// counts returns how many connections are in use and idle.
func (p *peer) counts() (active, idle int) {
	active, idle = p.pool.Counts()
	a, i := p.h2.counts()
	return active + a, idle + i
}
