package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/eventually"
	"lictor/internal/monotonic"
)

// pair is both ends of a TCP connection.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs = dialTest(t, l.Addr().String())
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return ours, theirs
}

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
			ours, theirs := pair(t)
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

// Those that wait end in the order of their deadlines, whoever came first.
func TestWaitsEndInTime(t *testing.T) {
	var wg sync.WaitGroup
	order := make(chan time.Duration, 3)
	for _, d := range []time.Duration{60 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		ours, _ := pair(t)
		at := monotonic.Now() + int64(d)
		ours.SetReadDeadline(monotonic.Time(at))
		if !parked.park(ours, unix.EPOLLIN, at, &wg, func() {
			if monotonic.Now() < at {
				t.Errorf("%v came early", d)
			}
			order <- d
		}) {
			t.Fatal("it does not wait")
		}
	}
	wg.Wait()
	close(order)
	last := time.Duration(0)
	for d := range order {
		if d < last {
			t.Errorf("%v came after %v", d, last)
		}
		last = d
	}
}

// What was woken before it waits does not wait: nobody would wake it again.
func TestAWakeIsNotLost(t *testing.T) {
	for range 2000 {
		ours, _ := pair(t)
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
	closed := dialTest(t, l.Addr().String())
	fd := descriptor(closed)
	parked.park(closed, unix.EPOLLIN, 0, &wg, func() { close(ended) })
	closed.Close()
	for { // a new one has the lowest descriptor that is free
		next := dialTest(t, l.Addr().String())
		if descriptor(next) == fd {
			parked.park(next, unix.EPOLLIN, 0, &wg, func() {})
			<-ended
			Wake(next)
			break
		}
	}
	wg.Wait()
}

// Many idle connections take one goroutine together, and serve on.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	lim := testLimits
	lim.Nap, lim.Lull = time.Millisecond, time.Millisecond
	s, addr, stop := napper(t, lim)
	const conns = 100
	var all []net.Conn
	for range conns {
		c := dialTest(t, addr)
		wantAnswer(t, c, bufio.NewReader(c), plainGet)
		all = append(all, c)
	}
	waiting := func() int { return Parked(&s.wg) }
	for range 2 {
		eventually.True(t, "all wait in the lot", func() bool { return waiting() == conns })
		for _, c := range all {
			wantAnswer(t, c, bufio.NewReader(c), plainGet)
		}
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := waiting(); n != 0 {
		t.Errorf("%d wait for a server that has ended", n)
	}
}

// An answer of which nothing comes any more is cut after the limit, whether it waits in
// the lot meanwhile or not.
func TestAnAnswerThatStallsIsCutInTime(t *testing.T) {
	for head, piece := range map[string]string{"Content-Length: 15": "piece", "Transfer-Encoding: chunked": "5\r\npiece\r\n"} {
		lim := testLimits
		lim.Lull, lim.Stream = 700*time.Millisecond, time.Second
		last := make(chan time.Time, 1)
		_, c := limited(t, lim, func(c net.Conn, in *bufio.Reader) {
			_, _ = http.ReadRequest(in)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n"+piece)
			moved(t)
			last <- time.Now()
			io.WriteString(c, piece)
			_, _ = in.ReadByte()
		})
		io.WriteString(c, plainGet)
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(<-last); took < 900*time.Millisecond || took > 1500*time.Millisecond {
			t.Errorf("%s: cut after %v, want a second", head, took)
		}
	}
}

// Whoever is told of a connection that Abort ends is told that it is gone, and not that
// its time is over: the exchange that it watches would go on.
func TestAWatcherSeesThatAConnectionWasAborted(t *testing.T) {
	for range 300 {
		ours, _ := pair(t)
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
		ours, _ := pair(t)
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

// stopper is a connection on which something happens before a deadline is set.
type stopper struct {
	*net.TCPConn
	calls  int
	before func()
}

func (s *stopper) NetConn() net.Conn { return s.TCPConn }

func (s *stopper) SetReadDeadline(at time.Time) error {
	if s.calls++; s.calls == 3 { // those before are of shorter waits
		s.before()
	}
	return s.TCPConn.SetReadDeadline(at)
}

// A connection that is to make room, and just then begins to wait for long, does not
// hold its place until it was idle for too long.
func TestAConnectionThatIsStoppedAsItBeginsToWaitEnds(t *testing.T) {
	lim := testLimits
	lim.Nap, lim.Lull, lim.Idle = time.Millisecond, time.Millisecond, time.Hour
	s := NewServer(new(forwarder), lim)
	ours, _ := pair(t)
	c := &Conn{srv: s, peer: new(Peer)}
	c.s.Init(&stopper{TCPConn: ours.(*net.TCPConn), before: s.endIdle})
	s.track(c, true)
	s.wg.Go(c.run)
	eventually.True(t, "it ends", func() bool { return s.Open() == 0 })
	s.wg.Wait()
}

// An exchange that ends just before its rest begins to wait does not wait at all.
func TestACutExchangeDoesNotWait(t *testing.T) {
	lim := testLimits
	lim.Stream = time.Hour
	s := NewServer(&forwarder{now: make(map[*Conn]struct{})}, lim)
	ours, _ := pair(t)
	instance, _ := pair(t)
	c := &Conn{srv: s, peer: new(Peer)}
	c.s.Init(ours)
	s.track(c, true)
	c.lend()
	c.ws.body.done = true
	c.trip.begin(c, NewPool(PoolConfig{Address: "unused"}).Adopt(instance))
	c.trip.rest, c.trip.left, c.trip.since = ofLength, 10, monotonic.Now()
	c.trip.fail(ErrClientGone)
	c.move()
	eventually.True(t, "it ends", func() bool { return s.Open() == 0 })
	s.wg.Wait()
}
