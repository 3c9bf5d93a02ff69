package gateway

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lictor/resolver"
)

// An idle connection costs at most 5 KiB, its goroutine's stack included; the
// test leaves some room for what the runtime does meanwhile.
func TestMemoryOfIdleConnections(t *testing.T) {
	if raceEnabled {
		return // the race detector's own memory
	}
	const conns, most = 2000, 5 << 10
	r := newRig(t, nil)
	r.recorder()
	fds := make([]int, 0, 2*conns)
	open := func(n int) {
		for range n {
			idleConn(t, r.addr, &fds)
		}
	}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	lim := r.gw.settings.Load().limits()
	lim.Nap = time.Second
	r.gw.server.SetLimits(lim)
	open(50) // what is made once
	before := inUse()
	open(conns)
	runtime.GC()                               // new stacks are as large as those in use were on average
	time.Sleep(lim.Nap + 300*time.Millisecond) // until all nap, which nothing tells
	each := (inUse() - before) / conns
	t.Logf("%d bytes for each idle connection", each)
	if each > most {
		t.Errorf("%d bytes for each idle connection, want at most %d", each, most)
	}
}

// A tunnel in which nothing passes, such as a WebSocket, costs at most 32 KiB,
// the stacks of both directions included.
func TestMemoryOfIdleTunnels(t *testing.T) {
	if raceEnabled {
		return
	}
	const tunnels, most = 500, 32 << 10
	r := newRig(t, nil)
	l := listen(t)
	r.src.set(resolver.Options{}, l.Addr().String())
	ends := make([]net.Conn, 0, 2*tunnels)
	var fds []int
	open := func(n int) {
		for range n {
			wait := ask(t, r.addr, askTunnel, &fds)
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, c)
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, giveIt)
			wait("HTTP/1.1 101 ")
		}
	}
	defer func() {
		for _, c := range ends {
			c.Close()
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	open(50)
	before := inUse()
	open(tunnels)
	each := (inUse() - before) / tunnels
	t.Logf("%d bytes for each idle tunnel", each)
	if each > most {
		t.Errorf("%d bytes for each idle tunnel, want at most %d", each, most)
	}
}

// idleConn has one request answered on a new connection and leaves it open.
func idleConn(t *testing.T, addr string, fds *[]int) {
	t.Helper()
	ask(t, addr, get+"\r\n", fds)("HTTP/1.1 200 ")
}

// ask writes a request on a new connection, and returns what waits for its
// answer. Its side is a bare descriptor, which costs this process no memory.
func ask(t *testing.T, addr, request string, fds *[]int) (wait func(prefix string)) {
	t.Helper()
	ap := netip.MustParseAddrPort(addr)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	*fds = append(*fds, fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	return func(prefix string) {
		t.Helper()
		var buf [1024]byte
		n, err := unix.Read(fd, buf[:])
		if err != nil || !strings.HasPrefix(string(buf[:n]), prefix) {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
}

// inUse is the memory of heap and stacks after a collection.
func inUse() int64 {
	for range 3 { // a sync.Pool keeps what it has for two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
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
