package gateway

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/resolver"
)

// site is what one resolver knows of svc: instances that come and go by themselves,
// while the resolver says that they pass.
type site struct {
	*fakeSource
	t     *testing.T
	name  string
	addrs []string
	mu    sync.Mutex
	up    []*http.Server
	ports []net.Listener // of up, which may not have begun to serve
}

func (s *site) Kind() string { return s.name }

// newSite begins with n instances, all of them up.
func newSite(t *testing.T, name string, n int) *site {
	t.Helper()
	s := &site{fakeSource: new(fakeSource), t: t, name: name}
	for range n {
		l := listen(t)
		s.addrs = append(s.addrs, l.Addr().String())
		l.Close()
	}
	s.set(resolver.Options{}, s.addrs...)
	s.begin()
	t.Cleanup(s.end)
	return s
}

func (s *site) begin() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range s.addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			s.t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.name, " ", r.URL.Path) })}
		go server.Serve(l) //nolint:errcheck // always ErrServerClosed
		s.up, s.ports = append(s.up, server), append(s.ports, l)
	}
}

// end closes all sockets, in the middle of whatever it is.
func (s *site) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, server := range s.up {
		server.Close()
		s.ports[i].Close()
	}
	s.up, s.ports = nil, nil
}

func twoSites(t *testing.T, n int, edit func(*Settings)) (r *rig, first, second *site) {
	t.Helper()
	first, second = newSite(t, "first", n), newSite(t, "second", n)
	r = newRigWith(t, edit, func(c *Config) { c.Sources = []resolver.Source{first, second} })
	return r, first, second
}

// asked is who answers, and how often out of so many requests.
func (r *rig) asked(n int) map[string]int {
	r.t.Helper()
	by := make(map[string]int)
	for range n {
		resp, body := r.get("/svc/x")
		if resp.StatusCode != http.StatusOK {
			body = resp.Status
		}
		by[strings.TrimSuffix(body, " /x")]++
	}
	return by
}

func (r *rig) wantAsked(n int, want string) {
	r.t.Helper()
	if by := r.asked(n); by[want] != n {
		r.t.Errorf("answered by %v, want %d by %s", by, n, want)
	}
}

// TestASiteThatCannotBeReachedLosesNoRequest: K4. The resolver goes on saying that
// its instances pass.
func TestASiteThatCannotBeReachedLosesNoRequest(t *testing.T) {
	for _, n := range []int{1, 2, 7} {
		t.Run(fmt.Sprint(n, " instances"), func(t *testing.T) {
			r, first, second := twoSites(t, n, nil)
			r.wantAsked(10, "first")
			first.end()
			r.wantAsked(50, "second")
			eventually.True(t, "it is told", func() bool {
				r.asked(1)
				told := r.gw.Upstream().CutOff()
				return len(told) == 1 && strings.Contains(told[0], "service svc") && strings.Contains(told[0], "resolver first")
			})
			first.begin()
			began := time.Now()
			eventually.True(t, "requests are home", func() bool { return r.asked(1)["first"] == 1 })
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v until requests were home, want a second at most", took)
			}
			eventually.True(t, "it is told no more", func() bool { return r.gw.Upstream().CutOff() == nil })
			second.end()
			r.wantAsked(20, "first")
		})
	}
}

// TestASiteThatDiesUnderARequestLosesNoSafeOne: the last instance of a site takes the
// connection while it ends, and hangs up. A POST may have been acted on.
func TestASiteThatDiesUnderARequestLosesNoSafeOne(t *testing.T) { // K4
	dying := listen(t)
	var asked atomic.Int64
	go func() {
		for {
			c, err := dying.Accept()
			if err != nil {
				return
			}
			go func() {
				var head [1 << 10]byte
				_, _ = c.Read(head[:]) // it hangs up whatever it is asked
				asked.Add(1)
				c.Close()
			}()
		}
	}()
	first, second := &site{fakeSource: new(fakeSource), t: t, name: "first"}, newSite(t, "second", 1)
	first.set(resolver.Options{}, dying.Addr().String())
	r := newRigWith(t, nil, func(c *Config) { c.Sources = []resolver.Source{first, second} })
	r.wantAsked(10, "second")
	if n := asked.Load(); n != 10 {
		t.Errorf("the dying instance was asked %d times, want once for each", n)
	}
	resp, err := http.Post("http://"+r.addr+"/svc/x", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || asked.Load() != 11 {
		t.Errorf("a POST got %s, after %d tries", resp.Status, asked.Load()-10)
	}
}

// What is cut off is not tried again by requests, and is a last resort.
func TestASiteThatIsCutOffIsTheLastResort(t *testing.T) {
	r, first, second := twoSites(t, 1, nil)
	first.end()
	r.wantAsked(5, "second")
	second.end()
	resp, body := r.get("/svc/x")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"unreachable"`) {
		t.Errorf("with no site left: %s %s", resp.Status, body)
	}
	first.begin()
	if resp, body := r.get("/svc/x"); resp.StatusCode != http.StatusOK || body != "first /x" {
		t.Errorf("the moment that one is back: %s %s", resp.Status, body)
	}
}

// A service has options of its own at each site.
func TestASiteThatTakesOverHasItsOwnOptions(t *testing.T) {
	r, first, second := twoSites(t, 1, nil)
	second.set(resolver.Options{KeepSegment: true}, second.addrs...)
	first.end()
	if resp, body := r.get("/svc/x"); body != "second /svc/x" {
		t.Errorf("got %s %q", resp.Status, body)
	}
}

// A service that another site spells in another way was not decided on.
func TestASiteThatSpellsTheServiceOtherwiseDoesNotTakeOver(t *testing.T) {
	r, first, second := twoSites(t, 1, nil)
	svc := *second.Catalog().Lookup("svc")
	svc.Name = "svc"
	second.catalog.Store(resolver.NewFoldedCatalog(&svc))
	upper := *first.Catalog().Lookup("svc")
	upper.Name = "SVC"
	first.catalog.Store(resolver.NewCatalog(&upper))
	if resp, _ := r.get("/SVC/x"); resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s", resp.Status)
	}
	first.end()
	if resp, body := r.get("/SVC/x"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s %q", resp.Status, body)
	}
}

// A site whose instances have no room is not one that cannot be reached: else all
// that is too much for one would be sent to the next.
func TestABusySiteDoesNotSendRequestsAway(t *testing.T) {
	r, first, _ := twoSites(t, 1, func(s *Settings) { s.MaxConnections, s.ConnectTimeout = 1, 200*time.Millisecond })
	hold := make(chan struct{})
	first.end()
	l, err := net.Listen("tcp", first.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold })}
	go server.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { close(hold); server.Close() })
	busy := r.dial()
	busy.send("GET /svc/x HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually.True(t, "it is full", func() bool { return r.gw.Upstream().InFlight() == 1 })
	if resp, body := r.get("/svc/x"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "overloaded") {
		t.Errorf("got %s %q", resp.Status, body)
	}
}
