package upstream

import (
	"math/rand/v2"

	"lictor/internal/monotonic"
)

// An instance that appears while its service is in use, or that is back from an
// ejection, gets a part of its share at first, if its service wants it so: caches
// are cold, and pools are empty. New is who comes to others: all that are there
// when the service is first used have their whole share.

// slowFrom is the part of its share that a new instance begins with.
const slowFrom = 0.1

// share is the part of its weight that m gets.
func (q *Request) share(m *member) float64 {
	if q.slow == 0 {
		return 1
	}
	born := m.born.Load()
	if born == 0 {
		return 1
	}
	age := monotonic.Now() - born
	if age >= q.slow {
		m.born.CompareAndSwap(born, 0)
		return 1
	}
	return slowFrom + (1-slowFrom)*float64(age)/float64(q.slow)
}

// defers reports whether m, which is new, leaves this one to others.
func (q *Request) defers(m *member) bool {
	part := q.share(m)
	return part < 1 && rand.Float64() >= part
}

// load is the number of requests under way for the share of m.
func (q *Request) load(m *member) float64 {
	return float64(m.inflight.Load()) / (float64(m.inst.Weight) * q.share(m))
}

// deferred is added to the load of a member that defers: it is taken only if no
// other one can be.
const deferred = 1 << 40

// deferredLoad is load for a member whose turn it is not: one that is new has
// mostly none under way, and would be the first to be taken.
func (q *Request) deferredLoad(m *member) float64 {
	load := q.load(m)
	if q.slow != 0 && q.defers(m) {
		load += deferred
	}
	return load
}

// due is the place to begin at: at, or by chance another one if the member there
// defers or cannot be chosen, so that what it leaves is spread over all. The next one
// in the order would have twice its share for as long as its neighbour is away.
func (q *Request) due(t *tier, at uint64) uint64 {
	n := t.slots()
	for range 16 { // none may be left
		if n == 0 {
			break
		}
		if m := t.slot(at % n); q.open(m) && (q.slow == 0 || !q.defers(m)) {
			break
		}
		at = rand.Uint64N(n)
	}
	return at
}
