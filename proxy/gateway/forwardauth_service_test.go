package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// catalog makes svc the backend at an address, and auth the authority of instances.
func (r *rig) catalog(backend string, auth ...*resolver.Instance) {
	services := []*resolver.Service{{Name: "auth", Loaded: true, Instances: auth},
		{Name: "svc", Loaded: true, Instances: []*resolver.Instance{{ID: "b", Address: backend}}}}
	for _, s := range services {
		for _, i := range s.Instances {
			i.Weight, i.State = 1, resolver.Passing
		}
	}
	r.src.catalog.Store(resolver.NewCatalog(services...))
	r.rules.apply(put(r.t, policy.KindPlugins, "ask", `{"name": "forward-auth", "config": {"service": "auth"}}`))
}

func TestAnAuthorityMayBeAService(t *testing.T) { // P3
	r := newRig(t, nil)
	var asked [2]atomic.Int64
	backend := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	var up []*resolver.Instance
	for i := range asked {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			if asked[i].Add(1); q.RequestURI != "/base/" {
				t.Errorf("asked for %s", q.RequestURI)
			}
		}))
		t.Cleanup(s.Close)
		up = append(up, &resolver.Instance{ID: string(rune('a' + i)), Address: s.Listener.Addr().String(), BasePath: "/base"})
	}
	dead := listen(t)
	dead.Close()
	r.catalog(backend, up[0], &resolver.Instance{ID: "dead", Address: dead.Addr().String()}, up[1])
	for i := range 12 {
		if resp, body := r.get("/svc/x"); resp.StatusCode != 200 {
			t.Fatalf("%d: got %d %s", i, resp.StatusCode, body)
		}
	}
	if a, b := asked[0].Load(), asked[1].Load(); a+b != 12 || a < 4 || b < 4 {
		t.Errorf("asked %d and %d times", a, b)
	}
	if r.ejected("auth", "dead", dead.Addr().String()) == "" {
		t.Error("what cannot be reached is not left out")
	}
	eventually.True(t, "nothing is under way", func() bool { return r.gw.upstream.InFlight() == 0 })
}

// A kept connection that turns out dead is none of the client's fault.
func TestAKeptConnectionToAnAuthorityMayBeDead(t *testing.T) { // P3
	r := newRig(t, nil)
	var made atomic.Int64
	backend := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	l := listen(t)
	serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
		made.Add(1)
		for n := 0; ; n++ {
			if _, err := readHead(in); err != nil || n == 2 {
				return // asked for the third time, it hangs up
			}
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	r.catalog(backend, &resolver.Instance{ID: "a", Address: l.Addr().String()})
	for i := range 6 {
		if resp, body := r.get("/svc/x"); resp.StatusCode != 200 {
			t.Fatalf("%d: got %d %s", i, resp.StatusCode, body)
		}
	}
	if n := made.Load(); n != 3 {
		t.Errorf("%d connections for six questions, want one for two of them", n)
	}
}

func TestAnAuthorityMaySpeakHTTP2(t *testing.T) { // P3
	r := newRig(t, nil)
	backend := r.backend(func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String()
	var status atomic.Int64
	s := r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
		if q.ProtoMajor != 2 || q.Header.Get("X-Forwarded-Uri") != "/svc/x" {
			t.Errorf("got %s %v", q.Proto, q.Header)
		}
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, strings.Repeat("x", 60<<10))
	})
	r.catalog(backend, &resolver.Instance{ID: "a", Address: s.Listener.Addr().String(), Protocol: resolver.H2C})
	for _, want := range []int{200, 401, 200} {
		status.Store(int64(want))
		if resp, body := r.get("/svc/x"); resp.StatusCode != want || want == 401 && len(body) != 60<<10 {
			t.Errorf("got %d, %d bytes; want %d", resp.StatusCode, len(body), want)
		}
	}
}

// X9: not even a plugin reaches what is lictor's own.
func TestAnAuthorityIsNotOurOwn(t *testing.T) { // P3
	r := newRig(t, nil)
	a := r.authority("", says(200))
	r.gw.Update(func() Settings {
		s := testSettings()
		s.Control = func(_, address string, _ syscall.RawConn) error {
			if "http://"+address == a.URL {
				return errors.New("own")
			}
			return nil
		}
		return s
	}())
	r.backend(func(http.ResponseWriter, *http.Request) {})
	if resp, _ := r.get("/svc/x"); resp.StatusCode != 503 || len(a.questions()) > 0 {
		t.Errorf("got %d", resp.StatusCode)
	}
	found := 0
	for b := range r.rules.Set().AllBackends() {
		if b.List[0].URL == a.URL {
			found++
		}
	}
	if found != 1 {
		t.Errorf("status is told of it %d times", found)
	}
}

// The authority is asked through the gateway itself: that ends as a loop does.
func TestAnAuthorityBehindItself(t *testing.T) { // P3
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) {})
	r.asks("http://"+r.addr, `"path": "/svc/auth"`)
	if resp, body := r.get("/svc/x"); resp.StatusCode != 503 || !strings.Contains(body, "forward_auth") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// What middleware adds for one service, such as a key, goes to no other that has
// the same path, nor to backends that the policy puts in its place.
func TestMiddlewareForAServiceReachesNoOther(t *testing.T) { // D19
	r := newRig(t, chainOf(middleware.Rule{Name: "key", Match: middleware.Match{Services: []string{"svc"}},
		Effect: middleware.Effect{Request: &middleware.Edit{Set: []middleware.Field{{Name: "Authorization", Value: "Bearer hush"}}}}}))
	headers := r.headers()
	address := r.src.Catalog().Lookup("svc").Instances[0].Address
	r.services(address, "svc", "other")
	r.rules.apply(put(t, policy.KindMappings, "tenant.ex", `{"domain": "tenant.ex", "tenant": "t", "backends": ["http://`+address+`"]}`),
		put(t, policy.KindMappings, "same.ex", `{"domain": "same.ex", "tenant": "t", "backends": ["service:svc"]}`))
	for _, tt := range []struct {
		host, path string
		told       bool
	}{{"x", "/svc/v1", true}, {"same.ex", "/v1", true}, {"x", "/other/v1", false}, {"x", "/other/..;/svc", false}, {"tenant.ex", "/svc/v1", false}} {
		c := r.dial()
		c.send("GET " + tt.path + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
		resp, _ := c.answer("GET")
		if got := headers().Get("Authorization"); resp.StatusCode == 200 && (got != "") != tt.told || resp.StatusCode != 200 && tt.told {
			t.Errorf("%s%s: got %d, told %q", tt.host, tt.path, resp.StatusCode, got)
		}
	}
	r.rules.apply(put(t, policy.KindAPIs, "svc", `{"name": "svc", "backends": ["http://`+address+`"]}`))
	if resp, _ := r.get("/svc/v1"); resp.StatusCode != 200 || headers().Get("Authorization") != "" {
		t.Errorf("backends of the policy: got %d, %q", resp.StatusCode, headers().Get("Authorization"))
	}
}
