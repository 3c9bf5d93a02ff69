package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// forwarder is a handler that sends every request to one pool.
type forwarder struct {
	pool  *Pool
	serve func(c *Conn) // instead of forwarding, if set
	fails chan *Failure // failures are told here, if set

	mu  sync.Mutex // guards now
	now map[*Conn]struct{}
}

// Done implements Handler.
func (f *forwarder) Done(c *Conn) {
	if f != nil {
		f.during(c, false)
	}
}

func (f *forwarder) Serve(c *Conn) {
	f.during(c, true)
	if f.serve != nil {
		f.serve(c)
		return
	}
	if err := c.PrepareBody(); err != nil {
		c.Close()
		return
	}
	u, err := f.pool.Get(c, time.Second)
	if err != nil {
		c.Answer(append(c.AppendPersistence(append(c.Scratch(), "HTTP/1.1 503 No\r\nContent-Length: 0\r\n"...)), "\r\n"...))
		return
	}
	if fail := c.RoundTrip(u, f.request(c), 5*time.Second, nil); fail != nil {
		if f.fails != nil {
			f.fails <- fail
		}
		c.Close()
		return
	}
	if c.Response().Status == 101 {
		c.Tunnel(append(c.Scratch(), "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"...))
		return
	}
	head := message.AppendStatusLine(c.Scratch(), c.Response().Status)
	if n := c.Response().ContentLength; n >= 0 {
		head = message.AppendField(head, "Content-Length", strconv.FormatInt(n, 10))
	}
	c.Relay(append(c.AppendConnection(head), "\r\n"...))
}

func (f *forwarder) request(c *Conn) []byte {
	req := c.Request()
	head := append(c.Scratch(), req.Method+" "+req.Target+" HTTP/1.1\r\nHost: x\r\n"...)
	switch req.Framing() {
	case message.Length:
		head = message.AppendField(head, "Content-Length", strconv.FormatInt(req.ContentLength, 10))
	case message.Chunked:
		head = message.AppendField(head, "Transfer-Encoding", "chunked")
	}
	if req.Upgrade != "" {
		head = append(head, "Connection: upgrade\r\nUpgrade: x\r\n"...)
	}
	return append(head, "\r\n"...)
}

func (f *forwarder) during(c *Conn, begins bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if begins {
		f.now[c] = struct{}{}
	} else {
		delete(f.now, c)
	}
}

// cutSome cuts some of the exchanges under way.
func (f *forwarder) cutSome() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.now {
		if rand.IntN(4) == 0 {
			c.Cut(nil)
		}
	}
}

func (f *forwarder) Refuse(c *Conn, err *message.ParseError) {
	c.Answer(append(c.AppendPersistence(append(c.Scratch(), "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n"...)), "\r\n"...))
}
func (f *forwarder) Lasting(*Conn)                                {}
func (f *forwarder) KeepTrailer(*Conn, *message.Field, bool) bool { return true }

var testLimits = Limits{Idle: 10 * time.Second, Header: 5 * time.Second, Stream: 10 * time.Second, MaxHeader: 32 << 10}

// startServer serves f on a free port until the test ends.
func startServer(t testing.TB, f *forwarder, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	f.now = make(map[*Conn]struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	s := NewServer(f, testLimits)
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l, new(Entrance)) })
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		s.Shutdown(ctx)
		if f.pool != nil {
			f.pool.Close()
		}
		if n := s.Open(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return addr
}

// startPeer serves connections of an upstream.
func startPeer(t testing.TB, serve func(c net.Conn, in *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	servePeer(t, l, serve)
	return l.Addr().String()
}

func servePeer(t testing.TB, l net.Listener, serve func(c net.Conn, in *bufio.Reader)) {
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			wg.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
}

// echoPeer answers a request with its body, or as its path says.
func echoPeer(c net.Conn, in *bufio.Reader) {
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		switch req.URL.Path {
		case "/silent":
			io.Copy(io.Discard, in)
			return
		case "/tunnel":
			io.WriteString(c, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(c, in)
			return
		case "/stream":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
			io.Copy(io.Discard, in)
			return
		case "/big":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 1_000_000))
			continue
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+string(body))
	}
}

// A connection that hangs up or speaks before it was asked is told as stale, a
// new one as well, with nothing sent.
func TestStaleBeforeTheRequest(t *testing.T) {
	for name, greet := range map[string]string{"hangs up": "", "speaks": "SSH-2.0-x\r\n"} {
		t.Run(name, func(t *testing.T) {
			greeted := make(chan struct{})
			peer := startPeer(t, func(c net.Conn, in *bufio.Reader) {
				io.WriteString(c, greet)
				if greet == "" {
					c.Close()
				}
				close(greeted)
				io.Copy(io.Discard, in)
			})
			f := &forwarder{fails: make(chan *Failure, 1)}
			f.pool = NewPool(PoolConfig{Address: peer, MaxIdle: 4, IdleTimeout: time.Minute,
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, network, address)
					<-greeted
					if err == nil {
						s := new(socket.Socket)
						s.Init(c)
						eventually.True(t, "it arrived", s.Stale)
					}
					return c, err
				}})
			addr := startServer(t, f, nil)
			c := dialTest(t, addr)
			for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
				io.WriteString(c, request)
				if fail := <-f.fails; fail.Kind != Stale || !fail.Clean {
					t.Errorf("got %+v", fail)
				}
			}
		})
	}
}

func dialTest(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// Cut ends an exchange in whatever state it is, soon and for good: no goroutine
// stays behind, and the pool holds no connection with a deadline in the past.
func TestCutAtAnyMoment(t *testing.T) {
	f := &forwarder{}
	f.pool = NewPool(PoolConfig{Address: startPeer(t, echoPeer), MaxIdle: 16, IdleTimeout: time.Minute})
	addr := startServer(t, f, nil)
	requests := []string{
		"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
		"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 500000\r\n\r\nhello",
		"POST /silent HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 500_000),
		"POST /silent HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	}
	var left atomic.Int64
	left.Store(600)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for left.Add(-1) > 0 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.WriteString(c, requests[rand.IntN(len(requests))])
				if n, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || socket.IsTimeout(err) {
					t.Errorf("still open after %d bytes: %v", n, err)
				}
				c.Close()
			}
		})
	}
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
				f.cutSome()
			}
		}
	})
	wg.Wait()
	close(stop)
	cutter.Wait()
	c := dialTest(t, addr)
	in := bufio.NewReader(c)
	for range 50 {
		io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
			t.Fatalf("%q %v", b, err)
		}
	}
}

func TestAHeadIsPutBeforeTheBodyWhereThatIsLong(t *testing.T) {
	for _, tt := range []struct {
		name       string
		head, body int
		moves      bool // the head, and not the body
	}{
		{"a small body goes behind the head", 300, 300, false},
		{"a large one stays", 300, 301, true},
		{"so it does as long as there is room before it", upRoom + 100, 4096, true},
		{"and no longer", upRoom + 101, 4096, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ws := workspaces.New().(*workspace)
			u := &Upstream{}
			c := &Conn{ws: ws}
			c.trip = trip{c: c, u: u, seen: upRoom + 100, up: upRoom + 100 + tt.body} // their head has 100 bytes
			head, body := bytes.Repeat([]byte("h"), tt.head), bytes.Repeat([]byte("b"), tt.body)
			copy(ws.up[c.trip.seen:], body)
			got := c.trip.join(head, tt.body)
			if string(got) != string(head)+string(body) {
				t.Errorf("got %q", got)
			}
			if moves := &got[tt.head] == &ws.up[c.trip.seen]; moves != tt.moves {
				t.Errorf("the head moves: %t, want %t", moves, tt.moves)
			}
		})
	}
}
