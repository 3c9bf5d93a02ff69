//go:build !race

package egress

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMemoryOfTunnels counts heap and stacks of the egress for each tunnel on which
// nothing happens, both sides together. Who talks through them is a bare descriptor,
// which costs this process no memory.
func TestMemoryOfTunnels(t *testing.T) {
	const most, tunnels = 10 << 10, 400
	settings := quick()
	settings.Stream = time.Minute
	b := start(t, settings)
	lim := settings.limits()
	lim.Lull = 500 * time.Millisecond
	b.proxy.server.SetLimits(lim)
	ends := newEnds(t)
	target, at := ends.listen()
	open := func(n int) {
		for range n {
			c := ends.connect(b.addr)
			ends.say(c, "CONNECT "+at+" HTTP/1.1\r\nHost: "+at+"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nProxy-Connection: keep-alive\r\n\r\n")
			s := ends.accept(target)
			if got := ends.hear(c); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Fatalf("CONNECT: %q", got)
			}
			ends.say(c, "to the target")
			ends.hear(s)
			ends.say(s, "to the client")
			ends.hear(c)
		}
	}
	inUse := func() int64 {
		runtime.GC()             // new stacks are as large as those in use were on average
		time.Sleep(4 * lim.Lull) // until all has given back what it does not need, which nothing tells
		for range 3 {
			runtime.GC() // a sync.Pool keeps what it has for two
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	open(50) // what is made once
	before := inUse()
	open(tunnels)
	each := (inUse() - before) / tunnels
	t.Logf("%d bytes each", each)
	if each > most {
		t.Errorf("%d bytes each, want at most %d", each, most)
	}
}

// ends are far ends of connections, as descriptors. One cleanup closes them all, for each
// would take half a KiB.
type ends struct {
	t   *testing.T
	all []int
}

func newEnds(t *testing.T) *ends {
	e := &ends{t: t}
	t.Cleanup(func() {
		for _, fd := range e.all {
			unix.Close(fd)
		}
	})
	return e
}

func (e *ends) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *ends) own(fd int, err error) int {
	e.t.Helper()
	e.must(err)
	e.all = append(e.all, fd)
	return fd
}

func (e *ends) listen() (fd int, at string) {
	fd = e.own(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	e.must(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	e.must(unix.Listen(fd, 16))
	name, err := unix.Getsockname(fd)
	e.must(err)
	here := name.(*unix.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(here.Addr), uint16(here.Port)).String()
}

func (e *ends) accept(listener int) int {
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	return e.own(fd, err)
}

func (e *ends) connect(address string) int {
	to := netip.MustParseAddrPort(address)
	fd := e.own(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	e.must(unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}))
	return fd
}

func (e *ends) say(fd int, what string) {
	e.t.Helper()
	_, err := unix.Write(fd, []byte(what))
	e.must(err)
}

func (e *ends) hear(fd int) string {
	e.t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	e.must(err)
	return string(buf[:n])
}
