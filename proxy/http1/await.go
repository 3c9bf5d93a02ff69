package http1

import (
	"cmp"
	"errors"
	"io"
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Errors of reading a request head besides ParseError.
var (
	errIdle  = errors.New("http1: connection idle")
	errDrain = errors.New("http1: server stops")
	errNap   = errors.New("http1: connection naps")
)

// errHeadTimeout is a head that began and did not end in time.
var errHeadTimeout = &message.ParseError{Status: 408, Reason: "the head took too long"}

// maxBlank is how many bytes of empty lines may come before a request.
const maxBlank = 4

// readHead waits for the next request and parses its head.
func (c *Conn) readHead() error {
	lim := c.srv.limits.Load()
	if c.r < c.w { // pipelined: bytes of this request came with the last one
		c.w = copy(c.ws.in, c.ws.in[c.r:c.w])
		c.r = 0
	}
	scanned, blank, began := 0, 0, int64(0)
	for {
		if c.r == c.w {
			c.giveBack()
			if err := c.awaitFirst(lim); err != nil {
				return err
			}
		}
		if skip := min(message.SkipEmptyLines(c.ws.in[c.r:c.w]), maxBlank-blank); skip > 0 {
			blank += skip
			c.r += skip
			scanned = 0
			continue
		}
		n, next, err := message.HeadEnd(c.ws.in[c.r:c.w], scanned)
		if err != nil {
			return err
		}
		if n > lim.MaxHeader || n == 0 && c.w-c.r >= lim.MaxHeader {
			return message.TooLarge(c.ws.in[c.r:min(c.w, c.r+lim.MaxHeader)])
		}
		if n > 0 {
			return c.parseHead(n)
		}
		scanned = next
		if began == 0 {
			began = monotonic.Now()
		}
		if err := c.readMore(began, lim); err != nil {
			return err
		}
	}
}

// defaultNap is how long a connection is idle before it gives back its stack:
// a busy one never is, and beginning anew costs one that thinks about 2 us.
const defaultNap = 30 * time.Millisecond

// lastLook is how long a server that stops waits for a request that may be on
// its way; firstLook the same on a connection that has not had any yet: its
// client made it for one, and will not expect that it is idle.
const (
	lastLook  = 5 * time.Millisecond
	firstLook = 250 * time.Millisecond
)

// awaitFirst waits, holding nothing, until bytes of a request are there. It
// returns errNap twice: first for a connection whose stack may have grown, and then,
// for to wait in the lot costs a request some 14 us, for one that has been quiet.
func (c *Conn) awaitFirst(lim *Limits) error {
	wait := lim.Idle - c.waited
	switch c.naps {
	case 0:
		wait = min(cmp.Or(lim.Nap, defaultNap), wait)
		c.s.ReadBy(max(wait, 1))
	case 1:
		wait = min(lim.Quiet(), wait)
	}
	c.state.CompareAndSwap(stateActive, stateIdle)
	if c.naps > 0 && !c.srv.draining.Load() {
		c.s.AwaitBytes()
	}
	var err error
	if c.srv.draining.Load() { // Shutdown may have come too early to see the idle state
		c.state.Store(stateStopped)
	} else if c.w, err = c.s.ReadLent((*lending)(c)); c.w > 0 {
		if !c.state.CompareAndSwap(stateIdle, stateActive) {
			c.s.Woken()
		}
		return nil
	}
	if c.state.Load() != stateStopped {
		if c.naps == 2 || c.waited+wait >= lim.Idle || !socket.IsTimeout(err) || c.s.Halted() {
			return errIdle // closed, timed out: nobody waits for an answer
		}
		c.naps++
		c.waited += wait
		next := lim.Idle - c.waited
		if c.naps == 1 {
			next = min(lim.Quiet(), next)
		}
		c.s.ReadBy(max(next, 1)) // here, for it would make the new stack grow
		if c.state.Load() != stateStopped {
			return errNap
		}
		// It was stopped since: the deadline that was to wake it is lost.
	}
	c.s.Woken()
	if c.served || !c.srv.draining.Load() {
		c.s.ReadBy(lastLook)
	} else {
		c.s.ReadBy(firstLook)
	}
	if c.w, _ = c.s.ReadLent((*lending)(c)); c.w == 0 {
		return errDrain
	}
	return nil
}

// readMore reads more of a head that has begun.
func (c *Conn) readMore(began int64, lim *Limits) error {
	if c.w == len(c.ws.in) {
		c.makeRoom(lim.MaxHeader)
	}
	for {
		rest := lim.Header - time.Duration(monotonic.Now()-began)
		if rest <= 0 {
			return errHeadTimeout
		}
		c.s.ReadBy(rest)
		n, err := c.s.Read(c.ws.in[c.w:])
		switch {
		case err == nil:
			c.w += n
			return nil
		case socket.IsTimeout(err) && !c.s.Expired():
			c.s.Woken() // by a Shutdown that took the connection for idle
		case socket.IsTimeout(err):
			return errHeadTimeout
		case err == io.EOF:
			return message.ErrIncomplete // it may still listen
		default:
			return errIdle
		}
	}
}

// makeRoom moves the unread bytes to the front of a buffer with room behind
// them. Strings into the old one stay valid: it is copied, not reused, where
// it is too small.
func (c *Conn) makeRoom(limit int) {
	in := c.ws.in
	if c.w-c.r >= len(in)/2 {
		in = make([]byte, min(2*len(in), max(limit+1, 2*(c.w-c.r))))
	}
	c.w = copy(in, c.ws.in[c.r:c.w])
	c.r = 0
	c.ws.in = in
}

func (c *Conn) parseHead(n int) error {
	req := &c.ws.req
	req.LimitFields(c.srv.limits.Load().MaxFields)
	head := c.ws.in[c.r : c.r+n]
	if n <= smallSize {
		c.ws.small = append(c.ws.small[:0], head...)
		head = c.ws.small
	}
	if err := req.Parse(head); err != nil {
		return err
	}
	c.r += n
	c.closing = req.Close
	c.trip.failure.Store(nil)
	c.trip.spoke.Store(false)
	c.ws.dec.Reset()
	c.ws.body.begin(req)
	return nil
}
