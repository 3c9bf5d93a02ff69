package gateway

import (
	"math"
	"math/rand/v2"

	"lictor/resolver"
)

// pick chooses a member that was not tried yet, nil if there is none. An
// ejected one is chosen only if nothing else is left: better an attempt than a
// refusal without one.
func (x *exchange) pick(g *group, r *roster) *member {
	if m := x.pickBound(r); m != nil {
		return m
	}
	balance := r.service.Options.Balance
	if balance == "" {
		balance = x.set.Balance
	}
	var m *member
	switch balance {
	case resolver.LeastRequests:
		m = x.pickLeast(g, r)
	case resolver.RandomTwo:
		m = x.pickTwo(r)
	case resolver.Hash:
		m = x.pickHash(r)
	default:
		m = x.pickTurn(g, r)
	}
	if m != nil {
		return m
	}
	return x.pickAny(r)
}

// pickBound takes the member on whose connection the client may be logged in,
// nil if there is none: on any other one it would have to begin again.
func (x *exchange) pickBound(r *roster) *member {
	if x.c == nil || !x.c.Binds() { // there is no connection in an explanation
		return nil
	}
	for _, m := range r.members {
		if x.c.BoundTo(m.pool) && x.open(m) {
			return m
		}
	}
	return nil
}

func (x *exchange) tried(m *member) bool {
	for _, t := range x.tries {
		if t == m {
			return true
		}
	}
	return false
}

// open reports whether m may be chosen now.
func (x *exchange) open(m *member) bool { return !x.tried(m) && m.ready() }

// slots is the number of places in the order of r, slot the member in one of
// them: members have places by their weight.
func (r *roster) slots() uint64 {
	if r.order != nil {
		return uint64(len(r.order))
	}
	return uint64(len(r.members))
}

func (r *roster) slot(i uint64) *member {
	if r.order != nil {
		return r.members[r.order[i]]
	}
	return r.members[i]
}

// pickTurn is round robin, by weight.
func (x *exchange) pickTurn(g *group, r *roster) *member {
	n := r.slots()
	at := g.turn.Add(1)
	for i := range n {
		if m := r.slot((at + i) % n); x.open(m) {
			return m
		}
	}
	return nil
}

// pickLeast takes the member with the fewest requests under way for its
// weight; of equal ones, the next in turn.
func (x *exchange) pickLeast(g *group, r *roster) *member {
	n := uint64(len(r.members))
	if n == 0 {
		return nil
	}
	at := g.turn.Add(1)
	best, least := (*member)(nil), math.Inf(1)
	for i := range n + 1 {
		m := r.members[(at+i)%n]
		if i == 0 {
			m = r.slot(at % r.slots())
		}
		if load := m.load(); load < least && x.open(m) {
			best, least = m, load
		}
	}
	return best
}

// load is the number of requests under way for the weight of m.
func (m *member) load() float64 { return float64(m.inflight.Load()) / float64(m.inst.Weight) }

// pickTwo takes the better of two drawn by chance.
func (x *exchange) pickTwo(r *roster) *member {
	a := x.draw(r, nil)
	if a == nil {
		return nil
	}
	b := x.draw(r, a)
	if b == nil || a.load() <= b.load() {
		return a
	}
	return b
}

// draw takes a member by chance, by weight, but not the one to skip.
func (x *exchange) draw(r *roster, skip *member) *member {
	n := r.slots()
	if n == 0 {
		return nil
	}
	at := rand.Uint64N(n)
	for i := range n {
		if m := r.slot((at + i) % n); m != skip && x.open(m) {
			return m
		}
	}
	return nil
}

// pickHash is rendezvous hashing: the same key meets the same member for as
// long as that one is there, and a member that goes moves only its own keys.
func (x *exchange) pickHash(r *roster) *member {
	key := x.hashKey()
	var best *member
	top := math.Inf(-1)
	for _, m := range r.members {
		if !x.open(m) {
			continue
		}
		// Weighted rendezvous: -w / ln(h), h uniform in (0, 1).
		h := (float64(mix(key^stringHash(m.inst.ID))>>11) + 0.5) / (1 << 53)
		if score := -float64(m.inst.Weight) / math.Log(h); score > top {
			best, top = m, score
		}
	}
	return best
}

// pickAny takes any member that was not tried, ejected or not.
func (x *exchange) pickAny(r *roster) *member {
	if len(r.members) == 0 {
		return nil
	}
	at := rand.IntN(len(r.members))
	for i := range r.members {
		if m := r.members[(at+i)%len(r.members)]; !x.tried(m) {
			return m
		}
	}
	return nil
}

// stringHash is FNV-1a: stable over processes, unlike package maphash.
func stringHash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
