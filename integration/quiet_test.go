//go:build integration

package integration_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lictor/app/listener/certtest"
)

var (
	connections = flag.Int("connections", 250, "how many connections TestManyQuietConnections holds, or a fifth of it where they are more than idle ones of HTTP/1.1; the aims are for 100,000")
	settling    = flag.Duration("settling", time.Second, "how long TestManyQuietConnections and TestWatchesOfManyServicesHoldLittle wait before they look at memory; a process at rest collects its garbage every two minutes")
)

// TestManyQuietConnections holds many connections on which nothing happens, and tells
// what each costs the process: memory, and time on the processor while it comes and
// while it is quiet. They still work, also after a reload; what they held comes back;
// and lictor ends with all of them open.
func TestManyQuietConnections(t *testing.T) {
	mostlyWaiting(t)
	for _, way := range quietWays {
		for _, secure := range []bool{false, true} {
			name := way.name
			if secure {
				name += " by TLS"
			}
			if !secure || !way.egress {
				t.Run(name, func(t *testing.T) {
					beside(t)
					quietConnections(t, way, secure)
				})
			}
		}
	}
}

func quietConnections(t *testing.T, way quietWay, secure bool) {
	b := newQuietBed(t, way, secure)
	b.open(t, 50).close() // what is made once
	time.Sleep(time.Second)
	n, before, slabs := b.most(*connections), resident(t, b.lictorProcess), kernelMemory(t)
	began, cpu := time.Now(), cpuOf(t, b.Pid())
	c := b.open(t, n)
	took, spent := time.Since(began), cpuOf(t, b.Pid())-cpu
	time.Sleep(*settling)
	each := func(now, before int) int { return (now - before) << 10 / n }
	t.Logf("%d connections hold %d bytes each, and all their ends %d in the kernel; they came within %v, for %v of CPU each", n,
		each(resident(t, b.lictorProcess), before), each(kernelMemory(t), slabs), took.Round(time.Millisecond), (spent / time.Duration(n)).Round(time.Microsecond))
	cpu = cpuOf(t, b.Pid())
	time.Sleep(*settling)
	if used := cpuOf(t, b.Pid()) - cpu; used > *settling/20 {
		t.Errorf("quiet, they take %v of CPU in %v, want hardly any", used, *settling)
	} else {
		t.Logf("quiet, they take %v of CPU in %v", used, *settling)
	}
	c.stillWork(t)
	b.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "it reloads", func() error { return logged(b.lictorProcess, "generation=2") })
	c.stillWork(t)
	c.close()
	time.Sleep(*settling)
	t.Logf("once they are closed %d bytes of each are left", each(resident(t, b.lictorProcess), before))

	c = b.open(t, n)
	began = time.Now()
	b.Stop(t)
	t.Logf("it ends within %v", time.Since(began).Round(time.Millisecond))
	c.allEnd(t)
}

// quietBed is a lictor with room for many connections.
type quietBed struct {
	*lictorProcess
	quietWay
	address string       // that clients connect to
	ca      *certtest.CA // nil: without TLS
	backend *quietBackend
	clients atomic.Int64 // that were made, each with a number of its own
}

func newQuietBed(t *testing.T, way quietWay, secure bool) *quietBed {
	b := &quietBed{quietWay: way, backend: startQuietBackend(t)}
	cfg := lictorConfig{Plain: true, Gateway: "  max_connections = 1000000\n  max_connections_per_client = 1000000\n  idle_timeout = \"1h\"\n  stream_idle = \"1h\"\n  drain = \"200ms\"\n"}
	if secure {
		b.ca = certtest.NewCA(t)
		block, _ := tlsConfig(t, b.ca)
		cfg.Gateway += block
	}
	cfg.Rest = staticConfig("svc", "http://"+b.backend.addr) + "dispatch \"http\" {\n  max_connections_per_instance = 100000\n}\n"
	if way.egress {
		b.address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
		cfg.Rest = fmt.Sprintf("egress {\n  address = %q\n  allow_private = [\"127.0.0.0/8\"]\n  connect_ports = []\n}\npolicy {\n  store = \"file\"\n  dir = %q\n}\n", b.address, t.TempDir())
	}
	b.lictorProcess = startLictor(t, cfg)
	b.Ready(t)
	if !way.egress {
		b.address = b.Gateway
	}
	return b
}

// most is as many of n as this process and lictor may have descriptors for.
func (b *quietBed) most(n int) int {
	var r unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &r) // cannot fail
	room := int(min(r.Cur, 1<<20)) - 700       // of which lictor keeps 512 back
	if b.ends == 2 {
		room = room / 2 / 8 * 7 // connections to instances leave some to clients
	}
	return min(n/b.share, room)
}

// open opens n connections, some at a time.
func (b *quietBed) open(t *testing.T, n int) *crowd {
	t.Helper()
	c := &crowd{bed: b, all: make([]*quietClient, n)}
	const atOnce = 16
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for k := range atOnce {
		wg.Go(func() {
			for i := k; i < n && errs[k] == nil; i += atOnce {
				c.all[i], errs[k] = b.connect(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.close)
	return c
}

// connect opens one connection, from an address that hardly a thousand others have.
func (b *quietBed) connect(i int) (*quietClient, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/900))}, Timeout: soon, KeepAlive: -1}
	nc, err := from.Dial("tcp", b.address)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	c := newQuietClient(nc, b, b.clients.Add(1))
	if err := b.begin(c); err != nil {
		return nil, fmt.Errorf("connection %d: %w", i, err)
	}
	return c, nil
}

// crowd are connections that were opened together.
type crowd struct {
	bed *quietBed
	all []*quietClient
}

// stillWork uses some of them, and a new one.
func (c *crowd) stillWork(t *testing.T) {
	t.Helper()
	for range 20 {
		one := c.all[rand.IntN(len(c.all))]
		one.nc.SetDeadline(time.Now().Add(soon))
		if err := c.bed.again(one); err != nil {
			t.Fatalf("connection %d was quiet, and now: %v", one.number, err)
		}
	}
	c.bed.open(t, 1).close()
}

// allEnd finds that lictor has ended each.
func (c *crowd) allEnd(t *testing.T) {
	t.Helper()
	buf := make([]byte, 4096)
	for _, one := range c.all {
		one.nc.SetDeadline(time.Now().Add(soon))
		for {
			_, err := one.nc.Read(buf)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("connection %d is still open", one.number)
			}
			if err != nil {
				break
			}
		}
	}
}

func (c *crowd) close() {
	for _, one := range c.all {
		if one != nil {
			one.nc.Close()
		}
	}
}

// kernelMemory is what the kernel holds in its own structures, in kB.
func kernelMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nSlab:")
	return atoi(t, strings.Fields(after)[0])
}
