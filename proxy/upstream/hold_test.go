package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/resolver"
)

// liveSource is a source whose catalog a test changes.
type liveSource struct {
	resolver.Source
	resolver.Bell
	catalog atomic.Pointer[resolver.Catalog]
}

func (s *liveSource) Catalog() *resolver.Catalog { return s.catalog.Load() }

func (s *liveSource) Want(string) <-chan struct{} { return make(chan struct{}) }

func (s *liveSource) set(services ...*resolver.Service) {
	s.catalog.Store(resolver.NewCatalog(services...))
	s.Ring()
}

// svcOf is the service of a test, with instances in the states.
func svcOf(name string, hold time.Duration, states ...resolver.State) *resolver.Service {
	s := &resolver.Service{Name: name, Loaded: true, Options: resolver.Options{Hold: hold}}
	for i, state := range states {
		s.Instances = append(s.Instances, &resolver.Instance{ID: string(rune('a' + i)), Address: "192.0.2.1:80", Weight: 1, State: state})
	}
	return s
}

func holdRig(t *testing.T) (*Sender, *liveSource, policy.Permit) {
	counts, err := answer.NewCounts(nil, "gateway", answer.Detail{})
	if err != nil {
		t.Fatal(err)
	}
	src := new(liveSource)
	src.set()
	s, err := New(Config{Sources: []resolver.Source{src}, Log: hclog.NewNullLogger(), Counts: []*answer.Counts{counts}})
	if err != nil {
		t.Fatal(err)
	}
	return s, src, dryPermit(t, pathTo(t, "/svc/x"))
}

// waiter asks for svc until it is found, or refused. It returns why, and after
// which time.
func waiter(t *testing.T, s *Sender, p policy.Permit, set Settings) (refused answer.Refusal, looks int, took time.Duration) {
	began := time.Now()
	q := &Request{Exchange: passes{}, Settings: &set, Conn: new(http1.Conn), Head: new(message.RequestHead), Path: pathTo(t, "/svc/x"), Stripped: true}
	q.begin(s, p, new(Outcome), false)
	for {
		looks++
		_, why := q.locate(&p)
		if why == nil {
			return refused, looks, time.Since(began)
		}
		if q.refuse(*why); !q.hold(&p) {
			return q.out.Refusal, looks, time.Since(began)
		}
	}
}

// K7: a request waits for an instance, at most for so long, and goes the moment one
// is there.
func TestRequestsWaitForAnInstance(t *testing.T) {
	const hold = 5 * time.Second
	up, down := svcOf("svc", hold, resolver.Passing), svcOf("svc", hold, resolver.Critical)
	other := svcOf("other", 0, resolver.Passing)
	type change struct {
		at       time.Duration
		services []*resolver.Service
	}
	for _, tt := range []struct {
		name    string
		first   []*resolver.Service // that a first request sees
		set     Settings
		changes []change
		reason  answer.Reason
		took    time.Duration
		looks   int
	}{
		{"there is one", []*resolver.Service{up}, Settings{}, nil, answer.ReasonNone, 0, 1},
		{"one becomes usable", []*resolver.Service{down}, Settings{}, []change{{3 * time.Second, []*resolver.Service{up}}}, answer.ReasonNone, 3 * time.Second, 2},
		{"none does", []*resolver.Service{down}, Settings{}, nil, NoHealthy, hold, 1},
		{"too late", []*resolver.Service{down}, Settings{}, []change{{hold + 1, []*resolver.Service{up}}}, NoHealthy, hold, 1},
		{"the service does not want it", []*resolver.Service{svcOf("svc", 0, resolver.Critical)}, Settings{}, nil, NoHealthy, 0, 1},
		{"the configuration wants it", []*resolver.Service{svcOf("svc", 0, resolver.Critical)}, Settings{Hold: time.Second}, nil, NoHealthy, time.Second, 1},
		{"the service's own word counts before that", []*resolver.Service{down}, Settings{Hold: time.Second}, nil, NoHealthy, hold, 1},
		{"what else changes wakes nobody", []*resolver.Service{down}, Settings{},
			[]change{{1, []*resolver.Service{down, other}}, {2, []*resolver.Service{svcOf("svc", hold, resolver.Maintenance), other}}, {time.Second, []*resolver.Service{up}}}, answer.ReasonNone, time.Second, 2},
		{"the name is gone, and back", []*resolver.Service{up}, Settings{},
			[]change{{0, nil}, {2 * time.Second, []*resolver.Service{other}}, {4 * time.Second, []*resolver.Service{other, svcOf("svc", hold, resolver.Passing)}}}, answer.ReasonNone, 4 * time.Second, 2},
		{"it is back the same", []*resolver.Service{up}, Settings{}, []change{{0, nil}, {time.Second, []*resolver.Service{up}}}, answer.ReasonNone, time.Second, 2},
		{"its instances went before its name", []*resolver.Service{up}, Settings{},
			[]change{{0, []*resolver.Service{svcOf("svc", 0)}}, {time.Second, []*resolver.Service{svcOf("svc", hold, resolver.Passing)}}}, answer.ReasonNone, time.Second, 2},
		{"it is known again, and then loaded", []*resolver.Service{up}, Settings{},
			[]change{{0, nil}, {time.Second, []*resolver.Service{{Name: "svc"}}}, {3 * time.Second, []*resolver.Service{svcOf("svc", hold, resolver.Passing)}}}, answer.ReasonNone, time.Second + loadPatience, 2},
		{"nobody knew it", nil, Settings{Hold: time.Minute}, nil, UnknownService, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, src, p := holdRig(t)
				src.set(tt.first...)
				if svc, _, _ := s.lookup("svc"); svc != nil {
					s.group("svc").adopt(svc, new(Settings)) // as the last sweep did
				}
				if len(tt.changes) > 0 && tt.changes[0].at == 0 {
					src.set(tt.changes[0].services...)
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						refused, looks, took := waiter(t, s, p, tt.set)
						if refused.Reason != tt.reason || took != tt.took || looks != tt.looks {
							t.Errorf("got %q after %v and %d looks, want %q, %v, %d", refused.Reason, took, looks, tt.reason, tt.took, tt.looks)
						}
					})
				}
				began := time.Now()
				for _, c := range tt.changes {
					if c.at == 0 {
						continue
					}
					time.Sleep(c.at - time.Since(began))
					src.set(c.services...)
				}
				wg.Wait()
				if s.lobby.all.Load() != 0 || len(s.lobby.queues) != 0 {
					t.Error("somebody still waits")
				}
			})
		})
	}
}

// A change between the look and the wait is not missed.
func TestChangeBeforeTheWaitIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, src, p := holdRig(t)
		src.set(svcOf("svc", time.Second, resolver.Critical))
		q := &Request{Exchange: passes{}, Settings: new(Settings), Conn: new(http1.Conn), Path: pathTo(t, "/svc/x"), Stripped: true}
		q.begin(s, p, new(Outcome), false)
		_, refused := q.locate(&p)
		src.set(svcOf("svc", time.Second, resolver.Passing))
		began := time.Now()
		if q.refuse(*refused); !q.hold(&p) || time.Since(began) != 0 || q.out.Refusal.Status != 0 {
			t.Errorf("refused as %v after %v", q.out.Refusal, time.Since(began))
		}
	})
}

// Only so many wait for one service, and in all; one more is refused at once.
func TestPlacesToWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, src, p := holdRig(t)
		src.set(svcOf("svc", 5*time.Second, resolver.Critical))
		var wg sync.WaitGroup
		var waited, refusedAtOnce atomic.Int64
		for range maxWaiting + 10 {
			wg.Go(func() {
				if _, _, took := waiter(t, s, p, Settings{}); took == 0 {
					refusedAtOnce.Add(1)
				} else {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		if waited.Load() != maxWaiting || refusedAtOnce.Load() != 10 {
			t.Errorf("%d waited, %d did not", waited.Load(), refusedAtOnce.Load())
		}
		var l lobby
		for i := range maxWaitingAll + 1 {
			if got := l.enter(&group{}, nil, false) != nil; got != (i < maxWaitingAll) {
				t.Fatalf("place %d is there: %v", i, got)
			}
		}
	})
}

// What a client cannot wait for does not wait: only that nothing was sent on.
func TestWhatDoesNotWait(t *testing.T) {
	s, src, p := holdRig(t)
	src.set(svcOf("svc", time.Minute, resolver.Passing))
	q := &Request{Exchange: passes{}, Settings: new(Settings), Conn: new(http1.Conn), Path: pathTo(t, "/svc/x"), Stripped: true}
	q.begin(s, p, new(Outcome), false)
	if _, refused := q.locate(&p); refused != nil {
		t.Fatal(refused)
	}
	for _, refused := range []answer.Refusal{refuseOverloaded, refuseTimeout, refuseBadGateway, refuseClimbing, refuseForbidden} {
		if q.refuse(refused); q.hold(&p) || q.out.Refusal.Reason != refused.Reason {
			t.Errorf("%s waits", refused.Reason)
		}
	}
}

// A service that is gone is remembered for as long as requests may wait for it, and
// known by its name meanwhile; its connections are not kept.
func TestServiceThatIsGoneIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, src, _ := holdRig(t)
		src.set(svcOf("svc", 5*time.Second, resolver.Passing), svcOf("plain", 0, resolver.Passing))
		for _, name := range []string{"svc", "plain"} {
			svc, _, _ := s.lookup(name)
			s.group(name).adopt(svc, new(Settings))
		}
		m := s.group("svc").current.Load().members[0]
		src.set()
		s.Sweep(new(Settings))
		if g := (*s.groups.Load())["svc"]; g == nil || len(g.members()) != 0 || !m.gone.Load() {
			t.Fatal("it is forgotten, or its instance is not")
		}
		if _, _, known := s.Spelling("svc"); !known || (*s.groups.Load())["plain"] != nil {
			t.Error("it is no known name, or the one that nobody may wait for is")
		}
		src.catalog.Store(resolver.NewFoldedCatalog())
		if _, anyCase, known := s.Spelling("svc"); !known || !anyCase {
			t.Error("where its registry does not mind case, it is taken for one whose does (E7)")
		}
		time.Sleep(5*time.Second + 1)
		if s.Sweep(new(Settings)); (*s.groups.Load())["svc"] != nil {
			t.Error("it is remembered for ever")
		}
	})
}
