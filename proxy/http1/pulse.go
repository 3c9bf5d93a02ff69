package http1

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
// what was written to it is not acknowledged within a limit. Then it ends the
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

	mu    sync.Mutex // guards timer, and over against it
	timer *time.Timer
}

// ErrVanished is a connection whose other side is gone without a word.
var ErrVanished = errors.New("http1: nothing is acknowledged")

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
		wait, pending := p.rest()
		switch {
		case pending && wait <= 0:
			p.dead.Store(true)
			_ = p.tcp.SetLinger(0) // it ends either way
			_ = p.rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
			return
		case pending:
			p.wind(max(wait, p.limit/8))
			return
		}
		p.armed.Store(false)
		if _, pending := p.rest(); !pending || !p.armed.CompareAndSwap(false, true) {
			return
		}
	}
}

// rest returns how long the peer may still be silent, and whether anything is
// on its way to it at all. To a closed window nothing is sent but probes, which
// a living peer acknowledges.
func (p *Pulse) rest() (wait time.Duration, pending bool) {
	var info *unix.TCPInfo
	err := p.rc.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || info == nil || info.Unacked == 0 && info.Notsent_bytes == 0 {
		return 0, false
	}
	wait = p.limit - time.Duration(info.Last_ack_recv)*time.Millisecond
	if info.Unacked == 0 && info.Probes < 2 {
		wait = p.limit
	}
	return wait, true
}
