package socket

import (
	"net"
	"os"
	"syscall"
)

// records is the TCP connection under the TLS of an upstream. It lets a Socket
// find out, without waiting, that nothing came which nobody asked for: only
// crypto/tls can tell a session ticket from a byte of an answer, and it reads
// in whole records, which it may hold in part.
type records struct {
	*ground

	head [5]byte // of a record, as far as it came
	have int
	left int // bytes of the record's rest that did not come yet

	probing bool // reads do not wait
	budget  int  // bytes that a probe may still read
	buf     []byte
	n       int
	errno   syscall.Errno
	onProbe func(uintptr)
	one     [1]byte
}

// probeMost bounds what one probe reads: far more than session tickets take,
// and little enough that a peer which never stops cannot hold anybody up.
const probeMost = 64 << 10

// Records returns nc as the ground of a TLS connection. What is no TCP
// socket is left as it is.
func Records(nc net.Conn) net.Conn {
	g := newGround(nc)
	if g == nil {
		return nc
	}
	r := &records{ground: g}
	r.onProbe = func(fd uintptr) { r.n, r.errno = rawRead(fd, r.buf) }
	return r
}

// Read implements net.Conn.
func (r *records) Read(p []byte) (n int, err error) {
	if r.probing {
		n, err = r.readNow(p)
	} else {
		n, err = r.ground.Read(p)
	}
	r.follow(p[:n])
	return n, err
}

// readNow reads what is there. Deadlines do not matter to it: one in the past
// would keep the socket from being asked at all.
func (r *records) readNow(p []byte) (int, error) {
	r.buf = p[:min(len(p), r.budget)]
	if len(r.buf) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	r.n, r.errno = 0, 0
	err := r.rc.Control(r.onProbe)
	r.buf = nil
	switch {
	case err != nil:
		return 0, err
	case r.errno == syscall.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case r.errno != 0:
		return 0, r.errno
	case r.n == 0:
		return 0, net.ErrClosed
	}
	r.budget -= r.n
	return r.n, nil
}

// follow keeps track of where records begin and end (RFC 8446 5.1).
func (r *records) follow(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		n := copy(r.head[r.have:], p)
		r.have += n
		p = p[n:]
		if r.have == len(r.head) {
			r.left, r.have = int(r.head[3])<<8|int(r.head[4]), 0
		}
	}
}

// silent reports whether tc, which runs on r, has nothing to read: neither in
// the socket nor decrypted, nor a record of which a part came. Session tickets
// are taken on the way. It does not wait.
func (r *records) silent(tc net.Conn) bool {
	r.probing, r.budget = true, probeMost
	n, err := tc.Read(r.one[:])
	r.probing = false
	return n == 0 && IsTimeout(err) && r.budget > 0 && r.left == 0 && r.have == 0
}
