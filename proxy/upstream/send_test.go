package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/resolver"
)

// oneSource is a source with what its catalog has.
type oneSource struct {
	resolver.Source
	catalog *resolver.Catalog
}

func (s oneSource) Catalog() *resolver.Catalog { return s.catalog }

func newSender(t testing.TB, services ...*resolver.Service) *Sender {
	t.Helper()
	counts, err := answer.NewCounts(nil, "gateway", answer.Detail{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Sources: []resolver.Source{oneSource{catalog: resolver.NewCatalog(services...)}}, Log: hclog.NewNullLogger(), Counts: []*answer.Counts{counts}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pathTo is the path of a request.
func pathTo(t testing.TB, path string) *uri.Path {
	t.Helper()
	p, _, err := uri.ParsePath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// dryPermit is the permit of a request that was decided on for show.
func dryPermit(t testing.TB, path *uri.Path) policy.Permit {
	t.Helper()
	set, _ := policy.NewBuilder(policy.Options{}).Apply(1, nil)
	r := &policy.Request{Method: "GET", Host: "h", Path: path, Dry: true}
	route, v := set.Route(r), policy.Verdict{}
	return set.Decide(r, &route, &v, nil)
}

// Without a permit nothing is sent: the request has no connection that could be
// used, and would panic if it were.
func TestNothingIsSentWithoutAPermit(t *testing.T) {
	s := newSender(t, &resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{{ID: "a", Address: "192.0.2.1:80", Weight: 1, State: resolver.Passing}}})
	path := pathTo(t, "/svc/x")
	for name, permit := range map[string]policy.Permit{"the zero one": {}, "one to look only": dryPermit(t, path)} {
		q := &Request{Settings: new(Settings), Head: new(message.RequestHead), Path: path}
		var o Outcome
		if s.Send(permit, q, &o); o.Refusal.Status != 403 || o.Tries != 0 || len(*s.groups.Load()) != 0 {
			t.Errorf("%s: got %+v", name, o)
		}
	}
	var o Outcome
	if d := s.Preview(policy.Permit{}, &Request{Settings: new(Settings), Path: path}, &o); d != nil || o.Refusal.Status != 403 {
		t.Errorf("the zero permit lets one look: %+v", d)
	}
}

// A preview says where the next request goes, whatever the balance, and however
// often it is asked it takes nobody's turn.
func TestPreviewIsTheBalanceItself(t *testing.T) {
	for _, balance := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.Hash} {
		for _, weights := range [][]int{{1, 1, 1}, {5, 3, 2}} {
			t.Run(fmt.Sprint(balance, weights), func(t *testing.T) {
				svc := &resolver.Service{Name: "svc", Loaded: true}
				for i, w := range weights {
					svc.Instances = append(svc.Instances, &resolver.Instance{ID: fmt.Sprint("i", i), Address: fmt.Sprintf("192.0.2.%d:80", i), Weight: w, State: resolver.Passing})
				}
				s, path := newSender(t, svc), pathTo(t, "/svc/x")
				permit, set := dryPermit(t, path), &Settings{Balance: balance}
				for i := range 40 {
					ask := func() *Request {
						q := asker(nil, balance, i)
						q.Settings, q.Path, q.Stripped = set, path, true
						return q
					}
					next := ""
					for range 3 {
						said := ""
						for _, f := range s.Preview(permit, ask(), new(Outcome)).Instances {
							if f.Chosen {
								said += f.ID
							}
						}
						if next != "" && said != next {
							t.Fatalf("request %d: it says %q, and then %q", i, next, said)
						}
						next = said
					}
					q := ask()
					q.begin(s, permit, new(Outcome), false)
					r, refused := q.locate(&permit)
					if refused != nil {
						t.Fatal(refused)
					}
					m := q.pick(r)
					if m.inst.ID != next {
						t.Fatalf("request %d goes to %s, not to %q", i, m.inst.ID, next)
					}
					m.inflight.Add(int64(1 + i%3)) // of uneven length
				}
			})
		}
	}
}

// The instance that is next is none that is ejected, as long as there are others.
func TestPreviewLeavesOutWhatIsEjected(t *testing.T) {
	svc := &resolver.Service{Name: "svc", Loaded: true, Instances: []*resolver.Instance{
		{ID: "a", Address: "192.0.2.1:80", Weight: 1, State: resolver.Passing}, {ID: "b", Address: "192.0.2.2:80", Weight: 1, State: resolver.Passing}}}
	s, path := newSender(t, svc), pathTo(t, "/svc/x")
	s.group("svc").adopt(svc, &Settings{ConnectTimeout: time.Second}).members[0].eject("a test", nil)
	for range 3 {
		q := asker(nil, resolver.RoundRobin, 0)
		q.Path, q.Stripped = path, true
		d := s.Preview(dryPermit(t, path), q, new(Outcome))
		if a, b := d.Instances[0], d.Instances[1]; a.State != "ejected" || a.Chosen || !b.Chosen || b.Note != "" {
			t.Errorf("got %+v", d.Instances)
		}
	}
	s.Close()
}

// A service on a bus is known by its requests only: its series go once nobody
// asks any more.
func TestServicesOnTheBusAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t)
		s.bus = &BusRoute{Services: []string{"ev.*"}}
		if s.busGroup("ev.made.up", false) != nil {
			t.Error("a name that nobody answered to is kept")
		}
		s.busGroup("ev.a", true)
		s.Sweep(new(Settings))
		if s.busGroup("ev.a", false) == nil {
			t.Error("it is gone at once")
		}
		time.Sleep(fixedIdle + time.Second)
		s.Sweep(new(Settings))
		if s.busGroup("ev.a", false) != nil {
			t.Error("it is kept for ever")
		}
	})
}

// passes lets every field pass.
type passes struct{}

func (passes) PassesUp(*message.Field) bool             { return true }
func (passes) AppendUp(dst []byte, _ bool) []byte       { return dst }
func (passes) PassesDown(*message.Field, []string) bool { return true }
func (passes) AppendDown(dst []byte) []byte             { return dst }
func (passes) Lasts()                                   {}

func BenchmarkRequestToInstance(b *testing.B) {
	q := &Request{Exchange: passes{}, Settings: new(Settings), Conn: new(http1.Conn), Head: new(message.RequestHead), Path: pathTo(b, "/svc/index.html?x=1"), Stripped: true, Query: "x=1"}
	if err := q.Head.Parse([]byte("GET /svc/index.html?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")); err != nil {
		b.Fatal(err)
	}
	q.begin(nil, policy.Permit{}, new(Outcome), false)
	m := &member{inst: &resolver.Instance{Address: "127.0.0.1:9001"}}
	r := &roster{service: new(resolver.Service), members: []*member{m}}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = q.appendRequest(dst[:0], m, r)
	}
	if string(dst[:15]) != "GET /index.html" {
		b.Fatalf("the benchmark measures %q", dst)
	}
}
