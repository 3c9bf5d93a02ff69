package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/monotonic"
	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
	"lictor/resolver"
)

// group is a service at run time, as one source knows it. Its members follow the
// catalog: whoever sees first that the catalog has another version of the service
// takes it over.
type group struct {
	name    string
	source  int // its place among the sources
	current atomic.Pointer[roster]
	turns   [2]atomic.Uint64 // round robin, of stable members and of canaries
	metrics *serviceMetrics
	fixed   atomic.Pointer[fixedService] // nil: the instances come from discovery
	onBus   atomic.Bool                  // a bus serves it
	mesh    Mesh
	log     hclog.Logger
	used    atomic.Int64 // monotonic time of the last request, with fixed or onBus
	hold    atomic.Int64 // nanoseconds that requests may wait, as its instances said last; 0 = they said nothing
	lost    atomic.Int64 // monotonic time since which no source knows it; 0 = one does

	// See failover.
	next   atomic.Pointer[group]  // the same service as a further source knows it; nil if nobody needed that
	misses atomic.Int64           // connections in a row that could not be made
	cut    atomic.Pointer[outage] // nil: its members can be reached, or nobody knows better

	forbidden atomic.Int64 // monotonic time until which the mesh is known to forbid calls; 0 = it is not

	mu sync.Mutex // serialises adopt and eject
}

// roster is the members of one version of a service. Immutable.
type roster struct {
	service *resolver.Service
	members []*member // those that may get requests, of both tiers
	stable  tier
	canary  tier // whom only requests that are routed there go to
}

// tier is the members between which requests are balanced. Immutable but for the turn.
type tier struct {
	members []*member
	order   []uint16       // indexes into members for weighted round robin; nil if all weigh the same
	turn    *atomic.Uint64 // the group's
}

// maxOrder bounds the length of the weighted order; larger weights are scaled.
const maxOrder = 1024

// adopt returns the roster for svc, making it if the group has another one. A
// member whose address stays is kept with its connections; one that goes is
// closed, which lets its requests end.
func (g *group) adopt(svc *resolver.Service, cfg *Settings) *roster {
	if r := g.current.Load(); r != nil && r.service == svc {
		return r
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.current.Load()
	if old != nil && old.service == svc {
		return old
	}
	r := &roster{service: svc}
	kept := make(map[memberKey]*member)
	if old != nil {
		for _, m := range old.members {
			kept[keyOf(m.inst)] = m
		}
	}
	r.stable = g.tier(kept, candidates(svc, false), cfg, &g.turns[0])
	r.canary = g.tier(kept, candidates(svc, true), cfg, &g.turns[1])
	r.members = slices.Concat(r.stable.members, r.canary.members)
	for _, m := range kept {
		m.retire()
	}
	g.readmitSurplus(r)
	if len(svc.Instances) > 0 { // with the last one its word is gone, but not what it meant
		g.hold.Store(int64(svc.Options.Hold))
	}
	g.current.Store(r)
	return r
}

// tier returns the tier of the instances.
func (g *group) tier(kept map[memberKey]*member, instances []*resolver.Instance, cfg *Settings, turn *atomic.Uint64) tier {
	t := tier{turn: turn}
	for _, inst := range instances {
		t.members = append(t.members, g.member(kept, inst, cfg))
	}
	t.order = weightedOrder(t.members)
	return t
}

// memberKey is what must stay the same for connections to be kept.
type memberKey struct {
	id, address string
	tls         bool
	mesh        string
	protocol    resolver.Protocol
}

func keyOf(i *resolver.Instance) memberKey {
	return memberKey{i.ID, i.Address, i.TLS, i.Mesh, i.Protocol}
}

// member returns the member for inst, out of kept if it was there.
func (g *group) member(kept map[memberKey]*member, inst *resolver.Instance, cfg *Settings) *member {
	old, ok := kept[keyOf(inst)]
	if !ok {
		m := &member{inst: inst, peer: newPeer(g, inst, cfg)}
		if g.current.Load() != nil {
			m.born.Store(monotonic.Now())
		}
		return m
	}
	delete(kept, keyOf(inst))
	if old.inst == inst || *old.inst == *inst {
		return old
	}
	return &member{inst: inst, peer: old.peer}
}

func (g *group) newPool(inst *resolver.Instance, cfg *Settings, slots *socket.Slots) *http1.Pool {
	return http1.NewPool(http1.PoolConfig{
		Address: inst.Address, TLS: g.tls(inst, cfg), Within: inst.Mesh != "", MaxIdle: cfg.MaxIdle, IdleTimeout: upstreamIdle, Slots: slots,
		Control: cfg.Control, Patience: cfg.ConnectTimeout,
	})
}

// upstreamIdle is how long an idle upstream connection is kept: below the
// usual keep-alive limits of servers, so that we close first.
const upstreamIdle = 50 * time.Second

// candidates are the instances that may get requests, of the canaries or of the
// others: the usable ones, and those of last resort only if there is nothing else
// (D8).
func candidates(svc *resolver.Service, canary bool) []*resolver.Instance {
	var sure, last []*resolver.Instance
	for _, i := range svc.Instances {
		switch {
		case !i.Usable() || i.Canary != canary:
		case i.State == resolver.LastResort:
			last = append(last, i)
		default:
			sure = append(sure, i)
		}
	}
	if len(sure) > 0 {
		return sure
	}
	return last
}

// weightedOrder spreads the members by weight, as evenly as it can (smooth
// weighted round robin); nil if they weigh the same.
func weightedOrder(members []*member) []uint16 {
	sum, same := 0, true
	for _, m := range members {
		sum += m.inst.Weight
		same = same && m.inst.Weight == members[0].inst.Weight
	}
	if same || len(members) > maxOrder {
		return nil
	}
	weights := make([]int, len(members))
	total := 0
	for i, m := range members {
		weights[i] = m.inst.Weight
		if sum > maxOrder {
			weights[i] = max(1, m.inst.Weight*maxOrder/sum)
		}
		total += weights[i]
	}
	credit := make([]int, len(members))
	order := make([]uint16, 0, total)
	for range total {
		best := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		order = append(order, uint16(best))
	}
	return order
}

// close ends the idle connections of all its sites.
func (g *group) close() {
	for site := range g.sites() {
		site.empty()
	}
}

// empty retires the members.
func (g *group) empty() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.current.Swap(nil); r != nil {
		for _, m := range r.members {
			m.retire()
		}
	}
}

// fixedService is a list of backends written into the policy, as a service.
type fixedService struct {
	backends *policy.Backends
	service  *resolver.Service
}

// fix returns the service that stands for b, the same one until b changes.
func (g *group) fix(b *policy.Backends) *resolver.Service {
	g.used.Store(monotonic.Now())
	if f := g.fixed.Load(); f != nil && f.backends == b {
		return f.service
	}
	svc := serviceOf(b)
	g.fixed.Store(&fixedService{backends: b, service: svc})
	return svc
}

func serviceOf(b *policy.Backends) *resolver.Service {
	svc := &resolver.Service{Name: b.Name, Loaded: true}
	for _, one := range b.List {
		svc.Instances = append(svc.Instances, &resolver.Instance{
			ID: one.URL, Address: one.Address, TLS: one.TLS, BasePath: one.BasePath, Weight: 1, State: resolver.Passing,
		})
	}
	return svc
}
