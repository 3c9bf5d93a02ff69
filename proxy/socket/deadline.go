package socket

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/monotonic"
)

// WaitGone waits until the peer closed its side or the read deadline passes.
// Bytes that come meanwhile stay unread. It reports whether the peer is gone.
func (s *Socket) WaitGone() bool {
	if s.Stream != nil {
		return s.Stream.WaitGone()
	}
	if s.look == nil {
		return false
	}
	if s.onPeek == nil {
		s.onPeek = hungUp
	}
	err := s.look.Read(s.onPeek)
	return err == nil || !errors.Is(err, os.ErrDeadlineExceeded)
}

// AwaitBytes waits, on little stack, until a read of what runs on a socket and not
// by raw calls need not wait, or its deadline passes. It is for a connection of which
// a read just found nothing: what TLS holds of a record is not seen.
func (s *Socket) AwaitBytes() {
	if s.rc == nil && s.look != nil {
		_ = s.look.Read(readable) // the read that follows tells
	}
}

// Await waits, on little stack, until something comes on the socket that nc runs on,
// or its read deadline passes. It is for a connection of which a read just found
// nothing. What has no socket it does not wait for.
func Await(nc net.Conn) {
	if tcp := socketOf(nc); tcp != nil {
		if rc, err := tcp.SyscallConn(); err == nil {
			_ = rc.Read(readable) // the read that follows tells
		}
	}
}

// Gone is WaitGone that does not wait.
func (s *Socket) Gone() bool {
	if s.Stream != nil {
		return s.Stream.Gone()
	}
	is := false
	if s.look != nil {
		is = s.look.Control(func(fd uintptr) { is = hungUp(fd) }) != nil || is
	}
	return is
}

// Stale reports whether the peer of an idle connection closed it or sent
// something. It does not wait.
func (s *Socket) Stale() bool {
	switch {
	case s.under != nil:
		return !s.under.silent(s.Conn)
	case s.look == nil:
		return false
	}
	is := true
	_ = s.look.Control(func(fd uintptr) {
		if s.rc == nil {
			is = hungUp(fd) // a client's TLS, which may say something before it ends
		} else {
			is = readable(fd)
		}
	})
	return is
}

// ReadBy sets the time by which the next bytes must have come, d from now;
// 0 means no limit. So that a busy connection does not move a timer with every
// request, it may come early by a fifth of d, at most a second.
func (s *Socket) ReadBy(d time.Duration) {
	if d <= 0 {
		if s.deadline != 0 {
			s.deadline = 0
			s.setRead(time.Time{})
		}
		return
	}
	now := monotonic.Now()
	at := now + int64(d)
	if s.deadline <= at && at-s.deadline < int64(min(d/5, time.Second)) {
		return
	}
	s.deadline = at
	s.setRead(time.Now().Add(d))
}

func (s *Socket) setRead(at time.Time) {
	s.Conn.SetReadDeadline(at)
	if s.halted.Load() {
		s.Conn.SetReadDeadline(past)
	}
}

// writeBy sets the time by which the next bytes must be taken, d from now; 0
// means no limit.
func (s *Socket) writeBy(d time.Duration) (err error) {
	if d > 0 {
		err = StallAfter(s.Conn, d)
	} else {
		err = s.Conn.SetWriteDeadline(time.Time{})
	}
	if s.halted.Load() {
		s.Conn.SetWriteDeadline(past)
	}
	return err
}

// Expired reports whether a read that failed with a deadline error failed by
// the one of ReadBy. If not, it was woken.
func (s *Socket) Expired() bool {
	return s.halted.Load() || s.deadline > 0 && monotonic.Now() >= s.deadline
}

// Halted reports whether Halt was called.
func (s *Socket) Halted() bool { return s.halted.Load() }

// Halt makes every read and write that waits, or comes later, fail with a
// deadline error. Any goroutine may call it; there is no way back.
func (s *Socket) Halt() {
	s.halted.Store(true)
	s.Conn.SetDeadline(past)
	parked.hurry(s.Conn)
}

// Wake makes a reader that waits return at once with a deadline error, also
// one that comes later, until ReadBy is called. Any goroutine may call it.
func (s *Socket) Wake() { Wake(s.Conn) }

// Wake makes a reader of nc that waits, or does so later, return at once with a
// deadline error. Any goroutine may call it.
func Wake(nc net.Conn) {
	nc.SetReadDeadline(past)
	parked.hurry(nc)
}

// Woken is to be called by the reader after Wake, so that ReadBy sets anew.
func (s *Socket) Woken() { s.deadline = -1 }

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// IsTimeout reports whether err is a passed deadline.
func IsTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// readable reports whether a read would not block: bytes, an end or an error.
func readable(fd uintptr) bool {
	return poll(fd, unix.POLLIN|unix.POLLRDHUP)
}

// hungUp reports whether the peer closed its side or the connection broke.
func hungUp(fd uintptr) bool {
	return poll(fd, unix.POLLRDHUP)
}

func poll(fd uintptr, events int16) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err == unix.EINTR {
			continue
		}
		return n > 0 || err != nil
	}
}
