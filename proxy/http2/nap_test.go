package http2

import (
	"net"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
)

// A connection that moves to a new stack at every pause serves as before, and
// ends as before.
func TestAConnectionThatNapsServesOn(t *testing.T) {
	p := hello(t, func(l *http1.Limits) { l.Lull = time.Nanosecond })
	for id := uint32(1); id < 100; id += 2 {
		p.request(id, true, "/a")
		if got := p.outcome(id); got.status != "200" {
			t.Fatalf("stream %d: %v", id, got)
		}
	}
	p.server.Drain()
	eventually.True(t, "the connection is over", func() bool { return p.server.conns.Len() == 0 })
}

// A connection that broke while its reader was about to wait has it wait no more.
func TestTheReaderOfABrokenConnectionDoesNotWait(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := newConn(NewServer(http1.NewServer(new(handler), testLimits())), a, new(http1.Peer), nil)
	c.err = errUnread // flush has set it, and a deadline that is over
	c.readBy(time.Hour)
	if _, err := a.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("got %v, want the end of its time", err)
	}
}
