package socket

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/descriptors"
)

// pipe is the kernel buffer between two sockets. It is empty between uses.
type pipe struct {
	r, w int
	size int // bytes that it takes at most
}

const (
	pipeSize  = 256 << 10 // is what is asked of the kernel for a pipe; it may give less
	leastPipe = 64 << 10  // is the least that is taken, for a buffer of our own does better
)

// mostPipes bounds what slow clients let lie in pipes, which is the kernel's memory, to
// 64 MiB. Linux allows a user without privileges as much (pipe-user-pages-soft), and
// then gives pipes of two pages.
const mostPipes = 256

// pipes are how many there are, freePipes the empty ones of them, for making one costs
// six system calls.
var (
	pipes     atomic.Int64
	freePipes = make(chan *pipe, 64)
)

// takePipe returns an empty pipe, nil if there is none to be had.
func takePipe() *pipe {
	select {
	case p := <-freePipes:
		return p
	default:
	}
	if pipes.Add(1) <= mostPipes {
		if p := newPipe(); p != nil {
			return p
		}
	}
	pipes.Add(-1)
	return nil
}

// newPipe makes a pipe, nil if the kernel has none or a small one only.
func newPipe() *pipe {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize) // if it fails, the size stays
	p.size, _ = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	if p.size < leastPipe || descriptors.Beyond(descriptors.ForUpstreams(), uintptr(p.w)) {
		p.close()
		return nil
	}
	return p
}

// giveBack keeps a pipe that is empty for others; what an error left in one is lost.
func (p *pipe) giveBack(empty bool) {
	if empty {
		select {
		case freePipes <- p:
			return
		default:
		}
	}
	p.close()
	pipes.Add(-1)
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// mover moves a body from one plain TCP socket to another by splice(2).
type mover struct {
	pipe   *pipe
	want   int // bytes to take in the next step
	moved  int // bytes the last step moved
	err    error
	fill   func(uintptr) bool
	drain  func(uintptr) bool
	inPipe int
	armed  bool
	full   bool
}

var moverPool = sync.Pool{New: func() any {
	m := new(mover)
	m.fill, m.drain = m.tryFill, m.tryDrain
	return m
}}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

func splice(from, to, n int) (int, syscall.Errno) {
	for {
		k, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), spliceFlags)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(k), 0
	}
}

func (m *mover) tryFill(fd uintptr) bool {
	n, errno := splice(int(fd), m.pipe.w, min(m.want, m.pipe.size))
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		m.err = errno
	case n == 0:
		m.err = io.EOF
	}
	m.moved = n
	return true
}

func (m *mover) tryDrain(fd uintptr) bool {
	progress := false
	for m.inPipe > 0 {
		n, errno := splice(m.pipe.r, int(fd), m.inPipe)
		if errno == syscall.EAGAIN {
			if m.armed && !progress {
				return false
			}
			m.full = true
			return true
		}
		if errno != 0 {
			m.err = errno
			return true
		}
		progress = true
		m.inPipe -= n
	}
	return true
}

// Flow is what the caller of Splice does between its steps.
type Flow struct {
	Arm    func() error // before each wait for the source: set its deadline
	Lapsed func() error // the deadline passed; nil: go on
	Taken  func()       // bytes came; nil: nobody cares
	Moved  func(n int)  // n bytes went all the way
}

// ErrNoPipe is Splice's error before anything was moved.
var ErrNoPipe = errors.New("socket: no pipe to be had")

// Splice moves n bytes from src to dst, which are both plain. A failed write is
// told as *WriteError, a source that ends before as io.EOF.
func Splice(dst, src *Socket, n int64, stall time.Duration, f Flow) error {
	p := takePipe()
	if p == nil {
		return ErrNoPipe
	}
	m := moverPool.Get().(*mover)
	defer moverPool.Put(m)
	m.pipe, m.inPipe, m.err = p, 0, nil
	defer func() { p.giveBack(m.inPipe == 0) }()
	for n > 0 {
		if err := f.Arm(); err != nil {
			return err
		}
		m.want, m.moved = int(min(n, 1<<30)), 0
		if err := src.rc.Read(m.fill); IsTimeout(err) {
			if err := f.Lapsed(); err != nil {
				return err
			}
			continue
		} else if err != nil {
			return err
		}
		if m.err != nil {
			return m.err
		}
		m.inPipe = m.moved
		if f.Taken != nil {
			f.Taken()
		}
		if err := m.flush(dst, stall); err != nil {
			return &WriteError{Err: err}
		}
		n -= int64(m.moved)
		f.Moved(m.moved)
	}
	return nil
}

// flush empties the pipe into dst; a peer that takes nothing for stall is given up.
func (m *mover) flush(dst *Socket, stall time.Duration) error {
	m.armed = false
	for unsent := 0; ; {
		m.full = false
		err := dst.rc.Write(m.drain)
		if err != nil && !dst.drains(err, unsent) {
			return err
		}
		if err == nil && !m.full {
			break
		}
		m.armed, unsent = true, dst.unsent()
		if err := dst.writeBy(stall); err != nil {
			return err
		}
	}
	if m.armed {
		_ = dst.writeBy(0)
	}
	return m.err
}
