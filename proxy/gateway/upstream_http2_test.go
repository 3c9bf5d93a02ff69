package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"lictor/internal/eventually"
	"lictor/resolver"
)

// TestSlowReadersOfHTTP2StallNobody has far more clients that do not read than
// the window of a connection lets wait.
func TestSlowReadersOfHTTP2StallNobody(t *testing.T) {
	r := newRig(t, nil)
	r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/big" {
			io.WriteString(w, "ok")
			return
		}
		piece := make([]byte, 1<<20)
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	for range 230 {
		d := net.Dialer{Control: smallBuffer}
		c, err := d.DialContext(context.Background(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET /svc/big HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	for range 20 {
		c := r.dial()
		c.send("GET /svc/ HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
	}
}

// TestInterimAnswersThatNobodyReadsStallNobody has an instance send one client
// more interim answers than wait for it, on a connection that others share.
func TestInterimAnswersThatNobodyReadsStallNobody(t *testing.T) {
	r := newRig(t, nil)
	sent := make(chan struct{})
	_, conns := r.h2peerBackend(nil, func(p *h2peer, id uint32, n int) bool {
		if n > 1 {
			return p.ok(id)
		}
		for range 60 {
			p.long(id, ":status", "103", "link", strings.Repeat("a", 60_000))
		}
		close(sent)
		return true
	})
	d := net.Dialer{Control: smallBuffer}
	deaf, err := d.DialContext(context.Background(), "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	io.WriteString(deaf, "GET /svc/ HTTP/1.1\r\nHost: a\r\n\r\n")
	<-sent
	for range 5 {
		c := r.dial()
		c.send("GET /svc/ HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want one that all share", n)
	}
}

// TestConnectionsOfHTTP2AreFew counts what a burst makes, and what is left of
// connections on which the instance takes nothing.
func TestConnectionsOfHTTP2AreFew(t *testing.T) {
	t.Run("a burst", func(t *testing.T) {
		r := newRig(t, nil)
		var conns atomic.Int64
		r.h2cBackend(resolver.H2C, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, "ok") }, func(s *http.Server) {
			s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 5000}
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			}
		})
		const burst = 300
		clients := make([]*client, burst)
		for i := range clients {
			clients[i] = r.dial()
		}
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() {
				c.send("GET /svc/ HTTP/1.1\r\nHost: a\r\n\r\n")
				if resp, _ := c.answer("GET"); resp.StatusCode != 200 {
					t.Errorf("got %d", resp.StatusCode)
				}
			})
		}
		wg.Wait()
		active, idle := r.gw.upstream.Connections("svc")
		if n := conns.Load(); n > burst/100+1 || int64(active+idle) != n {
			t.Errorf("%d connections, %d of them counted", n, active+idle)
		}
	})
	t.Run("an instance that takes nothing", func(t *testing.T) {
		r := newRig(t, nil)
		var open atomic.Int64
		l := listen(t)
		serveRaw(t, l, func(c net.Conn, in *bufio.Reader) {
			open.Add(1)
			defer open.Add(-1)
			p := &h2peer{Framer: http2.NewFramer(c, in), c: c}
			io.ReadFull(in, make([]byte, len(http2.ClientPreface)))
			p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			p.read(func(f http2.Frame) bool {
				switch f := f.(type) {
				case *http2.SettingsFrame:
					if !f.IsAck() {
						p.WriteSettingsAck()
					}
				case *http2.PingFrame:
					p.WritePing(true, f.Data)
				}
				return false
			})
		})
		r.serve(&resolver.Instance{ID: "one", Address: l.Addr().String(), Protocol: resolver.H2C})
		for range 20 {
			if resp, _ := r.get("/svc/"); resp.StatusCode != 503 {
				t.Errorf("got %d", resp.StatusCode)
			}
		}
		eventually.True(t, "none is left", func() bool {
			active, idle := r.gw.upstream.Connections("svc")
			return open.Load() == 0 && active+idle == 0
		})
	})
}

// TestUnprocessedRequestIsSentOnceMore has every instance say that it did not
// act on what it got: the request is sent twice in all, however many there are.
func TestUnprocessedRequestIsSentOnceMore(t *testing.T) {
	for _, n := range []int{1, 3} {
		for name, refuse := range map[string]func(p *h2peer, id uint32){
			"by RST_STREAM": func(p *h2peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
			"by GOAWAY":     func(p *h2peer, id uint32) { p.WriteGoAway(0, http2.ErrCodeNo, nil) },
		} {
			for _, ask := range []string{"GET /svc/ HTTP/1.1\r\nHost: a\r\n\r\n", "POST /svc/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"} {
				t.Run(fmt.Sprintf("%s of %d %s", name, n, ask[:4]), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, nil)
					var sent []*atomic.Int64
					var all []*resolver.Instance
					for i := range n {
						requests, _ := r.h2peerBackend(nil, func(p *h2peer, id uint32, _ int) bool { refuse(p, id); return true })
						sent = append(sent, requests)
						inst := *r.src.Catalog().Lookup("svc").Instances[0]
						inst.ID = fmt.Sprint("i", i)
						all = append(all, &inst)
					}
					r.serve(all...)
					c := r.dial()
					c.send(ask)
					method, _, _ := strings.Cut(ask, " ")
					if resp, _ := c.answer(method); resp.StatusCode != 503 {
						t.Errorf("got %d", resp.StatusCode)
					}
					total := int64(0)
					for _, s := range sent {
						total += s.Load()
					}
					if total != 2 {
						t.Errorf("it was sent %d times, want 2", total)
					}
					if n := r.ejectedCount(); n != 0 {
						t.Errorf("%d are ejected for it", n)
					}
				})
			}
		}
	}
}
