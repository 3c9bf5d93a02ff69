package socket

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/eventually"
	"lictor/internal/monotonic"
)

func TestAWaitInTheLot(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events uint32
		happen func(ours, theirs net.Conn)
		ends   bool
	}{
		{"ends when bytes come", anything, func(_, theirs net.Conn) { io.WriteString(theirs, "x") }, true},
		{"ends when the peer closes", anything, func(_, theirs net.Conn) { theirs.Close() }, true},
		{"does not mind bytes if only the end is waited for", unix.EPOLLRDHUP, func(_, theirs net.Conn) { io.WriteString(theirs, "x") }, false},
		{"ends when the peer closes if only that is waited for", unix.EPOLLRDHUP, func(_, theirs net.Conn) { theirs.Close() }, true},
		{"ends when it is woken", anything, func(ours, _ net.Conn) { Wake(ours) }, true},
		{"ends when the connection is ended from outside", anything, func(ours, _ net.Conn) { Abort(ours) }, true},
		{"lasts while nothing happens", anything, func(_, _ net.Conn) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wg sync.WaitGroup
			ours, theirs := socketPair(t)
			ended := make(chan struct{})
			if !parked.park(ours, tt.events, 0, &wg, func() { close(ended) }) {
				t.Fatal("it does not wait")
			}
			tt.happen(ours, theirs)
			select {
			case <-ended:
				if !tt.ends {
					t.Error("it ended")
				}
			case <-time.After(100 * time.Millisecond):
				if tt.ends {
					<-ended // or the test does not end
				}
				Wake(ours)
			}
			<-ended
			wg.Wait() // it was counted
		})
	}
}

// Each that waits ends at its own deadline, whoever came first and whoever waits on.
func TestWaitsEndInTime(t *testing.T) {
	var wg, far sync.WaitGroup
	wait := func(d time.Duration, wg *sync.WaitGroup) net.Conn {
		ours, _ := socketPair(t)
		at := monotonic.Now() + int64(d)
		ours.SetReadDeadline(monotonic.Time(at))
		if !parked.park(ours, unix.EPOLLIN, at, wg, func() {
			if monotonic.Now() < at && wg != &far {
				t.Errorf("%v came early", d)
			}
		}) && monotonic.Now() < at {
			t.Fatalf("it does not wait for %v", d)
		}
		return ours
	}
	last := wait(time.Hour, &far)
	for _, d := range []time.Duration{60 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		wait(d, &wg)
	}
	eventually.True(t, "those end that wait for less than the first", func() bool { return Parked(&wg) == 0 })
	wg.Wait()
	if n := Parked(&far); n != 1 {
		t.Errorf("of the one whose time is not over %d wait", n)
	}
	Wake(last)
	far.Wait()
}

// What was woken before it waits does not wait: nobody would wake it again.
func TestAWakeIsNotLost(t *testing.T) {
	for range 2000 {
		ours, _ := socketPair(t)
		var wg sync.WaitGroup
		ended := make(chan struct{})
		wg.Go(func() { Wake(ours) })
		if !parked.park(ours, unix.EPOLLIN, 0, &wg, func() { close(ended) }) {
			close(ended)
		}
		<-ended
		wg.Wait()
		ours.Close()
	}
}

// A wait whose connection was closed by somebody who does not know of it ends at the
// latest when its descriptor is that of another one that waits.
func TestAClosedConnectionDoesNotWaitForEver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	descriptor := func(c net.Conn) (n uintptr) {
		rc, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Control(func(fd uintptr) { n = fd })
		return n
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	closed := dial()
	fd := descriptor(closed)
	parked.park(closed, unix.EPOLLIN, 0, &wg, func() { close(ended) })
	closed.Close()
	for { // a new one has the lowest descriptor that is free
		next := dial()
		if descriptor(next) == fd {
			parked.park(next, unix.EPOLLIN, 0, &wg, func() {})
			<-ended
			Wake(next)
			break
		}
	}
	wg.Wait()
}

// Whoever is told of a connection that Abort ends is told that it is gone, and not that
// its time is over: the exchange that it watches would go on.
func TestAWatcherSeesThatAConnectionWasAborted(t *testing.T) {
	for range 300 {
		ours, _ := socketPair(t)
		var s Socket
		s.Init(ours)
		gone := make(chan bool)
		go func() { gone <- s.WaitGone() }()
		runtime.Gosched()
		Abort(ours)
		if !<-gone {
			t.Fatal("the watcher was told that its time is over")
		}
	}
}

// Nobody would end a wait that begins between the two steps of an Abort.
func TestNothingWaitsOnAConnectionThatIsAborted(t *testing.T) {
	for range 2000 {
		ours, _ := socketPair(t)
		var wg sync.WaitGroup
		wg.Go(func() { Abort(ours) })
		for range 20 { // as whoever reads on with a deadline of its own
			_ = ours.SetReadDeadline(time.Time{})
			if !parked.park(ours, unix.EPOLLIN, 0, &wg, func() {}) {
				break
			}
		}
		wg.Wait()
	}
}
