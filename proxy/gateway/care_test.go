package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/resolver"
)

// waits is how many requests wait for an instance of svc.
func (r *rig) waits() int { return r.gw.upstream.Waiting("svc") }

// K7: a request that waits for an instance is whole when it goes: by whatever way
// the instance appears, with whatever body.
func TestRequestWaitsForAnInstance(t *testing.T) {
	bodies := map[string]string{"without a body": "", "with a small body": "hello", "with a large body": strings.Repeat("0123456789", 100_000)}
	ways := map[string]func(r *rig, m *mortal) (back func()){
		"a catalog without instances": func(r *rig, m *mortal) func() {
			r.src.set(resolver.Options{})
			return func() { r.src.set(resolver.Options{Hold: 20 * time.Second}, m.addr) }
		},
		"an instance that nobody lists, and refuses": func(r *rig, m *mortal) func() {
			m.kill()
			r.src.set(resolver.Options{})
			return func() {
				m.revive()
				r.src.set(resolver.Options{Hold: 20 * time.Second}, m.addr)
			}
		},
		"an instance that is listed, and refuses": func(r *rig, m *mortal) func() {
			m.kill()
			return m.revive
		},
		"a catalog that does not have its name": func(r *rig, m *mortal) func() {
			r.src.catalog.Store(resolver.NewCatalog())
			r.src.Ring()
			return func() { r.src.set(resolver.Options{Hold: 20 * time.Second}, m.addr) }
		},
	}
	for way, lose := range ways {
		for kind, body := range bodies {
			t.Run(way+", "+kind, func(t *testing.T) {
				t.Parallel()
				r, m := newRig(t, nil), newMortal(t)
				r.src.set(resolver.Options{Hold: 20 * time.Second}, m.addr)
				if resp, _ := r.get("/svc/x"); resp.StatusCode != 200 {
					t.Fatalf("before: got %d", resp.StatusCode)
				}
				back := lose(r, m)
				c := r.dial()
				c.send("POST /svc/wait HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
				eventually.True(t, "it waits", func() bool { return r.waits() == 1 })
				go io.WriteString(c, body)
				back()
				if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != body {
					t.Errorf("got %d with %d bytes, want %d", resp.StatusCode, len(got), len(body))
				}
				n, _ := m.got.Load("/wait")
				if count := n.(*atomic.Int64).Load(); count != 1 {
					t.Errorf("the instance got it %d times", count)
				}
				eventually.True(t, "nobody waits", func() bool { return r.waits() == 0 })
			})
		}
	}
}

// Who waits and leaves, or may not any more, gives its place back.
func TestWhoWaitsMayLeave(t *testing.T) {
	book := newLogBook(t, "json")
	r := newRigWith(t, func(s *Settings) { s.Hold = time.Minute }, func(c *Config) { c.AccessLog = book.log })
	r.src.set(resolver.Options{})
	c := r.dial()
	c.send("GET /svc/x HTTP/1.1\r\nHost: x\r\n\r\n")
	r.oneLasts()
	c.Close()
	if line := book.until(t, 1)[0]; !strings.Contains(line, `"status": 499, "reason": "client_left"`) {
		t.Errorf("got %s", line)
	}
	c = r.dial()
	c.send("GET /svc/x HTTP/1.1\r\nHost: x\r\n\r\n")
	r.oneLasts()
	r.rules.apply(put(t, policy.KindBlacklist, "b", `["/svc"]`))
	r.gw.PolicyChanged()
	if line := book.until(t, 1)[0]; !strings.Contains(line, `"reason": "blacklist"`) {
		t.Errorf("got %s", line)
	}
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
	eventually.True(t, "nobody waits", func() bool { return r.waits() == 0 })
}

// K7: an instance has at most so many requests at once, and one more goes elsewhere.
func TestRequestsToAnInstanceAreBounded(t *testing.T) {
	const most = 2
	r := newRig(t, nil)
	var under [2]atomic.Int64
	free := make(chan struct{})
	var addrs []string
	for i := range under {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			under[i].Add(1)
			<-free
			under[i].Add(-1)
		}))
		t.Cleanup(s.Close)
		addrs = append(addrs, s.Listener.Addr().String())
	}
	r.src.set(resolver.Options{MaxRequests: most}, addrs...)
	for n := range 2 * most {
		r.dial().send("GET /svc/x HTTP/1.1\r\nHost: x\r\n\r\n")
		eventually.True(t, "it arrived", func() bool { return int(under[0].Load()+under[1].Load()) == n+1 })
	}
	if under[0].Load() != most || under[1].Load() != most {
		t.Errorf("%d and %d are under way, want %d each", under[0].Load(), under[1].Load(), most)
	}
	if resp, body := r.get("/svc/x"); resp.StatusCode != 503 || !strings.Contains(body, `"overloaded"`) || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("one too many: got %d %s", resp.StatusCode, body)
	}
	close(free)
	eventually.True(t, "there is room again", func() bool {
		resp, _ := r.get("/svc/x")
		return resp.StatusCode == 200
	})
}

// K7: an instance whose answers are bad gets no more of them, and is back once its
// answers are good.
func TestInstanceIsEjectedForAnswers(t *testing.T) {
	r := newRig(t, nil)
	var sick atomic.Bool
	sick.Store(true)
	var addrs []string
	for i := range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if i == 0 && sick.Load() {
				w.WriteHeader(500)
			}
			io.WriteString(w, string(rune('a'+i)))
		}))
		t.Cleanup(s.Close)
		addrs = append(addrs, s.Listener.Addr().String())
	}
	r.src.set(resolver.Options{Eject: resolver.Faults{Status: 5, Count: 3, Within: time.Minute}}, addrs...)
	bad := 0
	for range 20 {
		if resp, _ := r.get("/svc/x"); resp.StatusCode == 500 {
			bad++
		}
	}
	if bad < 3 || bad > 5 { // one more may be a trial, on a slow machine
		t.Errorf("%d bad answers, want 3", bad)
	}
	if note := r.ejected("svc", "svc-0", addrs[0]); !strings.Contains(note, "its answers: 5xx:3/1m0s") {
		t.Errorf("the note says %q", note)
	}
	sick.Store(false)
	eventually.True(t, "it is back", func() bool {
		_, body := r.get("/svc/x")
		return body == "a" && r.ejectedCount() == 0
	})
}

// K7: who speaks HTTP/2 waits and leaves in the same way, each stream by itself.
func TestStreamsWaitForAnInstance(t *testing.T) {
	r, m := newRig(t, func(s *Settings) { s.Hold = time.Minute }), newMortal(t)
	r.src.set(resolver.Options{}) // nothing yet
	client := r.h2cClient()
	ctx, leave := context.WithCancel(t.Context())
	answers := make(chan int, 2)
	for _, ctx := range []context.Context{ctx, t.Context()} {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+r.addr+"/svc/x", strings.NewReader("hello"))
			resp, err := client.Do(req)
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	eventually.True(t, "both wait", func() bool { return r.waits() == 2 })
	leave()
	eventually.True(t, "one left", func() bool { return r.waits() == 1 })
	r.src.set(resolver.Options{}, m.addr)
	if a, b := <-answers, <-answers; a+b != 200 {
		t.Errorf("got %d and %d", a, b)
	}
}

// Who waits to be told to go on with a body is told so by the instance, once there
// is one.
func TestBodyIsAskedForByTheInstance(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.Hold = time.Minute })
	r.src.set(resolver.Options{})
	c := r.dial()
	c.send("POST /svc/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	eventually.True(t, "it waits", func() bool { return r.waits() == 1 })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { io.Copy(w, q.Body) }))
	t.Cleanup(s.Close)
	r.src.set(resolver.Options{}, s.Listener.Addr().String())
	if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 100 {
		t.Fatalf("got %v, %v", resp, err)
	}
	c.send("hello")
	if resp, body := c.answer("POST"); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
