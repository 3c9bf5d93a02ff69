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
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// ejectedCount is how many members of svc are ejected.
func (r *rig) ejectedCount() (n int) {
	for _, i := range r.src.catalog.Load().Lookup("svc").Instances {
		if r.ejected("svc", i.ID, i.Address) != "" {
			n++
		}
	}
	return n
}

// TestNoClientEjectsAnInstance sends what instances do not take, in every way
// that is the client's choice, to six of them, again and again.
func TestNoClientEjectsAnInstance(t *testing.T) {
	tests := []struct {
		name     string
		protocol resolver.Protocol
		fields   string
		status   int
	}{
		{"gRPC to HTTP/1.1", resolver.HTTP1, "Content-Type: application/grpc\r\n", 0},
		{"gRPC with a suffix to HTTP/1.1", resolver.HTTP1, "Content-Type: application/grpc+proto\r\n", 0},
		{"a WebSocket to HTTP/2", resolver.H2C, "Connection: Upgrade\r\nUpgrade: websocket\r\n", 0},
		{"another upgrade to HTTP/2", resolver.H2C, "Connection: Upgrade\r\nUpgrade: foo\r\n", 0},
		{"what breaks the connection", resolver.HTTP1, "X-Break: 1\r\n", 502},
		{"what is answered with garbage", resolver.HTTP1, "X-Garbage: 1\r\n", 502},
		{"what takes too long", resolver.HTTP1, "X-Slow: 1\r\n", 504},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(s *Settings) {
				if tt.status == 504 {
					s.Timeout = 100 * time.Millisecond
				}
			})
			var all []*resolver.Instance
			for i := range 6 {
				var l net.Listener
				if tt.protocol == resolver.HTTP1 {
					l = listen(t)
					serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
						for {
							head, err := readHead(in)
							switch {
							case err != nil, strings.Contains(head, "X-Break"):
								return
							case strings.Contains(head, "X-Garbage"):
								io.WriteString(c, "garbage\r\n\r\n")
							case strings.Contains(head, "X-Slow"):
								_, _ = in.ReadByte() // until the gateway gives up
								return
							case strings.HasPrefix(head, "PRI"):
								io.WriteString(c, "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
								return
							}
							io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
						}
					})
				} else {
					l = r.h2cOnly(t)
				}
				all = append(all, &resolver.Instance{ID: fmt.Sprint("i", i), Address: l.Addr().String(), Protocol: tt.protocol})
			}
			r.serve(all...)
			r.get("/svc/")
			for range 20 {
				c := r.dial()
				c.send("GET /svc/ HTTP/1.1\r\nHost: x\r\n" + tt.fields + "\r\n")
				resp, _ := c.answer("GET")
				if served := resp.StatusCode == 200 && resp.Header.Get("Grpc-Status") == ""; served || tt.status != 0 && resp.StatusCode != tt.status {
					t.Errorf("got %d", resp.StatusCode)
				}
				if n := r.ejectedCount(); n != 0 {
					t.Fatalf("%d instances are ejected", n)
				}
			}
		})
	}
}

// h2cOnly is an instance that speaks nothing but HTTP/2, without an upgrade.
func (r *rig) h2cOnly(t testing.TB) net.Listener {
	l := listen(t)
	serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
		(&http2.Server{}).ServeConn(&buffered{c, in}, &http2.ServeConnOpts{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			io.WriteString(w, "ok")
		})})
	})
	return l
}

type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// TestEjectionIsTold has one of two instances gone: status and explanation say
// so, and the next request is not told to go there; then it is back.
func TestEjectionIsTold(t *testing.T) {
	r := newRig(t, nil)
	a, b := newMortal(t), newMortal(t)
	r.src.set(resolver.Options{}, a.addr, b.addr)
	a.kill()
	for range 4 {
		r.get("/svc/")
	}
	if note := r.ejected("svc", "svc-0", a.addr); !strings.Contains(note, "until ") || !strings.Contains(note, "refused") {
		t.Errorf("status says %q", note)
	}
	if note := r.ejected("svc", "svc-1", b.addr); note != "" {
		t.Errorf("of the other one status says %q", note)
	}
	for range 3 { // whoever's turn it is
		e, err := r.gw.Explain(&answer.Question{URL: "/svc/"})
		if err != nil {
			t.Fatal(err)
		}
		one, other := e.Dispatch.Instances[0], e.Dispatch.Instances[1]
		if one.State != "ejected" || one.Note == "" || one.Chosen || other.State != "passing" || !other.Chosen {
			t.Errorf("explained as %+v", e.Dispatch.Instances)
		}
		r.get("/svc/")
	}
	a.revive()
	eventually.True(t, "it is back, without a request", func() bool { return r.ejectedCount() == 0 })
}

// TestConnectionsToAnInstanceAreBounded fills one of two instances, and then
// both, with what holds connections.
func TestConnectionsToAnInstanceAreBounded(t *testing.T) {
	const most = 3
	for name, ask := range map[string]string{
		"requests":   "GET /svc/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"uploads":    "POST /svc/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"WebSockets": "GET /svc/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(s *Settings) { s.MaxConnections = most })
			var open [2]atomic.Int64
			var addrs []string
			free := make(chan struct{})
			for i := range open {
				l := listen(t)
				addrs = append(addrs, l.Addr().String())
				serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
					open[i].Add(1)
					defer open[i].Add(-1)
					head, _ := readHead(in)
					if strings.Contains(head, "websocket") {
						io.WriteString(c, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
						io.Copy(io.Discard, in)
						return
					}
					<-free
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				})
			}
			r.src.set(resolver.Options{}, addrs...)
			var held []*client
			for range 2 * most {
				c := r.dial()
				c.send(ask)
				held = append(held, c)
				eventually.True(t, "it arrived", func() bool { return int(open[0].Load()+open[1].Load()) == len(held) })
			}
			if open[0].Load() != most || open[1].Load() != most {
				t.Errorf("%d and %d connections, want %d each", open[0].Load(), open[1].Load(), most)
			}
			resp, body := r.get("/svc/")
			if resp.StatusCode != 503 || !strings.Contains(body, `"overloaded"`) || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("got %d %s, Retry-After %q", resp.StatusCode, body, resp.Header.Get("Retry-After"))
			}
			if n := r.ejectedCount(); n != 0 {
				t.Errorf("%d are ejected for it", n)
			}
			close(free)
			for _, c := range held {
				c.Close()
			}
			eventually.True(t, "there is room again", func() bool {
				resp, _ := r.get("/svc/")
				return resp.StatusCode == 200
			})
		})
	}
}

// TestUnusedConnectionsMakeRoom has as many kept connections by HTTP/1.1 as
// there may be in all, and asks by HTTP/2; and the other way round.
func TestUnusedConnectionsMakeRoom(t *testing.T) {
	r := newRig(t, func(s *Settings) { s.MaxConnections = 1 })
	r.h2cBackend(resolver.HTTP1, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Proto) })
	for range 3 {
		for fields, want := range map[string]string{"X: y": "HTTP/1.1", "Content-Type: application/grpc": "HTTP/2.0"} {
			eventually.True(t, "the last request is over", func() bool {
				active, _ := r.gw.upstream.Connections("svc")
				return active == 0
			})
			if resp, body := r.get("/svc/", fields); resp.StatusCode != 200 || body != want {
				t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
			}
		}
	}
}

// TestStuckBodyStallsNobody has one client send a body that gets nowhere, in
// two ways, and asks as others, with bodies and without.
func TestStuckBodyStallsNobody(t *testing.T) {
	for name, path := range map[string]string{"its client does not read the answer": "/echo", "the instance does not read": "/idle"} {
		for _, window := range []int{0, 65535} { // Go's own, and the smallest there is
			t.Run(fmt.Sprint(name, " ", window), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, nil)
				done := make(chan struct{})
				t.Cleanup(func() { close(done) })
				r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
					switch q.URL.Path {
					case "/echo":
						buf := make([]byte, 32<<10)
						for {
							n, err := q.Body.Read(buf)
							if _, e := w.Write(buf[:n]); e != nil || err != nil {
								return
							}
							http.NewResponseController(w).Flush()
						}
					case "/idle":
						select {
						case <-done:
						case <-q.Context().Done():
						}
					default:
						body, _ := io.ReadAll(q.Body)
						fmt.Fprint(w, len(body))
					}
				}, func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerConnection: window} })
				r.get("/svc/") // a connection is there
				for range 3 {
					bad := r.dial()
					bad.send("POST /svc" + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
					var wg sync.WaitGroup
					t.Cleanup(wg.Wait)
					t.Cleanup(func() {
						_ = bad.Conn.(*net.TCPConn).SetLinger(0) // its end would wait behind what nobody takes
						bad.Close()
					})
					wg.Go(func() {
						for piece := make([]byte, 64<<10); ; {
							bad.SetWriteDeadline(time.Now().Add(time.Minute))
							if _, err := bad.Write(piece); err != nil {
								return
							}
						}
					})
				}
				for i := range 30 {
					body := strings.Repeat("x", i*100)
					c := r.dial()
					c.send(fmt.Sprintf("POST /svc/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
					if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != fmt.Sprint(len(body)) {
						t.Fatalf("got %d %q", resp.StatusCode, got)
					}
					c.send(fmt.Sprintf("POST /svc/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 100<<10))
					c.send(strings.Repeat("x", 100<<10))
					if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != fmt.Sprint(100<<10) {
						t.Fatalf("in two steps: got %d %q", resp.StatusCode, got)
					}
				}
			})
		}
	}
}

// smallBuffer has a client take little that it does not read.
func smallBuffer(_, _ string, rc syscall.RawConn) error {
	return rc.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
}

// TestEarlyAnswerCostsOnlyItsRequest has an instance answer before a body and
// its trailers came, which makes some end the connection, while others wait for
// their answers.
func TestEarlyAnswerCostsOnlyItsRequest(t *testing.T) {
	r := newRig(t, nil)
	waiting, free := make(chan struct{}, 100), make(chan struct{})
	r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/early":
			w.WriteHeader(403)
		case "/wait":
			io.Copy(io.Discard, q.Body)
			waiting <- struct{}{}
			<-free
			io.WriteString(w, "ok")
		}
	})
	var others []*client
	for i := range 6 {
		c := r.dial()
		if i%2 == 0 {
			c.send("GET /svc/wait HTTP/1.1\r\nHost: a\r\n\r\n")
		} else {
			c.send("POST /svc/wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
		}
		others = append(others, c)
		<-waiting
	}
	for range 30 {
		c := r.dial()
		c.send("POST /svc/early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
		c.send("2\r\nhi\r\n0\r\nX-End: y\r\n\r\n")
		c.answer("POST")
	}
	close(free)
	for i, c := range others {
		method := []string{"GET", "POST"}[i%2]
		if resp, body := c.answer(method); resp.StatusCode != 200 || body != "ok" {
			t.Errorf("a %s that waited got %d %q", method, resp.StatusCode, body)
		}
	}
}
