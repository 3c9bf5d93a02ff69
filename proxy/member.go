package proxy

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"lictor/proxy/http1"
	"lictor/resolver"
)

// member is an instance at run time: its connections, what is under way on it,
// and whether it is ejected. It outlives changes of the catalog that leave the
// instance's address as it is.
type member struct {
	inst     *resolver.Instance
	pool     *http1.Pool // by HTTP/1.1
	h2       *line2
	inflight atomic.Int64

	// Passive ejection: an instance that refuses or resets gets no request for
	// a while, then one on trial, and if that works all again.
	fails atomic.Int32 // failures in a row
	until atomic.Int64 // nanoseconds since start; 0 = not ejected
	trial atomic.Bool  // a request is under way on trial
}

const (
	ejectFirst = time.Second      // after the first failure
	ejectMost  = 30 * time.Second // doubled up to it
	breakLimit = 3                // broken answers in a row that eject
)

var processStart = time.Now()

func monotonic() int64 { return int64(time.Since(processStart)) }

// ready reports whether a request may go to m. An ejected member whose time is
// over is ready for one request at a time, on trial.
func (m *member) ready() bool {
	until := m.until.Load()
	return until == 0 || monotonic() >= until && m.trial.CompareAndSwap(false, true)
}

// resting reports whether m must not be chosen now.
func (m *member) resting() bool {
	until := m.until.Load()
	return until != 0 && (monotonic() < until || m.trial.Load())
}

// worked is called when an answer came.
func (m *member) worked() {
	if m.fails.Load() == 0 {
		return
	}
	m.fails.Store(0)
	m.until.Store(0)
	m.trial.Store(false)
}

// unreachable is called when no connection could be made. That says something
// about the instance, unless the want is our own.
func (m *member) unreachable(err error) {
	for _, ours := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, ours) {
			m.undecided()
			return
		}
	}
	m.refused()
}

// refused is called when nobody is there.
func (m *member) refused() { m.eject(m.fails.Add(1)) }

// broke is called when the connection broke before an answer. One may be the
// fault of the request; several in a row are the instance's.
func (m *member) broke() {
	if n := m.fails.Add(1); n >= breakLimit || m.until.Load() != 0 {
		m.eject(n)
		return
	}
	m.trial.Store(false)
}

func (m *member) eject(fails int32) {
	d := ejectMost
	if fails < 6 {
		d = min(ejectFirst<<(fails-1), ejectMost)
	}
	m.until.Store(monotonic() + int64(d))
	m.trial.Store(false)
}

// undecided is called when a request says nothing about m (the client left).
func (m *member) undecided() { m.trial.Store(false) }

// ejected reports whether m gets no requests but trials, for status.
func (m *member) ejected() bool { return m.until.Load() != 0 }
