package socket

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// ground is the TCP connection under TLS or HTTP/2. It reads and writes by raw system
// calls, as Socket does: a write may last so long that the scheduler, if it were told of
// it, would wake another thread to go on in the meantime.
type ground struct {
	*net.TCPConn
	rc syscall.RawConn

	// Arguments and results of the callbacks, which are made once. r* belong to
	// the reader, w* to the writer.
	rbuf, wbuf []byte
	rn, wn     int
	rerr, werr error
	onRead     func(uintptr) bool
	onWrite    func(uintptr) bool

	blocked bool  // this write had to wait
	since   int64 // when it began to, or notice was last called: a moment of monotonic
	taken   int   // bytes of it that the peer had taken then, less those that were written before it

	mu    sync.Mutex    // guards stall, and write deadlines against it
	stall time.Duration // see StallAfter; 0: the deadline is the end of it
}

// newGround returns what TLS on nc is to run on, nil if nc is no TCP socket.
func newGround(nc net.Conn) *ground {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	g := &ground{TCPConn: tcp, rc: rc}
	g.onRead, g.onWrite = g.tryRead, g.tryWrite
	return g
}

// under returns nc as the ground of what runs on it; what is no TCP socket is left
// as it is.
func Ground(nc net.Conn) net.Conn {
	if g := newGround(nc); g != nil {
		return g
	}
	return nc
}

// Lowest returns what nc runs on in the end, which may be nc itself.
func Lowest(nc net.Conn) net.Conn {
	for {
		over, ok := nc.(interface{ NetConn() net.Conn }) // crypto/tls, and what is under it
		if !ok {
			return nc
		}
		nc = over.NetConn()
	}
}

// socketOf returns the TCP socket that nc is or runs on, nil if there is none.
func socketOf(nc net.Conn) *net.TCPConn {
	tcp, _ := Lowest(nc).(*net.TCPConn)
	return tcp
}

// Abort ends a connection at once, by RST and, with TLS, without its farewell:
// nothing that was half sent may look whole.
func Abort(nc net.Conn) {
	nc = Lowest(nc)
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		nc.Close()
		return
	}
	_ = tcp.SetLinger(0) // it ends either way
	parked.close(tcp)
}

// NetConn returns the socket.
func (g *ground) NetConn() net.Conn { return g.TCPConn }

// Read implements net.Conn.
func (g *ground) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	g.rbuf, g.rn, g.rerr = p, 0, nil
	err := g.rc.Read(g.onRead)
	g.rbuf = nil
	if err != nil {
		return 0, err
	}
	return g.rn, g.rerr
}

func (g *ground) tryRead(fd uintptr) bool {
	n, errno := rawRead(fd, g.rbuf)
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		g.rerr = errno
	case n == 0:
		g.rerr = io.EOF
	}
	g.rn = n
	return true
}

// Write implements net.Conn.
func (g *ground) Write(p []byte) (int, error) {
	g.wbuf, g.wn, g.werr, g.blocked = p, 0, nil, false
	err := g.rc.Write(g.onWrite)
	for IsTimeout(err) && g.drains() {
		err = g.rc.Write(g.onWrite)
	}
	g.wbuf = nil
	if err != nil {
		return g.wn, err
	}
	return g.wn, g.werr
}

func (g *ground) tryWrite(fd uintptr) bool {
	for g.wn < len(g.wbuf) {
		n, errno := rawWrite(fd, g.wbuf[g.wn:])
		if errno == syscall.EAGAIN {
			g.blocks(fd)
			return false
		}
		if errno != 0 {
			g.werr = errno
			return true
		}
		g.wn += n
	}
	return true
}
