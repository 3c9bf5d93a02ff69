package gateway

import (
	"bufio"
	"fmt"
	"io"
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

// mortal is an instance that can be killed, with a reset on every connection,
// and brought back at its address.
type mortal struct {
	t     testing.TB
	addr  string
	mu    sync.Mutex // guards what follows
	l     net.Listener
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup

	dials atomic.Int64
	got   sync.Map // request id of the test -> *atomic.Int64: how often it came
}

func newMortal(t testing.TB) *mortal {
	t.Helper()
	m := &mortal{t: t, conns: make(map[net.Conn]struct{})}
	l := listen(t)
	m.addr = l.Addr().String()
	m.start(l)
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) start(l net.Listener) {
	m.l = l
	m.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.dials.Add(1)
			m.mu.Lock()
			m.conns[c] = struct{}{}
			m.mu.Unlock()
			m.wg.Go(func() { m.serve(c) })
		}
	})
}

func (m *mortal) serve(c net.Conn) {
	defer func() {
		m.mu.Lock()
		delete(m.conns, c)
		m.mu.Unlock()
		c.Close()
	}()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		n, _ := m.got.LoadOrStore(req.URL.Path, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// kill refuses new connections, then resets the ones there are.
func (m *mortal) kill() {
	m.l.Close()
	m.mu.Lock()
	for c := range m.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

func (m *mortal) revive() {
	m.t.Helper()
	eventually.True(m.t, "the address is free", func() bool {
		l, err := net.Listen("tcp", m.addr)
		if err == nil {
			m.start(l)
		}
		return err == nil
	})
}

// load sends requests from some clients until stop is closed, and counts the
// answers by method and status.
func (r *rig) load(clients int, stop chan struct{}) *tally {
	var wg sync.WaitGroup
	t := &tally{counts: make(map[string]int), wait: wg.Wait}
	for i := range clients {
		wg.Go(func() {
			c := r.dial()
			defer func() { c.Close() }()
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				method, body := "GET", ""
				if k%3 == 2 {
					method, body = "POST", strings.Repeat("x", k%100+1)
				}
				fmt.Fprintf(c, "%s /svc/%d-%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, i, k, len(body), body)
				resp, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.add("no answer: " + err.Error())
					c.Close()
					c = r.dial()
					continue
				}
				if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode == 200 && string(b) != body {
					t.add("wrong body")
				}
				t.add(fmt.Sprintf("%s %d", method, resp.StatusCode))
			}
		})
	}
	return t
}

type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
	wait   func()
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (t *tally) total() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.counts {
		n += c
	}
	return n
}

// An instance that dies under load, with resets, costs no GET. A POST that was
// under way on it is answered 502, and none is ever sent twice.
func TestInstanceDiesUnderLoad(t *testing.T) {
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t, func(s *Settings) { s.Balance = mode })
			a, b := newMortal(t), newMortal(t)
			r.src.set(resolver.Options{}, a.addr, b.addr)
			stop := make(chan struct{})
			load := r.load(8, stop)
			eventually.True(t, "load", func() bool { return load.total() > 400 })
			a.kill()
			n := load.total()
			eventually.True(t, "load", func() bool { return load.total() > n+400 })
			close(stop)
			load.wait()
			for what, n := range load.counts {
				switch {
				case what == "GET 200", what == "POST 200", what == "POST 502" && n <= 8:
				default:
					t.Errorf("%d times %s", n, what)
				}
			}
			for _, m := range []*mortal{a, b} {
				m.got.Range(func(path, n any) bool {
					var i, k int
					fmt.Sscanf(path.(string), "/%d-%d", &i, &k)
					if n := n.(*atomic.Int64).Load(); n > 1 && k%3 == 2 {
						t.Errorf("POST %s came %d times", path, n)
					}
					return true
				})
			}
		})
	}
}

// An ejected instance that works again gets requests again, in every mode.
func TestReturnByTrial(t *testing.T) {
	t.Parallel()
	for _, mode := range []resolver.Balance{resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(s *Settings) { s.Balance = mode })
			a, b := newMortal(t), newMortal(t)
			r.src.set(resolver.Options{}, a.addr, b.addr)
			a.kill()
			c := r.dial()
			for range 20 {
				c.send(get + "\r\n")
				if resp, _ := c.answerOr(t, "GET"); resp.StatusCode != 200 {
					t.Fatalf("got %d with one instance left", resp.StatusCode)
				}
			}
			before := a.dials.Load()
			a.revive()
			eventually.True(t, "it gets requests again", func() bool {
				c.send(get + "\r\n")
				if resp, _ := c.answerOr(t, "GET"); resp.StatusCode != 200 {
					t.Fatalf("got %d", resp.StatusCode)
				}
				return a.dials.Load() > before
			})
		})
	}
}

// What is sent again, and what is not: a connection that had served before and
// dies before any byte of an answer costs no safe request; anything else may
// have been acted on.
func TestWhatIsSentAgain(t *testing.T) {
	const half, part = "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 103 Early Hints\r\n\r\n"
	body := "Content-Length: 5\r\n\r\nhello"
	tests := []struct {
		name, request, answer string
		reused                bool
		status                int
		times                 int64 // that the request came
	}{
		{"a safe one on a used connection", get + "\r\n", "", true, 200, 2},
		{"HEAD", "HEAD /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "", true, 200, 2},
		{"OPTIONS", "OPTIONS /svc/a HTTP/1.1\r\nHost: x\r\n\r\n", "", true, 200, 2},
		{"a safe one with its body", get + body, "", true, 200, 2},
		{"a safe one on a new connection", get + "\r\n", "", false, 502, 1},
		{"one that acts", post + body, "", true, 502, 1},
		{"PUT", strings.Replace(post, "POST", "PUT", 1) + body, "", true, 502, 1},
		{"DELETE", strings.Replace(get, "GET", "DELETE", 1) + "\r\n", "", true, 502, 1},
		{"an unknown method", strings.Replace(get, "GET", "get", 1) + "\r\n", "", true, 502, 1},
		{"after part of an answer", get + "\r\n", half, true, 502, 1},
		{"after an interim answer", get + "\r\n", part, true, 502, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			var times atomic.Int64
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					if req.URL.Path == "/a" && times.Add(1) == 1 {
						io.WriteString(c, tt.answer)
						return
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			if tt.reused {
				r.get("/svc/warm")
				eventually.True(t, "its connection is free", func() bool {
					_, idle := r.gw.upstream.Connections("svc")
					return idle == 1
				})
			}
			c := r.dial()
			c.send(tt.request)
			method, _, _ := strings.Cut(tt.request, " ")
			resp, _ := c.answerOr(t, method)
			for resp.StatusCode == 103 {
				resp, _ = c.answerOr(t, method)
			}
			if resp.StatusCode != tt.status || times.Load() != tt.times {
				t.Errorf("got %d, and it came %d times; want %d and %d", resp.StatusCode, times.Load(), tt.status, tt.times)
			}
			if resp.Header.Get("Retry-After") != "" {
				t.Error("Retry-After though it may have been acted on")
			}
		})
	}
}

// A safe request whose connection breaks before any byte of an answer is tried on one
// more instance, and on no third one: it may be what they fall over. Whether the
// connections had served before makes no difference.
func TestSafeRequestIsTriedOnOneMore(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		kept          bool  // the connections had served before
		fall          int64 // how many times somebody falls over it
		status        int
		times         int64
	}{
		{"one falls over", get + "\r\n", false, 1, 200, 2},
		{"all fall over it", get + "\r\n", false, 9, 502, 2},
		{"one that acts", post + "Content-Length: 0\r\n\r\n", false, 1, 502, 1},
		{"one falls over, by a kept connection", get + "\r\n", true, 1, 200, 2},
		{"all fall over it, by kept connections", get + "\r\n", true, 9, 502, 2},
		{"one that acts, by a kept connection", post + "Content-Length: 0\r\n\r\n", true, 1, 502, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			var times atomic.Int64
			var addrs []string
			for range 3 {
				l := listen(t)
				serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
					for {
						head, err := readHead(in)
						if err != nil || !strings.Contains(head, "/warm") && times.Add(1) <= tt.fall {
							return
						}
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				})
				addrs = append(addrs, l.Addr().String())
			}
			r.src.set(resolver.Options{}, addrs...)
			for i := range addrs {
				if tt.kept {
					r.get("/svc/warm")
					eventually.True(t, "its connection is free", func() bool {
						_, idle := r.gw.upstream.Connections("svc")
						return idle == i+1
					})
				}
			}
			c := r.dial()
			c.send(tt.request)
			if resp, _ := c.answerOr(t, "GET"); resp.StatusCode != tt.status || times.Load() != tt.times {
				t.Errorf("got %d, and it came %d times; want %d and %d", resp.StatusCode, times.Load(), tt.status, tt.times)
			}
			if n := r.ejectedCount(); n != 0 {
				t.Errorf("%d are ejected for it", n)
			}
		})
	}
}

// A lone instance that is killed may take one more connection before its socket is
// closed. What broke off waits, where it may, and is not sent to it at once (K7).
func TestWhatALoneInstanceBreaksOffWaitsForItsReturn(t *testing.T) {
	r := newRig(t, nil)
	var dying atomic.Pointer[time.Time]
	l := r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		for {
			head, err := readHead(in)
			now := time.Now()
			if err != nil || !strings.Contains(head, "/warm") && (dying.CompareAndSwap(nil, &now) || now.Sub(*dying.Load()) < 50*time.Millisecond) {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	r.src.set(resolver.Options{Hold: time.Minute}, l.Addr().String())
	r.get("/svc/warm")
	eventually.True(t, "its connection is free", func() bool {
		_, idle := r.gw.upstream.Connections("svc")
		return idle == 1
	})
	if resp, _ := r.get("/svc/"); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
}

// Connections that are kept may all be dead at once, as behind a machine that was started
// again: what one of them broke off is sent by a new one, behind the wait as well (K7).
func TestWhatWaitedIsSentByANewConnection(t *testing.T) {
	r := newRig(t, nil)
	var warm sync.WaitGroup
	warm.Add(2)
	l := r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		head, err := readHead(in)
		if err != nil {
			return
		}
		if strings.Contains(head, "/warm") { // and its connection is dead when both are kept
			warm.Done()
			warm.Wait()
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = readHead(in)
	})
	r.src.set(resolver.Options{Hold: time.Minute}, l.Addr().String())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { r.get("/svc/warm") })
	}
	all.Wait()
	eventually.True(t, "both connections are free", func() bool {
		_, idle := r.gw.upstream.Connections("svc")
		return idle == 2
	})
	if resp, _ := r.get("/svc/"); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
}

// A request that only reads is refused as what may have come to somebody, and what may
// not wait for the return of a lone instance is sent to it once more at once, if the
// connection had served before (K7, X4).
func TestWhatBreaksOffAndCannotWait(t *testing.T) {
	const moment = time.Nanosecond // for which a request may wait: it is over at once
	for _, tt := range []struct {
		name   string
		hold   time.Duration
		kept   bool  // the connection had served before
		fall   int64 // how many times the instance falls over it
		gone   bool  // there is another instance, which refuses connections
		status int
		times  int64
	}{
		{"by a kept connection", moment, true, 1, false, 200, 2},
		{"by a kept connection and the next", moment, true, 9, false, 502, 2},
		{"by a new connection", moment, false, 9, false, 502, 1},
		{"where there is another instance that is gone", 0, false, 9, true, 502, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) { s.Retries = 5 })
			var times atomic.Int64
			addrs := []string{r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				for {
					head, err := readHead(in)
					if err != nil || !strings.Contains(head, "/warm") && times.Add(1) <= tt.fall {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}).Addr().String()}
			if tt.gone {
				l := listen(t)
				addrs = append([]string{l.Addr().String()}, addrs...) // the last one is asked first
				l.Close()
			}
			r.src.set(resolver.Options{Hold: tt.hold}, addrs...)
			if tt.kept {
				r.get("/svc/warm")
				eventually.True(t, "its connection is free", func() bool {
					_, idle := r.gw.upstream.Connections("svc")
					return idle == 1
				})
			}
			resp, _ := r.get("/svc/")
			if resp.StatusCode != tt.status || times.Load() != tt.times || resp.Header.Get("Retry-After") != "" {
				t.Errorf("got %d, Retry-After %q, and it came %d times; want %d and %d",
					resp.StatusCode, resp.Header.Get("Retry-After"), times.Load(), tt.status, tt.times)
			}
		})
	}
}

// Instances that accept and hang up are not dialled without end.
func TestInstanceThatHangsUp(t *testing.T) {
	r := newRig(t, nil)
	var dials atomic.Int64
	l := r.rawBackend(func(c net.Conn, in *bufio.Reader) { dials.Add(1) })
	_ = l
	for range 5 {
		if resp, body := r.get("/svc/a"); resp.StatusCode != 502 && resp.StatusCode != 503 {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	}
	if n := dials.Load(); n > 5*3 {
		t.Errorf("%d connections for 5 requests", n)
	}
}

// The list of instances changes all the time under load: no request is lost,
// and the instance that stays keeps its connections.
func TestInstancesComeAndGoUnderLoad(t *testing.T) {
	r := newRig(t, nil)
	stays, second, third := newMortal(t), newMortal(t), newMortal(t)
	lists := [][]string{{stays.addr, second.addr}, {stays.addr}, {stays.addr, third.addr, second.addr}, {stays.addr, third.addr}}
	r.src.set(resolver.Options{}, lists[0]...)
	stop := make(chan struct{})
	const clients = 8
	load := r.load(clients, stop)
	pace := time.Tick(3 * time.Millisecond)
	for i := range 100 {
		<-pace
		svc := &resolver.Service{Name: "svc", Loaded: true}
		for _, a := range lists[i%len(lists)] {
			svc.Instances = append(svc.Instances, &resolver.Instance{ID: a, Address: a, Weight: 1 + i%2, State: resolver.Passing})
		}
		r.src.catalog.Store(resolver.NewCatalog(svc))
	}
	n := load.total()
	eventually.True(t, "load", func() bool { return load.total() > n+100 })
	close(stop)
	load.wait()
	for what, n := range load.counts {
		if what != "GET 200" && what != "POST 200" {
			t.Errorf("%d times %s", n, what)
		}
	}
	// The first change renames the instances; after it nothing about stays changes.
	if n := stays.dials.Load(); n > 3*clients {
		t.Errorf("the instance that stayed was dialled %d times by %d clients", n, clients)
	}
}
