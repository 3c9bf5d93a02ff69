package gateway

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"lictor/app/listener/certtest"
	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/resolver"
)

// held is one client after the other that has said something and stays.
type held struct {
	r    *rig
	ca   *certtest.CA // nil: without TLS
	alpn string
	back net.Listener // of the backend, where it keeps its side as well
	ends *ends
}

// TestMemoryOfConnections counts heap and stacks of the gateway for each
// connection on which nothing happens, its side towards the backend included.
func TestMemoryOfConnections(t *testing.T) {
	if raceEnabled {
		return // the race detector's own memory
	}
	for _, tt := range []struct {
		name string
		most int64 // bytes
		open func(h *held)
		alpn string // with TLS
	}{
		{"an idle connection of HTTP 1.1", 2560, (*held).idle, ""},
		{"an idle connection of HTTP 1.1 by TLS", 9 << 10, (*held).idle, "http/1.1"},
		{"a tunnel in which nothing passes", 10_750, (*held).tunnel, ""},
		{"a tunnel by TLS in which nothing passes", 18 << 10, (*held).tunnel, "http/1.1"},
		{"an answer that brings an event now and then", 10 << 10, (*held).events, ""},
		{"an answer that brings an event now and then, by TLS", 17 << 10, (*held).events, "http/1.1"},
		{"an idle connection of HTTP 2", 5 << 10, (*held).idleH2, ""},
		{"an idle connection of HTTP 2 by TLS", 13 << 10, (*held).idleH2, "h2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const conns = 500
			h := newHeld(t, tt.alpn)
			open := func(n int) {
				for range n {
					tt.open(h)
				}
			}
			open(50) // what is made once
			quiet()
			g, heap, stacks := inUse()
			open(conns)
			for turns := 5; ; turns-- { // a busy machine lets some give back later
				quiet()
				g2, heap2, stacks2 := inUse()
				heap, stacks := (heap2-heap)/conns, (stacks2-stacks)/conns
				t.Logf("%d bytes each: heap %d, stacks %d, goroutines %.1f", heap+stacks, heap, stacks, float64(g2-g)/conns)
				if heap+stacks <= tt.most {
					break
				}
				if turns == 0 {
					t.Fatalf("%d bytes each, want at most %d", heap+stacks, tt.most)
				}
			}
		})
	}
}

// TestWhatAnExchangeHoldsIsOfTheAllocatorsNextSmallerSize: a few bytes of padding more
// would take an eighth more memory, and be seen only by who measures.
func TestWhatAnExchangeHoldsIsOfTheAllocatorsNextSmallerSize(t *testing.T) {
	for _, tt := range []struct {
		name     string
		is, most uintptr
	}{
		{"a decision", unsafe.Sizeof(decision{}), 2048},
		{"what it was decided by", unsafe.Sizeof(policy.Facts{}), 512},
		{"a connection", unsafe.Sizeof(http1.Conn{}), 576},
	} {
		if tt.is > tt.most {
			t.Errorf("%s has %d bytes, want at most %d", tt.name, tt.is, tt.most)
		}
	}
}

// Requests that wait for their backends hold nothing that only decisions need: they
// would take it through the caches of the CPU one after the other.
func TestRequestsThatWaitShareWhatDecisionsAreMadeWith(t *testing.T) {
	if raceEnabled {
		return // its pools forget at random
	}
	const requests = 64
	r := newRig(t, nil)
	var came sync.WaitGroup
	came.Add(requests)
	r.backend(func(http.ResponseWriter, *http.Request) { came.Done(); came.Wait() })
	made, New := new(atomic.Int64), works.New
	works.New = func() any { made.Add(1); return New() }
	defer func() { works.New = New }()
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if resp, err := http.Get("http://" + r.addr + "/svc/"); err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v, %v", resp, err)
			} else {
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n > requests/4 {
		t.Errorf("%d requests at once decided with %d memories, want at most %d", requests, n, requests/4)
	}
}

// lull is how long a connection is quiet before it gives back its memory. It lasts
// until all are open, so that stacks do not move while others begin.
const lull = 500 * time.Millisecond

func newHeld(t *testing.T, alpn string) *held {
	h := &held{alpn: alpn, ends: new(ends)}
	if alpn != "" {
		h.r, h.ca = newTLSRig(t, nil)
	} else {
		h.r = newRig(t, nil)
	}
	t.Cleanup(h.ends.close)
	lim := h.r.gw.settings.Load().limits()
	lim.Idle, lim.Stream, lim.Nap, lim.Lull = time.Minute, time.Minute, lull, lull
	h.r.gw.server.SetLimits(lim)
	h.back = listen(t)
	h.r.src.set(resolver.Options{}, h.back.Addr().String())
	return h
}

// quiet waits until all has given back what it does not need, which nothing tells.
func quiet() {
	runtime.GC() // new stacks are as large as those in use were on average
	time.Sleep(4 * lull)
}

// exchange has a client ask and the backend answer, both of which stay.
func (h *held) exchange(request, answer, prefix string, keepBackend bool) {
	t := h.r.t
	t.Helper()
	c := h.dial()
	io.WriteString(c, request)
	b, err := h.back.Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	if _, err := b.Read(buf); err != nil {
		t.Fatal(err)
	}
	io.WriteString(b, answer)
	n, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), prefix) {
		t.Fatalf("%q %v", buf[:n], err)
	}
	if !keepBackend {
		b.Close()
		h.ends.keep(t, c)
		return
	}
	say := func(from, to net.Conn, what string) {
		t.Helper()
		io.WriteString(from, what)
		if _, err := to.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	say(b, c, "5\r\nb\r\n\r\n\r\n")
	if answer == giveIt {
		say(c, b, "to the backend")
	}
	h.ends.keep(t, c)
	h.ends.keep(t, b)
}

func (h *held) dial() net.Conn {
	t := h.r.t
	t.Helper()
	c, err := net.Dial("tcp", h.r.addr)
	if err != nil {
		t.Fatal(err)
	}
	if h.ca == nil {
		return c
	}
	tc := tls.Client(c, &tls.Config{RootCAs: h.ca.Pool(), ServerName: "gw.test", NextProtos: []string{h.alpn}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}

func (h *held) idle() {
	h.exchange(get+"\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 ", false)
}

func (h *held) tunnel() { h.exchange(askTunnel, giveIt, "HTTP/1.1 101 ", true) }

func (h *held) events() {
	h.exchange("GET /svc/ HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n", "HTTP/1.1 200 ", true)
}

func (h *held) idleH2() {
	t := h.r.t
	c := h.dial()
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: h.scheme()}, {Name: ":path", Value: "/svc/"}, {Name: ":authority", Value: "gw.test"},
		{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"}, {Name: "accept", Value: "*/*"},
		{Name: "accept-language", Value: "en,de;q=0.5"}, {Name: "x-one", Value: "1"}, {Name: "x-two", Value: "2"}, {Name: "cookie", Value: strings.Repeat("c=1; ", 40) + "d=2"},
	} {
		enc.WriteField(f)
	}
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true})
	h.back.(*net.TCPListener).SetDeadline(time.Now().Add(soon))
	b, err := h.back.Accept()
	if err != nil {
		for {
			f, err := fr.ReadFrame()
			t.Log(f, err)
			if err != nil {
				break
			}
			if d, ok := f.(*http2.DataFrame); ok {
				t.Log(string(d.Data()))
				break
			}
		}
		t.Fatal(err)
	}
	b.Read(make([]byte, 4096))
	io.WriteString(b, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	b.Close()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			fr.WriteSettingsAck()
		}
		if f, ok := f.(*http2.DataFrame); ok && f.StreamEnded() {
			break
		}
	}
	h.ends.keep(t, c)
}

// ends are far ends of connections as bare descriptors, which cost this process
// no memory.
type ends struct {
	fds []int
}

func (e *ends) keep(t testing.TB, c net.Conn) {
	t.Helper()
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) {
		dup, err := unix.Dup(int(fd))
		if err != nil {
			t.Error(err)
		}
		e.fds = append(e.fds, dup)
	})
	c.Close()
}

func (e *ends) close() {
	for _, fd := range e.fds {
		unix.Close(fd)
	}
}

// inUse is the memory of heap and stacks after a collection.
func inUse() (goroutines int, heap, stacks int64) {
	for range 3 { // a sync.Pool keeps what it has for two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc), int64(m.StackInuse)
}

// Nothing is allocated per request on the common path, GET or a POST whose
// body comes with its head.
func TestSmallPostDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return
	}
	r := newRig(t, nil)
	r.rawBackend(func(c net.Conn, in *bufio.Reader) {
		answer := []byte(ok2)
		for {
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := in.Discard(5); err != nil {
				return
			}
			c.Write(answer)
		}
	})
	c := r.dial()
	request := []byte(post + "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
	buf := make([]byte, 4096)
	once := func() {
		c.Write(request)
		if _, err := io.ReadAtLeast(c.Conn, buf, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		once()
	}
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}

func (h *held) scheme() string {
	if h.ca != nil {
		return "https"
	}
	return "http"
}
