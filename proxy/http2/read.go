package http2

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"lictor/proxy/http1"
)

const readSize = 32 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// Ends of a connection that are nobody's fault.
var (
	errIdle = errors.New("http2: connection idle")
	errLeft = errors.New("http2: server stops")
	errNap  = errors.New("http2: connection naps")
	// errUnread is not: the client does not take what it asked for.
	errUnread = errors.New("http2: the client reads nothing")
)

var errSlow = &connError{http2.ErrCodeSettingsTimeout, "a frame or a head took too long"}

// frameReader gives the framer what is in the buffer; next has a whole frame there.
type frameReader conn

func (r *frameReader) Read(p []byte) (int, error) {
	n := copy(p, r.in[r.r:r.w])
	r.r += n
	if n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

// fill reads until n bytes are in the buffer.
func (c *conn) fill(n int) error {
	for c.w-c.r < n {
		c.startWaiting()
		if c.r == c.w && !c.block.open {
			c.partial = time.Time{}
		} else if c.partial.IsZero() {
			c.partial = time.Now()
		}
		if err := c.more(); err != nil {
			return err
		}
	}
	return nil
}

// more reads what there is, waiting for it as long as it may take.
func (c *conn) more() error {
	c.room()
	for {
		limit, err := c.patience()
		if err != nil {
			return err
		}
		c.readBy(limit)
		n, err := c.readSome()
		switch {
		case n > 0:
			c.w += n
			c.moved = false
			return nil
		case err == nil:
		case !isTimeout(err):
			return err
		default:
			c.deadline = time.Time{}
			if c.quiet() && !c.moved {
				c.moved = true
				return c.nap()
			}
		}
	}
}

// room makes room for a whole frame behind what is in the buffer.
func (c *conn) room() {
	switch {
	case c.in == nil:
	case c.r == c.w && cap(c.in) == readSize:
		c.r, c.w = 0, 0
	case len(c.in)-c.r < maxFrame+frameHead || cap(c.in) != readSize:
		in := *readBuffers.Get().(*[]byte)
		n := copy(in, c.in[c.r:c.w])
		c.giveBack()
		c.in, c.r, c.w = in, 0, n
	}
}

// readSome reads into the buffer. A connection without one waits for its first
// byte only: that one costs a call more, but the connection was quiet.
func (c *conn) readSome() (int, error) {
	if c.in != nil {
		return c.nc.Read(c.in[c.w:])
	}
	var one [1]byte
	n, err := c.nc.Read(one[:])
	if n > 0 {
		c.in = *readBuffers.Get().(*[]byte)
		c.in[0] = one[0]
		c.r, c.w = 0, 0
	}
	return n, err
}

func (c *conn) giveBack() {
	if cap(c.in) == readSize {
		in := c.in[:readSize]
		readBuffers.Put(&in)
	}
	c.in, c.r, c.w = nil, 0, 0
}

// patience is how long the reader may wait now. Whatever is half there, it waits for
// nothing once the connection ends: its deadline stays in the past then.
func (c *conn) patience() (time.Duration, error) {
	lim := c.srv.h1.Limits()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ending(); err != nil {
		return 0, err
	}
	if !c.partial.IsZero() {
		return c.patienceForRest(lim)
	}
	rest := lim.Stream // nothing ends by it: every stream has its own limit
	if c.running == 0 {
		if rest = lim.Idle - time.Since(c.idleSince); rest <= 0 {
			return 0, errIdle
		}
	}
	if c.in != nil {
		rest = min(rest, lim.Quiet())
	}
	return rest, nil
}

// patienceForRest is how long the reader may wait for the rest of a frame or header block.
func (c *conn) patienceForRest(lim *http1.Limits) (time.Duration, error) {
	limit := lim.Header
	if c.w-c.r > 3 && http2.FrameType(c.in[c.r+3]) == http2.FrameData {
		limit = lim.Stream
	}
	if rest := limit - time.Since(c.partial); rest > 0 {
		return rest, nil
	}
	return 0, errSlow
}

// ending is what the reader is to end with, nil while the connection goes on. c.mu must
// be held.
func (c *conn) ending() error {
	if c.err == nil && c.left && c.running == 0 {
		return errLeft
	}
	return c.err
}

// quiet gives back what a quiet connection does not need: to wait for frames, and
// also to serve streams where there are none. It reports whether it is quiet.
func (c *conn) quiet() bool {
	if !c.partial.IsZero() {
		return false
	}
	c.mu.Lock()
	idle := c.running == 0
	if idle && !c.flushing {
		c.out, c.spare = nil, nil
	}
	c.mu.Unlock()
	if idle {
		c.dismiss()
	}
	c.giveBack()
	c.fr, c.block = nil, block{}
	return true
}

// nap has the reader move. The time by which something is to come is set before, for
// that would make the new stack grow.
func (c *conn) nap() error {
	limit, err := c.patience()
	if err != nil {
		return err
	}
	c.readBy(limit)
	return errNap
}

// coarse is how much a deadline may lag, so that not every frame moves a timer.
const coarse = time.Second

func (c *conn) readBy(d time.Duration) {
	at := time.Now().Add(d)
	if late := at.Sub(c.deadline); !c.deadline.IsZero() && (late == 0 || d > 2*coarse && late > 0 && late < coarse) {
		return
	}
	c.deadline = at
	c.nc.SetReadDeadline(at)
	c.mu.Lock()
	wake := c.ending() != nil
	c.mu.Unlock()
	if wake { // flush or mayEnd came before the deadline was set
		c.nc.SetReadDeadline(past)
	}
}

var past = time.Unix(1, 0)

// startWaiting has the streams served whose body was waited for: no more of it
// is here.
func (c *conn) startWaiting() {
	for _, st := range c.waiting {
		c.mu.Lock()
		over := st.err != nil
		if over {
			c.finished()
		} else {
			st.complete()
		}
		c.mu.Unlock()
		if over {
			st.free()
		} else {
			c.start(st)
		}
	}
	clear(c.waiting)
	c.waiting = c.waiting[:0]
}
