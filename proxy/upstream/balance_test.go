package upstream

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/resolver"
)

// memberSet makes a group with members of the given weights, which nobody dials.
func memberSet(weights ...int) (*group, *roster) {
	svc := &resolver.Service{Name: "svc", Loaded: true}
	for i, w := range weights {
		svc.Instances = append(svc.Instances, &resolver.Instance{
			ID: fmt.Sprintf("svc-%d", i), Address: fmt.Sprintf("192.0.2.%d:80", i+1), Weight: w, State: resolver.Passing})
	}
	g := &group{name: "svc", log: hclog.NewNullLogger()}
	return g, g.adopt(svc, &Settings{ConnectTimeout: time.Second})
}

// asker makes a request that picks in g by a mode.
func asker(g *group, mode resolver.Balance, client int) *Request {
	q := &Request{Settings: &Settings{Balance: mode}, Head: new(message.RequestHead),
		Client: netip.AddrFrom4([4]byte{10, 0, byte(client >> 8), byte(client)})}
	q.out, q.group = new(Outcome), g
	return q
}

// Every mode spreads requests by weight, as far as it is able to.
func TestSpread(t *testing.T) {
	const n = 10_000
	tests := []struct {
		mode    resolver.Balance
		weights []int
		within  float64 // of the share due
	}{
		{resolver.RoundRobin, []int{1, 1, 1, 1}, 0.001},
		{resolver.RoundRobin, []int{5, 3, 2}, 0.001},
		{resolver.RoundRobin, []int{100, 1}, 0.02},
		{resolver.RoundRobin, []int{60000, 20000}, 0.01},
		{resolver.LeastRequests, []int{1, 1, 1}, 0.001},
		{resolver.LeastRequests, []int{5, 3, 2}, 0.001},
		{resolver.RandomTwo, []int{1, 1, 1, 1}, 0.15},
		{resolver.Hash, []int{1, 1, 1, 1}, 0.15},
		{resolver.Hash, []int{5, 3, 2}, 0.15},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %v", tt.mode, tt.weights), func(t *testing.T) {
			g, r := memberSet(tt.weights...)
			got, sum := make(map[*member]int), 0
			for i := range n {
				got[asker(g, tt.mode, i).pick(r)]++
			}
			for _, w := range tt.weights {
				sum += w
			}
			for i, m := range r.members {
				due := float64(n) * float64(tt.weights[i]) / float64(sum)
				if math.Abs(float64(got[m])-due) > due*tt.within+1 {
					t.Errorf("member %d of weight %d got %d requests, due are %.0f", i, tt.weights[i], got[m], due)
				}
			}
		})
	}
}

// least_requests and random_two avoid the member that is busy for its weight.
func TestLoadIsAvoided(t *testing.T) {
	for _, mode := range []resolver.Balance{resolver.LeastRequests, resolver.RandomTwo} {
		g, r := memberSet(1, 1)
		r.members[0].inflight.Store(10)
		for range 100 {
			if m := asker(g, mode, 0).pick(r); m != r.members[1] {
				t.Fatalf("%s took the busy member", mode)
			}
		}
		g, r = memberSet(20, 1)
		r.members[0].inflight.Store(10)
		r.members[1].inflight.Store(1)
		for range 100 {
			if m := asker(g, mode, 0).pick(r); m != r.members[0] {
				t.Fatalf("%s took the member that is busier for its weight", mode)
			}
		}
	}
}

// hash: a key meets the same member, and only the keys of one that goes move.
func TestHashIsSticky(t *testing.T) {
	g, r := memberSet(1, 1, 1, 1)
	_, less := memberSet(1, 1, 1)
	moved := 0
	for i := range 2000 {
		first := asker(g, resolver.Hash, i).pick(r)
		if again := asker(g, resolver.Hash, i).pick(r); again != first {
			t.Fatalf("key %d met %s, then %s", i, first.inst.ID, again.inst.ID)
		}
		second := asker(g, resolver.Hash, i).pick(less)
		if first.inst.ID == "svc-3" {
			moved++
		} else if second.inst.ID != first.inst.ID {
			t.Fatalf("key %d moved from %s, which stayed", i, first.inst.ID)
		}
	}
	if moved < 300 || moved > 700 {
		t.Errorf("%d of 2000 keys were on one of 4 members", moved)
	}
}

func TestHashKeys(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: x\r\nX-User: anna\r\nCookie: a=1; sid=s1; b=2\r\n\r\n"
	key := func(on, head string, client int) uint64 {
		x := asker(nil, resolver.Hash, client)
		x.Settings.HashOn = on
		if err := x.Head.Parse([]byte(head)); err != nil {
			t.Fatal(err)
		}
		return x.hashKey()
	}
	const bare = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, on := range []string{"header:x-user", "cookie:sid"} {
		if key(on, head, 1) != key(on, head, 2) {
			t.Errorf("%s: two clients with one key differ", on)
		}
		if key(on, bare, 1) == key(on, bare, 2) || key(on, bare, 1) != key("", bare, 1) {
			t.Errorf("%s: without it the client's address counts", on)
		}
	}
	if key("client_ip", head, 1) == key("client_ip", head, 2) {
		t.Error("client_ip: two clients have one key")
	}
}

// A member that was tried is not picked again; an ejected one only when nothing
// else is left.
func TestEjectedMembers(t *testing.T) {
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		t.Run(string(mode), func(t *testing.T) {
			g, r := memberSet(1, 1)
			good, bad := r.members[0], r.members[1]
			bad.eject("a test", nil)
			for i := range 100 {
				if m := asker(g, mode, i).pick(r); m != good {
					t.Fatal("an ejected member was picked")
				}
			}
			x := asker(g, mode, 0)
			for range 2 {
				m := x.pick(r)
				if m == nil {
					t.Fatal("nothing is picked though an ejected one may work")
				}
				x.out.tries = append(x.out.tries, try{member: m})
			}
			if x.out.tries[0].member == x.out.tries[1].member || x.pick(r) != nil {
				t.Error("a member was picked twice")
			}
			bad.worked(monotonic.Now())
			got := 0
			for i := range 100 {
				if asker(g, mode, i).pick(r) == bad {
					got++
				}
			}
			if got < 20 {
				t.Errorf("after a good answer it got %d of 100", got)
			}
		})
	}
}

// However many members fail, at most half of them are ejected at once; also
// when others go.
func TestAtMostHalfIsEjected(t *testing.T) {
	for n := 1; n <= 9; n++ {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1
		}
		g, r := memberSet(weights...)
		out := func() (out int) {
			for _, m := range g.current.Load().members {
				if m.ejected() {
					out++
				}
			}
			return out
		}
		for range 3 {
			for _, m := range r.members {
				m.eject("a test", nil)
			}
			if got := out(); got != n/2 {
				t.Errorf("%d of %d are ejected", got, n)
			}
		}
		less := *r.service
		less.Instances = less.Instances[:(n+1)/2]
		g.adopt(&less, &Settings{ConnectTimeout: time.Second})
		if got := out(); 2*got > len(less.Instances) {
			t.Errorf("%d of the %d that are left are ejected", got, len(less.Instances))
		}
	}
}

// Each further ejection lasts longer, up to a bound; those who fail at the same
// time make it no longer.
func TestEjectionGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := memberSet(1, 1)
		m := r.members[0]
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			for range 5 {
				m.leaveOut(&ejection{answers: true})
			}
			if left := time.Until(m.ejection.Load().until); left != want*time.Second {
				t.Fatalf("ejected for %s, want %s", left, want*time.Second)
			}
			time.Sleep(want * time.Second)
		}
		m.readmit("the test is over")
		if m.ejected() {
			t.Error("still ejected after it was readmitted")
		}
	})
}

// What one leaves that is ejected, or busy, is spread over all others: the next in the
// order would be overloaded in its turn, and ejected as well.
func TestWhatOneLeavesIsSpread(t *testing.T) {
	const n = 20_000
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		for name, takeAway := range map[string]func(m *member){
			"ejected": func(m *member) { m.eject("a test", nil) },
			"busy":    func(m *member) { m.inflight.Store(5) },
		} {
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				g, r := memberSet(1, 1, 1, 1, 1)
				takeAway(r.members[1])
				got := make(map[*member]int)
				for i := range n {
					got[careful(g, r, mode, i, Settings{MaxRequests: 5}).pick(r)]++
				}
				for i, m := range r.members {
					due := 0.25
					if i == 1 {
						due = 0
					}
					if share := float64(got[m]) / n; math.Abs(share-due) > 0.02 {
						t.Errorf("%s got %.3f of the requests, due are %.2f", m.inst.ID, share, due)
					}
				}
			})
		}
	}
}
