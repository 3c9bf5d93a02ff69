package upstream

import (
	"sync"
	"sync/atomic"
	"testing"

	"lictor/resolver"
)

// K7: what is over the limit of one goes to others; where all have as many as they
// may nobody is asked, not even an ejected one.
func TestRequestsInFlightAreBounded(t *testing.T) {
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		t.Run(string(mode), func(t *testing.T) {
			g, r := memberSet(1, 1, 1)
			r.members[2].eject("a test", nil)
			var under []*Request
			for i := range 6 {
				q := careful(g, r, mode, 1, Settings{MaxRequests: 3})
				m := q.pick(r)
				if m == nil || m == r.members[2] || !q.enter(m) {
					t.Fatalf("request %d: nobody takes it", i)
				}
				q.out.member = m
				under = append(under, q)
			}
			q := careful(g, r, mode, 1, Settings{MaxRequests: 3})
			if m := q.pick(r); m != nil || !q.full {
				t.Errorf("one too many goes to %s", m.inst.ID)
			}
			if q.refuseTried(); q.out.Refusal.Reason != Overloaded || !q.out.Refusal.Repeatable {
				t.Errorf("refused as %+v", q.out.Refusal)
			}
			free := under[0].out.member
			under[0].leave(free)
			if m := careful(g, r, mode, 1, Settings{MaxRequests: 3}).pick(r); m != free {
				t.Error("the place that is free is not taken")
			}
			if m := careful(g, r, mode, 1, Settings{}).pick(r); m == nil {
				t.Error("without a limit there is a limit")
			}
		})
	}
}

// However many come at once, no more than the limit get in.
func TestLimitHoldsForAllAtOnce(t *testing.T) {
	g, r := memberSet(1)
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			q := careful(g, r, resolver.RoundRobin, 0, Settings{MaxRequests: 3})
			if q.enter(r.members[0]) {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 3 || r.members[0].inflight.Load() != 3 {
		t.Errorf("%d got in, %d are counted", in.Load(), r.members[0].inflight.Load())
	}
}
