package http1

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Tunnel writes head, a 101 or 200 answer, and then passes bytes both ways
// until both sides have ended, one of them breaks, or no byte passes for the
// stream limit. An end of one side is passed on and leaves the other open.
// It returns the bytes sent to the upstream and to the client.
func (c *Conn) Tunnel(head []byte) (up, down int64, err error) {
	t := &c.trip
	c.closing = true
	c.srv.handler.Lasting(c)
	t.end() // a watcher may be waiting on the client
	head = append(head, c.ws.up[t.seen:t.up]...)
	t.seen = t.up
	if err := c.write(head); err != nil {
		t.leave(false)
		return 0, 0, err
	}
	early := c.ws.in[c.r:c.w]
	c.r = c.w
	err = t.tunnel(early, &up, &down)
	if cause := t.failed(); cause != nil {
		err = cause
	}
	t.leave(false)
	return up, down, err
}

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
	wg.Go(func() { upErr = st.pass(&u.s, &c.s, up) })
	downErr := st.pass(&c.s, &u.s, down)
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

func (st *tunnelState) copy(dst, src *sock, total *int64) error {
	l := loan{to: bulkSize}
	defer l.giveBack()
	for {
		rest := st.limit - time.Duration(monotonic()-st.last.Load())
		if rest <= 0 {
			return errTimeout
		}
		src.readBy(rest)
		if src.halted.Load() || st.t.failed() != nil {
			return errStopped
		}
		n, err := src.readLent(&l)
		if isTimeout(err) {
			src.woken()
			continue
		}
		if err != nil {
			return err
		}
		st.last.Store(monotonic())
		if _, err := dst.write(l.buf[:n], st.limit); err != nil {
			return &writeError{err}
		}
		*total += int64(n)
		st.last.Store(monotonic())
		l.giveBack()
	}
}
