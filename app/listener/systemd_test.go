package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSocketsAreKnownByName reads what systemd says of the sockets it passes.
// Their descriptors do not exist here, so only names are looked at.
func TestSocketsAreKnownByName(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	tests := []struct{ name, pid, count, names, want string }{
		{"each by its name", me, "2", "admin:gateway", "admin gateway"},
		{"a single one has the name of its unit", me, "1", "lictor.socket", "lictor.socket"},
		{"a single one that has a name has it", me, "1", "admin", "admin"},
		{"without names", me, "1", "", "unknown"},
		{"those of another process are not ours", "1", "1", "gateway", ""},
		{"no sockets", "", "", "", ""},
		{"no number", me, "many", "gateway", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for name, fd := range namesOf(tt.pid, tt.count, tt.names) {
				if fd < firstDescriptor {
					t.Errorf("%s has descriptor %d", name, fd)
				}
				got = append(got, name)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestASingleSocketIsTheGateways: whatever its unit is called, unless it has the name
// of a listener, which an operator may have chosen.
func TestASingleSocketIsTheGateways(t *testing.T) {
	for _, tt := range []struct {
		name, socket string
		alone        bool
		asks         []string
		taken        string
	}{
		{"the name of a unit", "lictor.socket", true, []string{"internal", "gateway"}, "gateway"},
		{"no name", "unknown", true, []string{"gateway"}, "gateway"},
		{"its own name", "gateway", false, []string{"internal", "gateway"}, "gateway"},
		{"the name of a listener of the configuration", "internal", true, []string{"internal", "gateway"}, "internal"},
		{"the name of another listener", "admin", false, []string{"gateway", "admin"}, "admin"},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "socket"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d := &descriptors{files: map[string]*os.File{tt.socket: f}}
		if tt.alone {
			d.alone = tt.socket
		}
		var taken []string
		for _, name := range tt.asks {
			if d.take(name) != nil {
				taken = append(taken, name)
			}
		}
		if strings.Join(taken, " ") != tt.taken {
			t.Errorf("%s: taken by %q, want %q", tt.name, taken, tt.taken)
		}
	}
}

// TestListenWithoutSystemd opens a port, and names the one that is taken (X16).
func TestListenWithoutSystemd(t *testing.T) {
	l, err := Listen("gateway", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen("admin", l.Addr().String()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want an error that names %s", err, l.Addr())
	}
}

// TestSystemdIsTold listens where systemd would.
func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	read := func() string {
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "READY=1" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	alive := true
	wg.Go(func() {
		Watchdog(ctx, func() bool { was := alive; alive = false; return was }, func(state string) {
			if err := Notify(state); err != nil {
				t.Error(err)
			}
		})
	})
	if got := read(); got != "WATCHDOG=1" {
		t.Errorf("got %q", got)
	}
	c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("got %d bytes of a process that is not alive", n)
	}
	cancel()
	wg.Wait()
}

func TestNobodyIsToldWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Watchdog(ctx, nil, nil)
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if err := Notify("READY=1"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

// A systemd that is away for a moment, as while it is executed anew, ends nothing.
func TestTheWatchdogIsToldAgainWhereItCouldNotBeTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	failed, told := make(chan error, 1), make(chan bool, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		Watchdog(ctx, func() bool { return true }, func(state string) {
			if err := Notify(state); err != nil {
				select {
				case failed <- err:
				default:
				}
			} else if len(told) == 0 {
				told <- true
			}
		})
	})
	<-failed
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-told
	cancel()
	wg.Wait()
}

// A systemd that takes nothing any more keeps nobody waiting.
func TestSystemdThatReadsNothingKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for err == nil { // until there is no room
		err = Notify("WATCHDOG=1")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
