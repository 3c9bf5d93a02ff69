package upstream

import (
	"math"
	"math/rand/v2"

	"lictor/resolver"
)

// pick chooses a member that was not tried yet, nil if there is none: a canary
// for who is routed to canaries, else and where none is left a stable one. An
// ejected one is chosen only if nothing else is left: better an attempt than a
// refusal without one, but for who only has to come when there is less to do.
func (q *Request) pick(r *roster) *member {
	if q.Canary {
		if m := q.pickOf(r, &r.canary); m != nil {
			return m
		}
	}
	if m := q.pickOf(r, &r.stable); m != nil {
		return m
	}
	if q.full {
		return nil
	}
	if m := q.pickAny(&r.stable); m != nil || !q.Canary {
		return m
	}
	return q.pickAny(&r.canary)
}

// choices is how many members q may go to.
func (q *Request) choices(r *roster) int {
	if q.Canary {
		return len(r.members)
	}
	return len(r.stable.members)
}

// pickOf chooses a member of t that was not tried yet and is not ejected, nil if
// there is none.
func (q *Request) pickOf(r *roster, t *tier) *member {
	if m := q.pickBound(t); m != nil {
		return m
	}
	balance := r.service.Options.Balance
	if balance == "" {
		balance = q.Settings.Balance
	}
	switch balance {
	case resolver.LeastRequests:
		return q.pickLeast(t)
	case resolver.RandomTwo:
		return q.pickTwo(t)
	case resolver.Hash:
		return q.pickHash(t)
	default:
		return q.pickTurn(t)
	}
}

// pickBound takes the member on whose connection the client may be logged in,
// nil if there is none: on any other one it would have to begin again.
func (q *Request) pickBound(t *tier) *member {
	if q.Conn == nil || !q.Conn.Binds() { // there is no connection in a preview
		return nil
	}
	for _, m := range t.members {
		if q.Conn.BoundTo(m.pool) && q.open(m) {
			return m
		}
	}
	return nil
}

func (q *Request) tried(m *member) bool {
	for i := range q.out.tries[q.former:] {
		if q.out.tries[q.former+i].member == m {
			return true
		}
	}
	return false
}

// slots is the number of places in the order of t, slot the member in one of
// them: members have places by their weight.
func (t *tier) slots() uint64 {
	if t.order != nil {
		return uint64(len(t.order))
	}
	return uint64(len(t.members))
}

func (t *tier) slot(i uint64) *member {
	if t.order != nil {
		return t.members[t.order[i]]
	}
	return t.members[i]
}

// turn is the place in the order that is due. A preview leaves it to the next one.
func (q *Request) turn(t *tier) uint64 {
	if q.dry {
		return t.turn.Load() + 1
	}
	return t.turn.Add(1)
}

// pickTurn is round robin, by weight.
func (q *Request) pickTurn(t *tier) *member {
	n := t.slots()
	at := q.due(t, q.turn(t))
	for i := range n {
		if m := t.slot((at + i) % n); q.open(m) {
			return m
		}
	}
	return nil
}

// pickLeast takes the member with the fewest requests under way for its
// weight; of equal ones, the next in turn.
func (q *Request) pickLeast(t *tier) *member {
	n := uint64(len(t.members))
	if n == 0 {
		return nil
	}
	at := q.due(t, q.turn(t))
	best, least := (*member)(nil), math.Inf(1)
	if m := t.slot(at % t.slots()); q.open(m) {
		best, least = m, q.load(m)
	}
	for i := range n {
		m := t.members[(at+i+1)%n]
		if load := q.deferredLoad(m); load < least && q.open(m) {
			best, least = m, load
		}
	}
	return best
}

// pickTwo takes the better of two drawn by chance.
func (q *Request) pickTwo(t *tier) *member {
	a := q.draw(t, nil)
	if a == nil {
		return nil
	}
	b := q.draw(t, a)
	if b == nil || q.deferredLoad(a) <= q.deferredLoad(b) {
		return a
	}
	return b
}

// draw takes a member by chance, by weight, but not the one to skip.
func (q *Request) draw(t *tier, skip *member) *member {
	n := t.slots()
	if n == 0 {
		return nil
	}
	at := rand.Uint64N(n)
	for range 16 { // drawn anew, as those behind the one to skip would be drawn twice as often
		if m := t.slot(at); m != skip && q.open(m) {
			return m
		}
		at = rand.Uint64N(n)
	}
	for i := range n {
		if m := t.slot((at + i) % n); m != skip && q.open(m) {
			return m
		}
	}
	return nil
}

// pickHash is rendezvous hashing: the same key meets the same member for as
// long as that one is there, and a member that goes moves only its own keys.
func (q *Request) pickHash(t *tier) *member {
	key := q.hashKey()
	var best *member
	top := math.Inf(-1)
	for _, m := range t.members {
		if !q.open(m) {
			continue
		}
		// Weighted rendezvous: -w / ln(h), h uniform in (0, 1).
		h := (float64(mix(key^stringHash(m.inst.ID))>>11) + 0.5) / (1 << 53)
		if score := -float64(m.inst.Weight) * q.share(m) / math.Log(h); score > top {
			best, top = m, score
		}
	}
	return best
}

// pickAny takes any member that was not tried, ejected or not.
func (q *Request) pickAny(t *tier) *member {
	if len(t.members) == 0 {
		return nil
	}
	at := rand.IntN(len(t.members))
	for i := range t.members {
		if m := t.members[(at+i)%len(t.members)]; !q.tried(m) {
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
