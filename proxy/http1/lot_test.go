package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/internal/monotonic"
	"lictor/proxy/socket"
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
	waiting := func() int { return socket.Parked(&s.wg) }
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
