package upstream

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// withCanaries makes a group with stable members and canaries.
func withCanaries(stable, canaries int) (*group, *roster) {
	svc := &resolver.Service{Name: "svc", Loaded: true}
	for i := range stable + canaries {
		svc.Instances = append(svc.Instances, &resolver.Instance{ID: string(rune('a' + i)), Address: "192.0.2.1:80",
			Weight: 1, State: resolver.Passing, Canary: i >= stable})
	}
	g := &group{name: "svc", log: hclog.NewNullLogger()}
	return g, g.adopt(svc, new(Settings))
}

// K6: a canary gets what is routed to canaries, and nothing else; where none is
// usable a stable member gets it.
func TestCanariesGetWhatIsRoutedToThem(t *testing.T) {
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		t.Run(string(mode), func(t *testing.T) {
			g, r := withCanaries(2, 2)
			got := make(map[*member]int)
			for i := range 200 {
				q := asker(g, mode, i)
				q.Canary = i%2 == 0 // in turn: each tier has turns of its own
				m := q.pick(r)
				if m.inst.Canary != q.Canary {
					t.Fatalf("routed to canaries: %v, went to %s", q.Canary, m.inst.ID)
				}
				got[m]++
			}
			for _, m := range r.members {
				if got[m] < 20 {
					t.Errorf("%s got %d of 200", m.inst.ID, got[m])
				}
			}
		})
	}
}

func TestCanaryRequestFallsBack(t *testing.T) {
	pickAll := func(g *group, r *roster, canary bool) (ids string) {
		q := asker(g, resolver.RoundRobin, 0)
		q.Canary = canary
		for m := q.pick(r); m != nil; m = q.pick(r) {
			q.out.tries = append(q.out.tries, try{member: m})
			ids += m.inst.ID
		}
		return ids
	}
	for _, tt := range []struct {
		name             string
		stable, canaries int
		eject            string // ids
		canary, plain    string // in which order members are tried
	}{
		{"the canary first, then the stable one", 1, 1, "", "ba", "a"},
		{"an ejected canary is none that is usable", 1, 1, "b", "ab", "a"},
		{"every canary may be ejected", 1, 2, "bc", "a*", "a"},
		{"no canary", 1, 0, "", "a", "a"},
		{"nothing but a canary", 0, 1, "", "a", ""},
		{"the last that is left is not ejected", 0, 1, "a", "a", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, r := withCanaries(tt.stable, tt.canaries)
			for _, m := range r.members {
				for _, id := range tt.eject {
					if m.inst.ID == string(id) {
						m.eject("a test", nil)
					}
				}
			}
			got := pickAll(g, r, true)
			if tt.canary == "a*" {
				got = got[:1] + "*"
			}
			if plain := pickAll(g, r, false); got != tt.canary || plain != tt.plain {
				t.Errorf("tried %q and %q, want %q and %q", got, plain, tt.canary, tt.plain)
			}
		})
	}
}

// Canaries do not count where half of a service may be ejected.
func TestHalfOfTheStableMembersIsEjected(t *testing.T) {
	_, r := withCanaries(2, 4)
	for _, m := range r.members {
		m.eject("a test", nil)
	}
	for i, want := range []bool{true, false, true, true, true, true} {
		if r.members[i].ejected() != want {
			t.Errorf("%s: ejected is %v", r.members[i].inst.ID, !want)
		}
	}
}

// An instance that becomes stable keeps its connections.
func TestPromotedCanaryStaysTheSamePeer(t *testing.T) {
	g, r := withCanaries(1, 1)
	next := *r.service
	promoted := *next.Instances[1]
	promoted.Canary = false
	next.Instances = []*resolver.Instance{next.Instances[0], &promoted}
	after := g.adopt(&next, new(Settings))
	if len(after.stable.members) != 2 || len(after.canary.members) != 0 || after.stable.members[1].peer != r.canary.members[0].peer {
		t.Errorf("got %d stable members", len(after.stable.members))
	}
}

// K6: of two sources the same one has the stable members and the canaries, and a
// canary alone is no usable instance to others.
func TestSourceOfCanaries(t *testing.T) {
	of := func(kind string) *resolver.Service {
		svc := &resolver.Service{Name: "svc", Loaded: true, Index: uint64(len(kind))}
		for _, c := range kind {
			svc.Instances = append(svc.Instances, &resolver.Instance{ID: string(c), Address: "192.0.2.1:80", Weight: 1, State: resolver.Passing, Canary: c == 'c'})
		}
		return svc
	}
	for _, tt := range []struct {
		name, first, second string
		want                int
	}{
		{"a canary alone gives way", "c", "s", 1},
		{"the first with a stable one wins", "s", "c", 0},
		{"without a stable one a canary counts", "", "c", 1},
		{"nothing at all", "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both := []*resolver.Service{of(tt.first), of(tt.second)}
			s := newSender(t)
			s.sources = []resolver.Source{oneSource{catalog: resolver.NewCatalog(both[0])}, oneSource{catalog: resolver.NewCatalog(both[1])}}
			if got, _, known := s.lookup("svc"); !known || got != both[tt.want] {
				t.Errorf("got the one with %d instances", len(got.Instances))
			}
		})
	}
}

// K6: what a canary answered is counted apart as well.
func TestCanaryIsCountedApart(t *testing.T) {
	m, reg := testMetrics(t)
	s := &Sender{metrics: m}
	s.groups.Store(&map[string]*group{})
	of := m.serviceLocked("shop")
	asked := func(canary bool, status int, reason answer.Reason) {
		o := &Outcome{Service: "shop", metrics: of, Answered: 1}
		o.tries = append(o.triesArr[:0], try{member: &member{inst: &resolver.Instance{Canary: canary}}})
		s.Count(o, &Ended{Route: &policy.Route{}, Status: status, Reason: reason, Took: 1})
	}
	series := func() (all, canary float64) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				switch f.GetName() {
				case "lictor_requests_total":
					all += m.GetCounter().GetValue()
				case "lictor_canary_requests_total":
					canary += m.GetCounter().GetValue()
				}
			}
		}
		return all, canary
	}
	asked(false, 200, answer.ReasonNone)
	if all, canary := series(); all != 1 || canary != 0 {
		t.Errorf("a stable one: %v, %v", all, canary)
	}
	asked(true, 200, answer.ReasonNone)
	asked(true, 502, answer.BadGateway)
	if all, canary := series(); all != 3 || canary != 2 {
		t.Errorf("with canaries: %v, %v", all, canary)
	}
	m.retireLocked("shop", 0)
	m.expireLocked(keepRetired + 1)
	if all, canary := series(); all != 0 || canary != 0 {
		t.Errorf("it is gone: %v, %v", all, canary)
	}
}

// A canary that cannot be reached when the last stable member is gone is not left out any
// more: nobody would find out when it can be, and it would get nothing once there are
// others again.
func TestACanaryIsNotLeftOutForGood(t *testing.T) {
	g, r := withCanaries(1, 1)
	canary := r.members[1]
	canary.eject("a test", nil)
	e := canary.ejection.Load()
	if e == nil {
		t.Fatal("it is not ejected, though there is a stable member")
	}
	e.until = e.since // its time is over
	g.adopt(&resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{canary.inst}}, new(Settings))
	canary.eject("a test", nil) // as a look at it does that fails
	if canary.ejected() {
		t.Error("it is ejected, and nobody looks after it")
	}
}
