package upstream

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"lictor/internal/monotonic"
	"lictor/resolver"
)

// joined makes a group of four members, of which the last came later than the others.
func joined() (*group, *roster) {
	g, r := memberSet(1, 1, 1)
	next := *r.service
	next.Instances = append(next.Instances[:3:3], &resolver.Instance{ID: "new", Address: "192.0.2.9:80", Weight: 1, State: resolver.Passing})
	return g, g.adopt(&next, &Settings{ConnectTimeout: time.Second})
}

// careful is asker with settings.
func careful(g *group, r *roster, mode resolver.Balance, client int, set Settings) *Request {
	q := asker(g, mode, client)
	set.Balance = mode
	q.Settings = &set
	q.care(r)
	return q
}

// K7: the share of a new member grows from a tenth, by every balance.
func TestShareOfANewMemberGrows(t *testing.T) {
	const n, slow = 20_000, 30 * time.Second
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		for _, tt := range []struct {
			name string
			age  time.Duration
			set  time.Duration
			part float64 // of a whole share
		}{
			{"just there", 0, slow, 0.1},
			{"half way", slow / 2, slow, 0.55},
			{"old", slow, slow, 1},
			{"no slow start", 0, 0, 1},
		} {
			t.Run(string(mode)+" "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g, r := joined()
					time.Sleep(tt.age)
					got := make(map[*member]int)
					for i := range n {
						got[careful(g, r, mode, i, Settings{SlowStart: tt.set}).pick(r)]++
					}
					due := tt.part / (3 + tt.part)
					if share := float64(got[r.members[3]]) / n; math.Abs(share-due) > 0.2*due+0.005 && !(mode == resolver.RandomTwo && share < due && share > due/3) {
						t.Errorf("it got %.3f of the requests, due are %.3f", share, due)
					}
					for _, m := range r.members[:3] {
						if share := float64(got[m]) / n; math.Abs(share-(1-due)/3) > 0.05 {
							t.Errorf("%s got %.3f of the requests: what the new one leaves is not spread", m.inst.ID, share)
						}
					}
				})
			})
		}
	}
}

// Where all are new, all have the same share, and every request goes somewhere.
func TestAllAreNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := memberSet(1)
		next := &resolver.Service{Name: "svc", Loaded: true}
		for _, id := range []string{"a", "b", "c"} {
			next.Instances = append(next.Instances, &resolver.Instance{ID: id, Address: "192.0.2.7:80", Weight: 1, State: resolver.Passing})
		}
		r := g.adopt(next, new(Settings))
		for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
			got := make(map[*member]int)
			for i := range 3000 {
				got[careful(g, r, mode, i, Settings{SlowStart: time.Minute}).pick(r)]++
			}
			for _, m := range r.members {
				if got[m] < 700 || got[m] > 1300 {
					t.Errorf("%s: %s got %d of 3000", mode, m.inst.ID, got[m])
				}
			}
		}
	})
}

// Those that are there at the first request are not new; who is back from an
// ejection is.
func TestWhoIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := memberSet(1, 1)
		q := careful(g, r, resolver.RoundRobin, 0, Settings{SlowStart: time.Minute})
		if got := q.share(r.members[0]); got != 1 {
			t.Errorf("at the first request a member has %v of its share", got)
		}
		r.members[0].eject("a test", nil)
		r.members[0].worked(monotonic.Now())
		if got := q.share(r.members[0]); got != slowFrom {
			t.Errorf("back from an ejection a member has %v of its share", got)
		}
		time.Sleep(time.Minute)
		if got := q.share(r.members[0]); got != 1 || r.members[0].born.Load() != 0 {
			t.Errorf("a minute later it has %v", got)
		}
	})
}

// The service's own word counts before the configuration's.
func TestCareIsTheServicesFirst(t *testing.T) {
	g, r := memberSet(1)
	own := *r.service
	own.Options = resolver.Options{SlowStart: time.Second, MaxRequests: 7}
	q := careful(g, &roster{service: &own}, resolver.RoundRobin, 0, Settings{SlowStart: time.Minute, MaxRequests: 3})
	if q.slow != int64(time.Second) || q.most != 7 {
		t.Errorf("got %v, %d", time.Duration(q.slow), q.most)
	}
	q = careful(g, r, resolver.RoundRobin, 0, Settings{SlowStart: time.Minute, MaxRequests: 3})
	if q.slow != int64(time.Minute) || q.most != 3 {
		t.Errorf("got %v, %d", time.Duration(q.slow), q.most)
	}
}
