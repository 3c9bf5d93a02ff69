package socket

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/monotonic"
)

// A peer that takes little at a time is not one that takes nothing. But a socket is
// writable again only once a third of its buffer is free, which may be long after: so
// when the time of a write is over, what the peer acknowledged meanwhile tells whether
// it stalls.

// StallAfter has writes to nc fail once the peer took nothing of them for d, however long
// they last. A write deadline that is set later takes its place. Where nobody can tell
// what the peer took, they fail after d.
func StallAfter(nc net.Conn, d time.Duration) error {
	for at := nc; ; {
		if s, ok := at.(interface{ StallAfter(time.Duration) error }); ok {
			return s.StallAfter(d)
		}
		over, ok := at.(interface{ NetConn() net.Conn })
		if !ok {
			return nc.SetWriteDeadline(time.Now().Add(d))
		}
		at = over.NetConn()
	}
}

// unsent is how many bytes lie in the socket that its peer has not acknowledged.
func (s *Socket) unsent() (n int) {
	_ = s.rc.Control(func(fd uintptr) { n = queued(fd) }) // closed: nobody waits any more
	return n
}

// drains reports whether a write that failed by err may go on: only its time was over,
// and of what was unsent when that began the peer took a part.
func (s *Socket) drains(err error, unsent int) bool {
	return IsTimeout(err) && !s.halted.Load() && s.unsent() < unsent
}

func queued(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// StallAfter is the function of that name for what runs on a socket.
func (g *ground) StallAfter(d time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stall = d
	return g.TCPConn.SetWriteDeadline(time.Now().Add(d))
}

// SetWriteDeadline implements net.Conn.
func (g *ground) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stall = 0
	return g.TCPConn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (g *ground) SetDeadline(t time.Time) error {
	_ = g.TCPConn.SetReadDeadline(t) // it fails as the other one does
	return g.SetWriteDeadline(t)
}

// drains gives a write whose deadline passed more time, unless the peer took nothing of
// it for all of the limit. The deadline is that of many writes: it may pass between two
// of them, or when this one has just begun to wait, and tells nothing then.
func (g *ground) drains() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := monotonic.Now()
	switch {
	case g.stall == 0:
		return false
	case !g.blocked:
		g.since = now
	case now-g.since >= int64(g.stall):
		before := g.taken
		_ = g.rc.Control(g.notice) // closed: it took nothing
		if g.taken <= before {
			return false
		}
	}
	return g.TCPConn.SetWriteDeadline(monotonic.Time(g.since+int64(g.stall))) == nil
}

// blocks is called when the socket takes no more of what Write writes.
func (g *ground) blocks(fd uintptr) {
	if !g.blocked {
		g.blocked = true
		g.notice(fd)
	}
}

// notice sees how much of what Write writes the peer took until now.
func (g *ground) notice(fd uintptr) {
	g.since, g.taken = monotonic.Now(), g.wn-queued(fd)
}
