// Package socket is stream sockets as the data plane uses them: reads and writes by raw
// system calls and with cheap deadlines, bodies that move inside the kernel, waits that
// take no goroutine, the end of a peer that says nothing, and the bounds on how many
// descriptors and connections there are. It knows no protocol but the records of TLS.
package socket

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Socket is a stream socket as the data plane uses it. One goroutine may read
// while another writes.
//
// On a plain TCP connection reads and writes are raw system calls inside the
// callbacks of [syscall.RawConn]: a call on a non-blocking descriptor is over
// in about a microsecond, so the scheduler need not be told of it, and a
// buffer is asked for only once bytes are there (an idle connection holds
// none). Any other connection (TLS) goes through its own Read and Write.
type Socket struct {
	Conn   net.Conn // what it was made of
	Stream Stream   // what Conn is, if it is one
	Pulse  *Pulse   // of an upstream; nil: none

	look  syscall.RawConn // of the TCP socket that Conn is or runs on, to see whether the peer is still there; nil: there is none
	rc    syscall.RawConn // of the same, to read and write; nil if it is not Conn itself
	under *records        // what the TLS of an upstream runs on
	one   [1]byte         // see readOver

	// Arguments and results of the callbacks, which are made once so that a
	// call allocates no closure. r* belong to the reader, w* to the writer.
	rbuf   []byte
	rn     int
	rerr   error
	lender Lender // gives rbuf when bytes are there
	out    []byte // what Exchange writes first
	onRead func(uintptr) bool
	onPeek func(uintptr) bool
	onExch func(uintptr) bool

	wbuf    []byte
	wn      int
	werr    error
	wwait   bool // the callback may wait: a deadline is set
	wfull   bool // the socket took no more
	onWrite func(uintptr) bool

	deadline int64       // of reads, as set on Conn: a moment of monotonic; 0 none
	halted   atomic.Bool // see Halt
}

// ErrStale is a kept-alive upstream connection that turned out closed, or had
// bytes nobody asked for, before the request was written.
var ErrStale = errors.New("socket: connection closed while idle")

// Init makes s the socket of nc. It is to be called once, before s is used.
func (s *Socket) Init(nc net.Conn) {
	s.Conn = nc
	if s.Stream, _ = nc.(Stream); s.Stream != nil {
		return
	}
	if over, ok := nc.(interface{ NetConn() net.Conn }); ok { // crypto/tls
		s.under, _ = over.NetConn().(*records)
	}
	tcp := socketOf(nc)
	if tcp == nil {
		return
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	s.look = rc
	if tcp == nc {
		s.rc = rc
		s.onRead, s.onWrite = s.tryRead, s.tryWrite
	}
}

// OnTCP reports whether s is a TCP connection or, as TLS does, runs on one.
func (s *Socket) OnTCP() bool { return s.look != nil }

// Plain reports whether s is a TCP connection itself, so that [Splice] may be used.
func (s *Socket) Plain() bool { return s.rc != nil }

// Read reads what is there, at least one byte, waiting for it.
func (s *Socket) Read(p []byte) (int, error) {
	if s.rc == nil {
		return s.Conn.Read(p)
	}
	s.rbuf = p
	return s.readRaw()
}

// Lender owns a buffer that a read holds only while bytes are there.
type Lender interface {
	Lend() []byte // the room for a read; called again after GiveBack
	GiveBack()    // nothing was read: the buffer is not needed for now
}

// ReadLent is read into the buffer of l, which is held while bytes are there
// and not while waiting for them. If err is not nil the buffer was given back,
// if it was ever lent.
func (s *Socket) ReadLent(l Lender) (int, error) {
	if s.rc == nil {
		return s.readOver(l)
	}
	s.rbuf, s.lender = nil, l
	n, err := s.readRaw()
	s.lender = nil
	return n, err
}

func (s *Socket) readRaw() (int, error) {
	s.rn, s.rerr = 0, nil
	err := s.rc.Read(s.onRead)
	s.rbuf = nil
	if err != nil {
		return 0, err
	}
	return s.rn, s.rerr
}

func (s *Socket) tryRead(fd uintptr) bool {
	if s.lender != nil {
		s.rbuf = s.lender.Lend()
	}
	n, errno := rawRead(fd, s.rbuf)
	if n == 0 && s.lender != nil {
		s.lender.GiveBack()
		s.rbuf = nil
	}
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		s.rerr = errno
	case n == 0:
		s.rerr = io.EOF
	}
	s.rn = n
	return true
}

// Exchange writes out and reads the first bytes of the answer into in. It
// returns ErrStale, with nothing written, when the peer closed or spoke before
// it was asked: what it said cannot be the answer. If the read deadline passes
// first, out was written nevertheless.
//
// One callback does both: the poller's read state is reset before the request
// leaves, so no wake-up can be lost, and the read that would only say EAGAIN
// is the very check for staleness.
func (s *Socket) Exchange(out, in []byte, stall time.Duration) (n int, err error) {
	if s.rc == nil {
		return s.ask(out, in, stall)
	}
	if s.onExch == nil {
		s.onExch = s.tryExchange
	}
	s.out, s.rbuf, s.rn, s.rerr = out, in, 0, nil
	err = s.rc.Read(s.onExch)
	rest := s.out
	s.out, s.rbuf = nil, nil
	if err == nil {
		err = s.rerr
	}
	switch {
	case len(rest) == 0, err != nil && !IsTimeout(err):
		return s.rn, err
	case err != nil: // a busy machine: the deadline passed before the callback ran
		if len(rest) < len(out) {
			break
		}
		return s.ask(out, in, stall)
	}
	return s.tell(rest, in, stall) // it did not fit into the socket's buffer
}

// ask is Exchange in single steps.
func (s *Socket) ask(out, in []byte, stall time.Duration) (n int, err error) {
	if s.Stale() {
		return 0, ErrStale
	}
	return s.tell(out, in, stall)
}

func (s *Socket) tell(out, in []byte, stall time.Duration) (n int, err error) {
	if _, err := s.Write(out, stall); err != nil {
		return 0, &WriteError{Err: err}
	}
	return s.Read(in)
}

func (s *Socket) tryExchange(fd uintptr) bool {
	if len(s.out) == 0 {
		return s.tryRead(fd)
	}
	if _, errno := rawRead(fd, s.rbuf[:1]); errno != syscall.EAGAIN {
		s.rerr = ErrStale
		return true
	}
	n, errno := rawWrite(fd, s.out)
	if errno != 0 && errno != syscall.EAGAIN {
		s.rerr = ErrStale // not a byte was taken
		return true
	}
	s.out = s.out[n:]
	return len(s.out) > 0 // all gone: wait for the answer
}

// WriteError is a failure of writing where another one of reading is possible too.
type WriteError struct{ Err error }

// Error returns the text of Err.
func (e *WriteError) Error() string { return e.Err.Error() }

// Write writes all of p. It fails if the peer takes no byte for the time stall.
func (s *Socket) Write(p []byte, stall time.Duration) (int, error) {
	s.Pulse.Wrote()
	if s.rc == nil {
		if err := s.writeBy(stall); err != nil {
			return 0, err
		}
		return s.Conn.Write(p)
	}
	s.wbuf, s.wn, s.werr, s.wwait = p, 0, nil, false
	for unsent := 0; ; {
		s.wfull = false
		err := s.rc.Write(s.onWrite)
		if err != nil && !s.drains(err, unsent) {
			s.wbuf = nil
			return s.wn, err
		}
		if err == nil && !s.wfull {
			break
		}
		// Only a write that would block costs a deadline, renewed with each progress.
		s.wwait, unsent = true, s.unsent()
		if err := s.writeBy(stall); err != nil {
			s.werr = err
			break
		}
	}
	if s.wwait {
		_ = s.writeBy(0) // only deadlines that are set can fail to be
	}
	s.wbuf = nil
	return s.wn, s.werr
}

func (s *Socket) tryWrite(fd uintptr) bool {
	progress := false
	for len(s.wbuf) > 0 {
		n, errno := rawWrite(fd, s.wbuf)
		if errno == syscall.EAGAIN {
			if s.wwait && !progress {
				return false
			}
			s.wfull = true
			return true
		}
		if errno != 0 {
			s.werr = errno
			return true
		}
		progress = true
		s.wn += n
		s.wbuf = s.wbuf[n:]
	}
	return true
}

// rawRead and rawWrite are the calls that are made for sockets: read and write
// find out first what the descriptor is, and a write to a peer that is gone is
// told by a signal as well.
func rawRead(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

func rawWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}
