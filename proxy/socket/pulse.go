package socket

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/crash"
)

// Pulse finds out that the other side of a connection is gone without a word:
// what was written to it is not acknowledged within a limit, or, while an answer is
// due, not even that it is there within twice the limit. Then it ends the
// connection. A peer that acknowledges and does not read lives on; that is why
// it is not left to TCP_USER_TIMEOUT, which counts a closed window as well. A
// nil *Pulse watches nothing.
type Pulse struct {
	tcp   *net.TCPConn
	rc    syscall.RawConn
	limit time.Duration
	armed atomic.Bool // the timer runs, or its function does
	dead  atomic.Bool
	over  atomic.Bool
	due   atomic.Int32 // answers
	asks  atomic.Bool  // see ask

	mu    sync.Mutex // guards timer, and over against it
	timer *time.Timer
}

// ErrVanished is a connection whose other side is gone without a word.
var ErrVanished = errors.New("socket: nothing is acknowledged")

// NewPulse returns the pulse of nc, nil if there is no limit or no TCP socket.
func NewPulse(nc net.Conn, limit time.Duration) *Pulse {
	tcp := socketOf(nc)
	if tcp == nil || limit <= 0 {
		return nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &Pulse{tcp: tcp, rc: rc, limit: limit}
}

// Wrote is to be called when bytes are written. It costs a load where others
// were written lately.
func (p *Pulse) Wrote() {
	if p == nil || p.armed.Load() || !p.armed.CompareAndSwap(false, true) {
		return
	}
	p.wind(p.limit)
}

// Expect says that answers are due, by so many more or, once they came, less.
func (p *Pulse) Expect(more int) {
	if p != nil && p.due.Add(int32(more)) > 0 {
		p.Wrote()
	}
}

// wind has look called after a time, unless the watch has ended.
func (p *Pulse) wind(after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over.Load():
	case p.timer == nil:
		p.timer = time.AfterFunc(after, p.look)
	default:
		p.timer.Reset(after)
	}
}

// Dead reports whether the connection was ended for want of a pulse.
func (p *Pulse) Dead() bool { return p != nil && p.dead.Load() }

// Stop ends the watch. Connections may come and go by the thousand in the time
// that a timer runs: so it holds on to none of them, and wakes nobody for it.
func (p *Pulse) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over.Store(true)
	if p.timer != nil {
		p.timer.Stop()
	}
}

// look asks the kernel what became of what was written.
func (p *Pulse) look() {
	defer crash.Contain("upstream connection", nil)
	for !p.over.Load() {
		wait, watch := p.rest()
		switch {
		case watch && wait <= 0:
			p.dead.Store(true)
			_ = p.tcp.SetLinger(0) // it ends either way
			_ = p.rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
			return
		case watch:
			p.wind(max(wait, p.limit/8))
			return
		}
		p.armed.Store(false)
		if _, watch := p.rest(); !watch || !p.armed.CompareAndSwap(false, true) {
			return
		}
	}
}

// rest returns how long the peer may still be silent, and whether it is to be watched:
// something is on its way to it, or an answer is due.
func (p *Pulse) rest() (wait time.Duration, watch bool) {
	var info *unix.TCPInfo
	due := p.due.Load() > 0
	err := p.rc.Control(func(fd uintptr) {
		if info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); info != nil {
			p.ask(int(fd), due && (p.asks.Load() || heard(info) >= p.limit))
		}
	})
	if err != nil || info == nil {
		return 0, false
	}
	return left(info, p.limit, due)
}

// left is rest by what the kernel says. To a closed window nothing is sent but probes,
// which a living peer acknowledges, as it does those that ask a silent one.
func left(info *unix.TCPInfo, limit time.Duration, due bool) (wait time.Duration, watch bool) {
	switch {
	case info.Unacked > 0:
		return limit - min(heard(info), onWay(info)), true
	case info.Notsent_bytes > 0 && info.Probes < 2:
		return limit, true
	case info.Notsent_bytes > 0:
		return limit - heard(info), true
	case due && info.Probes < 2 && heard(info) >= limit:
		return limit / 2, true
	case due && info.Probes >= 2:
		return 2*limit - heard(info), true // it was asked after the first half of that
	}
	return limit - heard(info), due
}

// heard is for how long nothing came from the peer, not even an acknowledgement.
func heard(info *unix.TCPInfo) time.Duration {
	return time.Duration(info.Last_ack_recv) * time.Millisecond
}

// onWay is for how long, at least, the oldest byte has been on its way that is not
// acknowledged. The last word of the peer may be older than that byte, by as much as
// nothing was said. The kernel sends again after a time that it doubles each time: so that
// time tells how long it has tried, up to when it sent last.
func onWay(info *unix.TCPInfo) time.Duration {
	tried := info.Rto - info.Rto>>info.Backoff
	return time.Duration(tried)*time.Microsecond + time.Duration(info.Last_data_sent)*time.Millisecond
}

// ask has the kernel ask the peer whether it is there, or no longer do so more often than
// on any connection. An answer that is due may be due from nobody: what acknowledged the
// request and vanished then leaves nothing behind that would not be acknowledged.
func (p *Pulse) ask(fd int, often bool) {
	if p.asks.Swap(often) == often {
		return
	}
	idle, interval := Dialer.KeepAliveConfig.Idle, Dialer.KeepAliveConfig.Interval
	if often {
		idle, interval = p.limit, (p.limit+time.Second)/2
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, max(1, int(idle/time.Second))) // a socket that is closed
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(1, int(interval/time.Second)))
}
