package http1

import (
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"lictor/internal/crash"
	"lictor/internal/monotonic"
	"lictor/proxy/socket"
)

// Tunnel writes head, a 101 or 200 answer. Once the handler's Serve has returned,
// bytes are passed both ways until both sides have ended, one of them breaks, or no
// byte passes for the stream limit; then Done is called, and [Conn.Ended] tells what
// became of it. An end of one side is passed on and leaves the other open. The new
// protocol begins behind the whole request (RFC 9110 7.8): a body is sent to its end
// first.
func (c *Conn) Tunnel(head []byte) {
	t := &c.trip
	c.closing = true
	c.srv.handler.Lasting(c)
	if !t.wholeBody() {
		t.leave(false)
		if t.err = t.failed(); t.err == nil {
			t.err = errUnsentBody
		}
		return
	}
	t.end() // a watcher may be waiting on the client
	head = append(head, c.ws.up[t.seen:t.up]...)
	t.seen = t.up
	if t.err = c.write(head); t.err != nil {
		t.leave(false)
		return
	}
	t.rest = ofTunnel
}

// errUnsentBody is a switch of protocols by an upstream that takes no more of the
// request.
var errUnsentBody = errors.New("http1: upstream switched protocols and did not take the whole request")

// tunnel is what the directions of a tunnel share.
type tunnel struct {
	t     *trip
	limit time.Duration
	lull  time.Duration
	last  atomic.Int64 // monotonic time of the last byte either way
	under atomic.Int32 // directions that have not ended
	over  func()       // is called by the one that ends last
	up    direction
	down  direction
}

// direction passes bytes one way, in a goroutine of its own while some come.
type direction struct {
	*tunnel
	dst, src *socket.Socket
	total    *int64
	loan     loan
	burst    int   // bytes without a pause
	came     int64 // monotonic time of the last ones
	lulled   bool  // nothing came of late
	grown    bool  // bytes passed, which may have made the stack grow
	err      error
}

// openTunnel begins to pass bytes both ways. Once neither side sends any more, over is
// called, in a goroutine of the tunnel.
func (t *trip) openTunnel(over func()) {
	c, u := t.c, t.u
	lim := c.srv.limits.Load()
	tn := &tunnel{t: t, limit: lim.Stream, lull: lim.Quiet(), over: over}
	tn.last.Store(monotonic.Now())
	tn.under.Store(2)
	tn.up = direction{tunnel: tn, dst: &u.s, src: &c.s, total: &t.in, loan: loan{to: bulkSize}}
	tn.down = direction{tunnel: tn, dst: &c.s, src: &u.s, total: &t.out, loan: loan{to: bulkSize}}
	if early := c.ws.in[c.r:c.w]; len(early) > 0 {
		c.r = c.w
		if _, err := u.s.Write(early, tn.limit); err != nil {
			tn.up.halt()
			tn.up.err = err
		}
		t.in = int64(len(early))
	}
	c.srv.wg.Go(tn.up.run)
	c.srv.wg.Go(tn.down.run)
}

// tunnelled ends a tunnel.
func (t *trip) tunnelled(up, down error) {
	t.rest = nothing
	if t.err = up; up == nil || up == errStopped {
		t.err = down
	}
	if cause := t.failed(); cause != nil {
		t.err = cause
	}
	t.leave(false)
}

// run passes bytes until there are no more. A direction that was quiet for a while
// goes on in another goroutine, once something comes.
func (d *direction) run() {
	defer crash.Contain("tunnel", func() { d.halt(); d.end(errCrashed) })
	err := d.copy()
	if err == errNap {
		d.grown, d.lulled = false, true
		if err = d.arm(d.limit); err == nil {
			d.t.c.srv.later(d.src, d.run)
			return
		}
	}
	d.end(err)
}

func (d *direction) halt() { d.dst.Halt(); d.src.Halt() }

// end ends a direction for err.
func (d *direction) end(err error) {
	if d.err == nil {
		d.err = d.passOn(err)
	}
	if d.under.Add(-1) == 0 {
		d.t.tunnelled(d.up.err, d.down.err)
		d.over()
	}
}

// passOn passes the end of one side on to the other one. Anything else ends both.
func (d *direction) passOn(err error) error {
	if err == io.EOF {
		if cw, ok := d.dst.Conn.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
			return nil
		}
	}
	d.halt()
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

// copy passes bytes until the source ends. Those of a busy direction stay inside
// the kernel.
func (d *direction) copy() error {
	splices := d.dst.Plain() && d.src.Plain()
	for {
		if err := d.step(); err != nil {
			return err
		}
		if d.burst < busyBytes || !splices {
			continue
		}
		switch err := d.splice(); err {
		case errQuiet:
			d.burst = 0
		case socket.ErrNoPipe:
			splices = false
		default:
			return err
		}
	}
}

// step waits for bytes and passes them on.
func (d *direction) step() error {
	most := d.limit
	if !d.lulled && d.mayRest() {
		most = min(most, d.lull)
	}
	if err := d.arm(most); err != nil {
		return err
	}
	if d.lulled {
		d.src.AwaitBytes()
	}
	n, err := d.src.ReadLent(&d.loan)
	if err == nil {
		return d.pass(n)
	}
	if !socket.IsTimeout(err) {
		return err
	}
	d.src.Woken()
	if d.mayRest() {
		return errNap
	}
	return nil
}

// mayRest reports whether it is worth while that another goroutine goes on.
func (d *direction) mayRest() bool { return d.grown || d.src.OnTCP() }

// pass passes on the n bytes that came. It is a function of its own for its frame,
// which shall not lie on the stack while nothing comes.
//
//go:noinline
func (d *direction) pass(n int) error {
	defer d.loan.GiveBack()
	d.grown, d.lulled = true, false
	now := monotonic.Now()
	if time.Duration(now-d.came) > quiet {
		d.burst = 0
	}
	d.burst, d.came = d.burst+n, now
	d.last.Store(now)
	if _, err := d.dst.Write(d.loan.buf[:n], d.limit); err != nil {
		return &socket.WriteError{Err: err}
	}
	d.last.Store(monotonic.Now())
	*d.total += int64(n)
	return nil
}

// splice is step again and again, by splice(2), until nothing comes for a while.
func (d *direction) splice() error {
	touch := func() { d.last.Store(monotonic.Now()) }
	return socket.Splice(d.dst, d.src, math.MaxInt64, d.limit, socket.Flow{
		Arm:    func() error { return d.arm(quiet) },
		Lapsed: func() error { d.src.Woken(); return errQuiet },
		Taken:  touch,
		Moved:  func(n int) { touch(); *d.total += int64(n); d.dst.Pulse.Wrote() },
	})
}

// arm limits the next wait for bytes, to most at most. It fails if they are not to
// be waited for: nothing came for too long, or the tunnel is over.
func (d *direction) arm(most time.Duration) error {
	rest := d.limit - time.Duration(monotonic.Now()-d.last.Load())
	if rest <= 0 {
		return errTimeout
	}
	d.src.ReadBy(min(rest, most))
	if d.src.Halted() || d.t.failed() != nil {
		return errStopped
	}
	return nil
}
