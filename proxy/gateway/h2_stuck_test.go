package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/resolver"
)

// frames is a raw HTTP/2 connection to the gateway, whose windows are wide open.
type frames struct {
	*client
	*http2.Framer
}

func (r *rig) frames() *frames {
	c := r.dial()
	f := &frames{c, http2.NewFramer(c.Conn, c.in)}
	c.send(http2.ClientPreface)
	const most = 1<<31 - 1
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: most})
	f.WriteWindowUpdate(0, most-65535)
	return f
}

func (f *frames) request(id uint32, end bool, method, path string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "gw.test"}} {
		enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
}

// X14: what the policy forbids by now ends also for a client that does not
// read, and none of what it left unread comes later. Other streams of a client
// that reads go on.
func TestRevocationReachesStreamsThatAreNotRead(t *testing.T) {
	endless := func(c net.Conn, in *bufio.Reader, sent *atomic.Int64) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for piece := bytes.Repeat([]byte("x"), 64<<10); ; {
			n, err := c.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	for _, n := range []int{1, 10} {
		t.Run(fmt.Sprintf("%d streams", n), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			var sent atomic.Int64
			r.rawBackend(func(c net.Conn, in *bufio.Reader) { endless(c, in, &sent) })
			f := r.frames()
			for i := range uint32(n) {
				f.request(2*i+1, true, "GET", "/svc/a")
			}
			eventually.True(t, "they last", func() bool { return r.lasting() == n })
			stalls(t, &sent)
			began := time.Now()
			r.rules.apply(put(t, policy.KindBlacklist, "b", `["/svc"]`))
			r.gw.PolicyChanged()
			eventually.True(t, "all are cut", func() bool { return r.lasting() == 0 })
			if took := time.Since(began); took > soon {
				t.Errorf("cut after %v", took)
			}
			eventually.True(t, "the connection ended", func() bool { return r.gw.server.Open() == 0 })
			rest, err := io.Copy(io.Discard, f.in)
			if rest > 16<<20 {
				t.Errorf("%d bytes came after the end", rest)
			}
			if err == nil {
				t.Error("the connection ended in order, as if all had been sent")
			}
		})
	}
	t.Run("a client that reads loses that stream only", func(t *testing.T) {
		r := newRig(t, nil)
		r.rawBackend(func(c net.Conn, in *bufio.Reader) {
			readHead(in)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
			io.Copy(io.Discard, in)
		})
		f := r.frames()
		f.request(1, true, "GET", "/svc/a")
		f.request(3, true, "GET", "/svc/b")
		eventually.True(t, "they last", func() bool { return r.lasting() == 2 })
		r.rules.apply(put(t, policy.KindBlacklist, "b", `["/svc/a"]`))
		r.gw.PolicyChanged()
		for {
			got, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if reset, ok := got.(*http2.RSTStreamFrame); ok {
				if reset.StreamID != 1 {
					t.Errorf("stream %d was reset", reset.StreamID)
				}
				break
			}
		}
		eventually.True(t, "one is over", func() bool { return r.lasting() == 1 })
		if n := r.gw.server.Open(); n != 1 {
			t.Errorf("%d connections, want one", n)
		}
		f.WritePing(false, [8]byte{})
		if got, err := f.ReadFrame(); err != nil || got.Header().Type != http2.FramePing {
			t.Errorf("got %v, %v, want the answer to a ping", got, err)
		}
	})
}

// stalls waits until n does not grow any more.
func stalls(t *testing.T, n *atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	eventually.True(t, "it is stuck", func() bool {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// lasting is how many exchanges last.
func (r *rig) lasting() int { return r.gw.live.Len() }

// oneLasts waits until the exchange is one that a policy change may cut, and
// whose client is watched.
func (r *rig) oneLasts() {
	r.t.Helper()
	eventually.True(r.t, "the exchange lasts", func() bool { return r.lasting() == 1 })
}

// D4: a client that leaves while the backend takes no more of its upload ends
// the request at once, whatever it and the backend speak.
func TestStuckUploadsEndWithTheirClient(t *testing.T) {
	large := strings.Repeat("z", 64<<10)
	clients := []struct {
		name string
		run  func(r *rig, sent *atomic.Int64) (leave func())
	}{
		{"HTTP/1.1, closed", func(r *rig, sent *atomic.Int64) func() {
			c := r.dial()
			c.send("POST /svc/up HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1000000000\r\n\r\n")
			go func() { // as long as somebody takes it
				for {
					n, err := io.WriteString(c.Conn, large)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}()
			return func() { c.Conn.(*net.TCPConn).SetLinger(0); c.Conn.Close() }
		}},
		{"HTTP/2, reset", func(r *rig, sent *atomic.Int64) func() {
			f := r.frames()
			f.request(1, false, "POST", "/svc/up")
			var mu sync.Mutex // guards writing
			write := func(pieces uint32) {
				mu.Lock()
				defer mu.Unlock()
				for range pieces {
					f.WriteData(1, false, []byte(large[:16<<10]))
					sent.Add(16 << 10)
				}
			}
			write(31)   // of the window
			go func() { // as it opens again
				for {
					got, err := f.ReadFrame()
					if err != nil {
						return
					}
					if w, ok := got.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
						write(w.Increment / (16 << 10))
					}
				}
			}()
			return func() { mu.Lock(); defer mu.Unlock(); f.WriteRSTStream(1, http2.ErrCodeCancel) }
		}},
	}
	backends := []struct {
		name  string
		start func(r *rig)
	}{
		{"HTTP/1.1", func(r *rig) {
			done := make(chan struct{})
			r.rawBackend(func(c net.Conn, in *bufio.Reader) {
				_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
				readHead(in)
				<-done
			})
			r.t.Cleanup(func() { close(done) })
		}},
		{"h2c", func(r *rig) {
			r.h2cBackend(resolver.H2C, func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
		}},
	}
	for _, b := range backends {
		for _, cl := range clients {
			t.Run(cl.name+", to "+b.name, func(t *testing.T) {
				r := newRig(t, nil)
				b.start(r)
				var sent atomic.Int64
				leave := cl.run(r, &sent)
				eventually.True(t, "it is under way", func() bool { return r.inFlight() == 1 })
				stalls(t, &sent)
				began := time.Now()
				leave()
				eventually.True(t, "it is over", func() bool { return r.inFlight() == 0 })
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// inFlight is how many requests are at instances.
func (r *rig) inFlight() int64 { return int64(r.gw.upstream.InFlight()) }
