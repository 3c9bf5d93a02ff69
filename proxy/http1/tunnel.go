package http1

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
)

// Tunnel writes head, a 101 or 200 answer, and then passes bytes both ways
// until both sides have ended, one of them breaks, or no byte passes for the
// stream limit. An end of one side is passed on and leaves the other open.
// It returns the bytes sent to the upstream and to the client. The new protocol
// begins behind the whole request (RFC 9110 7.8): a body is sent to its end first.
func (c *Conn) Tunnel(head []byte) (up, down int64, err error) {
	t := &c.trip
	c.closing = true
	c.srv.handler.Lasting(c)
	if !t.wholeBody() {
		t.leave(false)
		if err = t.failed(); err == nil {
			err = errUnsentBody
		}
		return 0, 0, err
	}
	t.end() // a watcher may be waiting on the client
	head = append(head, c.ws.up[t.seen:t.up]...)
	t.seen = t.up
	if err := c.write(head); err != nil {
		t.leave(false)
		return 0, 0, err
	}
	early := c.ws.in[c.r:c.w]
	c.r = c.w
	c.ws.lighten()
	err = t.tunnel(early, &up, &down)
	if cause := t.failed(); cause != nil {
		err = cause
	}
	t.leave(false)
	return up, down, err
}

// errUnsentBody is a switch of protocols by an upstream that takes no more of the
// request.
var errUnsentBody = errors.New("http1: upstream switched protocols and did not take the whole request")

// tunnelState is shared by the two directions.
type tunnelState struct {
	t     *trip
	limit time.Duration
	last  atomic.Int64 // monotonic time of the last byte either way
}

func (t *trip) tunnel(early []byte, up, down *int64) error {
	c := t.c
	st := &tunnelState{t: t, limit: c.srv.limits.Load().Stream}
	st.last.Store(monotonic())
	if len(early) > 0 {
		if _, err := t.u.s.write(early, st.limit); err != nil {
			return err
		}
		*up = int64(len(early))
	}
	u := t.u
	var wg sync.WaitGroup
	var upErr error
	halt := func() { u.s.halt(); c.s.halt() }
	wg.Go(func() {
		defer crash.Contain("tunnel", func() { upErr = errCrashed; halt() })
		upErr = st.pass(&u.s, &c.s, up)
	})
	downErr := func() (err error) {
		defer crash.Contain("tunnel", func() { err = errCrashed; halt() })
		return st.pass(&c.s, &u.s, down)
	}()
	wg.Wait()
	if upErr != nil && upErr != errStopped {
		return upErr
	}
	return downErr
}

// pass copies from src to dst until src ends.
func (st *tunnelState) pass(dst, src *sock, total *int64) error {
	err := st.copy(dst, src, total)
	if err == io.EOF {
		if cw, ok := dst.nc.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
			return nil
		}
	}
	dst.halt()
	src.halt()
	if err == io.EOF {
		return nil
	}
	return err
}

// A direction is busy once so many bytes came without a pause of that length.
// Only then is it worth a pipe.
const (
	busyBytes = 256 << 10
	quiet     = 100 * time.Millisecond
)

// errQuiet ends the splicing of a direction that is not busy any more.
var errQuiet = errors.New("http1: nothing comes")

// copy passes bytes from src to dst until src ends. Those of a busy direction
// stay inside the kernel.
func (st *tunnelState) copy(dst, src *sock, total *int64) error {
	splices := dst.rc != nil && src.rc != nil
	burst, last := 0, monotonic()
	for {
		n, err := st.step(dst, src)
		if err != nil {
			return err
		}
		*total += int64(n)
		now := monotonic()
		if time.Duration(now-last) > quiet {
			burst = 0
		}
		burst, last = burst+n, now
		if burst < busyBytes || !splices {
			continue
		}
		switch err := st.splice(dst, src, total); err {
		case errQuiet:
			burst = 0
		case errNoPipe:
			splices = false
		default:
			return err
		}
	}
}

// step waits for bytes of src and passes them on.
func (st *tunnelState) step(dst, src *sock) (int, error) {
	l := loan{to: bulkSize}
	defer l.giveBack()
	for {
		if err := st.arm(src, st.limit); err != nil {
			return 0, err
		}
		n, err := src.readLent(&l)
		if isTimeout(err) {
			src.woken()
			continue
		}
		if err != nil {
			return 0, err
		}
		st.last.Store(monotonic())
		if _, err := dst.write(l.buf[:n], st.limit); err != nil {
			return 0, &writeError{err}
		}
		st.last.Store(monotonic())
		return n, nil
	}
}

// splice is step again and again, by splice(2), until nothing comes for a while.
func (st *tunnelState) splice(dst, src *sock, total *int64) error {
	touch := func() { st.last.Store(monotonic()) }
	err := spliceBody(dst, src, math.MaxInt64, st.limit, flow{
		arm:    func() error { return st.arm(src, quiet) },
		lapsed: func() error { src.woken(); return errQuiet },
		taken:  touch,
		moved:  func(n int) { touch(); *total += int64(n); dst.pulse.Wrote() },
	})
	if err == errCut { // of a body it would be; here it is the end
		return io.EOF
	}
	return err
}

// arm limits the next wait for bytes of src, to most at most. It fails if they
// are not to be waited for: nothing came for too long, or the tunnel is over.
func (st *tunnelState) arm(src *sock, most time.Duration) error {
	rest := st.limit - time.Duration(monotonic()-st.last.Load())
	if rest <= 0 {
		return errTimeout
	}
	src.readBy(min(rest, most))
	if src.halted.Load() || st.t.failed() != nil {
		return errStopped
	}
	return nil
}
