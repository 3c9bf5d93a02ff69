package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lictor is one of those that live, as Consul shows it.
type Lictor struct {
	ID, Node, Datacenter string
	Address              string // of its gateway, as far as it can be told; "" = unknown
	Self                 bool   // it is this process

	// Policy is what its policy in force is known by, as it told within the last
	// seconds. "" = it has none, or is of a version that does not tell.
	Policy string

	// Differs is since when it has had another policy than this process, in whatever
	// order they changed; zero = it has the same, or it is not known.
	Differs time.Time
}

const (
	metaPolicy = "lictor-policy"  // of the service: what Policy shows
	settle     = 30 * time.Second // in which a change comes to everybody: a former policy is no other one for as long
	maxFormer  = 64               // policies of the last settle that are remembered
	maxOthers  = 1000             // lictors that are told of
	maxText    = 128              // bytes of what another one says of itself
)

// others are the lictors that live, and what policy each has. Any goroutine may use it.
type others struct {
	mu      sync.Mutex
	self    string // id
	current string
	former  []former // the newest last
	known   []Lictor // in the order of their ids
	counted time.Time
}

// former is a policy that was in force here until a moment.
type former struct {
	policy string
	until  time.Time
}

// changed takes over which policy is in force here.
func (o *others) changed(policy string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if policy == o.current {
		return
	}
	o.former = slices.DeleteFunc(append(o.former, former{o.current, now}), func(f former) bool { return now.Sub(f.until) > settle })
	o.former = o.former[max(len(o.former)-maxFormer, 0):]
	o.current = policy
	o.judgeLocked(now)
}

// take takes over who lives, as Consul said at a moment.
func (o *others) take(entries []entry, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	differs := make(map[string]time.Time, len(o.known))
	for _, l := range o.known {
		differs[l.ID] = l.Differs
	}
	o.known, o.counted = o.known[:0:0], now
	for i := range entries {
		if e := &entries[i]; e.isLictor() && len(o.known) < maxOthers {
			l := e.lictor()
			l.Self, l.Differs = e.Service.ID == o.self, differs[l.ID]
			o.known = append(o.known, l)
		}
	}
	slices.SortFunc(o.known, func(a, b Lictor) int { return cmp.Compare(a.ID, b.ID) })
	o.judgeLocked(now)
}

// judgeLocked notes who has another policy than this process. o.mu must be held.
func (o *others) judgeLocked(now time.Time) {
	for i := range o.known {
		l := &o.known[i]
		if l.Self {
			l.Policy = o.current
		}
		switch {
		case o.alikeLocked(l.Policy, now):
			l.Differs = time.Time{}
		case l.Differs.IsZero():
			l.Differs = now
		}
	}
}

// alikeLocked reports whether a policy is that of this process, or was a moment ago,
// or it is not known whether it is. o.mu must be held.
func (o *others) alikeLocked(policy string, now time.Time) bool {
	return policy == "" || o.current == "" || policy == o.current || slices.ContainsFunc(o.former, func(f former) bool {
		return f.policy == policy && now.Sub(f.until) <= settle
	})
}

// list returns who lives, which is the caller's, and when that was counted.
func (o *others) list(now time.Time) ([]Lictor, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judgeLocked(now)
	return slices.Clone(o.known), o.counted
}

// Lictors returns who lives, in the order of their ids, and when Consul said so last;
// the zero time if it has not yet. Consul says it every half a minute at least.
func (p *Presence) Lictors() ([]Lictor, time.Time) { return p.others.list(time.Now()) }

// PolicyChanged tells that another policy is in force here.
func (p *Presence) PolicyChanged() { p.others.changed(p.cfg.Policy(), time.Now()) }

// Disagreements says which lictors have had another policy for longer than a change
// takes to come to everybody.
func (p *Presence) Disagreements() (all []string) {
	now := time.Now()
	known, _ := p.others.list(now)
	for _, l := range known {
		if !l.Differs.IsZero() && now.Sub(l.Differs) > settle {
			all = append(all, fmt.Sprintf("%s on node %s has had another policy (%s) than this lictor since %s", l.ID, l.Node, l.Policy, l.Differs.UTC().Format(time.RFC3339)))
		}
	}
	return all
}

// entry is what is read of one element of a health answer.
type entry struct {
	Node    struct{ Node, Datacenter, Address string }
	Service struct {
		ID, Service, Address string
		Port                 int
		Meta                 map[string]string
	}
}

// isLictor tells lictors apart. Consul does not mind the case of the name that is
// asked for, so a service of another case is in its answer as well.
func (e *entry) isLictor() bool { return e.Service.Service == Service }

func (e *entry) lictor() Lictor {
	l := Lictor{ID: short(e.Service.ID), Node: short(e.Node.Node), Datacenter: short(e.Node.Datacenter), Policy: short(e.Service.Meta[metaPolicy])}
	if host := cmp.Or(e.Service.Address, e.Node.Address); host != "" && e.Service.Port != 0 {
		l.Address = fmt.Sprintf("%s:%d", short(host), e.Service.Port)
	}
	return l
}

// short cuts what somebody else may have written.
func short(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}
