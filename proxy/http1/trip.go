package http1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// trip is a request under way: the client's connection, an upstream's, and
// what goes on between them. It is part of Conn, so that it costs nothing.
//
// The connection's goroutine writes the request, reads the answer and writes
// it to the client. Only where it cannot do both at once is there a second
// one, the attendant: it sends a body that did not come with its head, and
// once the upstream is slow it watches whether the client leaves.
type trip struct {
	c    *Conn
	u    *Upstream
	peer atomic.Pointer[Upstream] // u, for Cut
	wg   sync.WaitGroup           // the attendant

	streams  bool // the body did not come whole with the head
	attended bool
	spoiled  bool         // the upstream connection cannot be used again
	invited  bool         // the upstream said 100 (Continue)
	expects  bool         // the pulse of u knows that an answer is due, as it is slow
	stopped  atomic.Bool  // the attendant shall end
	owing    atomic.Bool  // the attendant waits for body bytes of the client
	progress atomic.Int64 // monotonic time of the last body byte
	sent     atomic.Bool  // the whole body was sent
	spoke    atomic.Bool  // the upstream began to answer
	sentCh   chan struct{}
	failure  atomic.Pointer[error]

	up, seen int    // ws.up[seen:up] is read of the answer and not yet used
	answered bool   // any byte of an answer came
	out      int64  // body bytes of the answer, or those that a tunnel brought the client
	in       int64  // bytes that a tunnel brought the upstream
	rest     rest   // what is still to be done after the handler's Serve
	fresh    bool   // the stack is new on which that is done
	left     int64  // with ofLength: bytes
	since    int64  // monotonic time of the last bytes of the rest
	stream   stream // with ofStream
	err      error  // what ended it, once nothing is left to be done
}

var (
	errStopped = errors.New("http1: exchange is over")
	errCut     = errors.New("http1: upstream cut its answer short")
	errTimeout = errors.New("http1: upstream took too long")
	errCrashed = errors.New("http1: a panic ended the exchange")
	errInterim = errors.New("http1: upstream sent too many interim answers")
	// ErrCut is what Cut without a cause ends an exchange with.
	ErrCut = errors.New("http1: exchange was cut")
)

// watchAfter is how long an upstream may think before the client is watched
// for leaving: below it, watching would cost more than it saves.
const watchAfter = 50 * time.Millisecond

// glance is how often the client is looked at while its body is sent: an
// upstream that takes no more of it would hide that the client left.
const glance = 200 * time.Millisecond

// settleTime is how long an answer waits for the request's body to be gone.
const settleTime = 2 * time.Millisecond

// Kind says where an exchange failed. A [Failure] always has one.
type Kind uint8

const (
	Stale       Kind = iota + 1 // the connection was dead before anything was sent
	Unprocessed                 // the upstream says that it did not act on it: ErrUnprocessed
	Broken                      // connected, but the answer did not come or was not HTTP
	TimedOut                    // no answer in time
	Vanished                    // the upstream is gone without a word: nothing is acknowledged
	ClientLeft                  // the client is gone
	BadBody                     // the request's body is malformed, too large or stopped
	WasCut                      // Conn.Cut
)

// Failure is an exchange that brought no answer that could be relayed.
type Failure struct {
	Kind Kind
	// Clean reports that no byte of an answer came and that the request can be
	// sent again: its body, if any, came with the head.
	Clean bool
	Mute  bool // no byte of an answer came
	Err   error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// RoundTrip sends the request to u and reads the head of the final answer
// into [Conn.Response]. head is the request head as it goes upstream. Interim
// answers are handed to interim, which may write them to the client; nil
// drops them. timeout bounds the wait for the answer, from the moment the
// request (its last body byte) was sent. On a *Failure u is closed.
func (c *Conn) RoundTrip(u *Upstream, head []byte, timeout time.Duration, interim func(*message.ResponseHead)) *Failure {
	t := &c.trip
	t.begin(c, u)
	err := t.send(head, max(timeout, time.Millisecond))
	if err == nil {
		err = t.await(timeout, interim)
	}
	if t.expects {
		t.expects = false
		u.s.Pulse.Expect(-1)
	}
	if err != nil {
		return t.fails(err)
	}
	return nil
}

func (t *trip) begin(c *Conn, u *Upstream) {
	t.c, t.u = c, u
	t.peer.Store(u)
	t.attended, t.answered, t.spoiled, t.invited = false, false, false, false
	t.streams = !c.ws.body.done
	t.progress.Store(0)
	t.spoke.Store(false)
	t.sent.Store(!t.streams)
	t.up, t.seen, t.out, t.in = upRoom, upRoom, 0, 0
	t.rest, t.fresh, t.err, t.expects = nothing, false, nil, false
}

// send writes the head and what is there of the body, and has the attendant
// see to the rest.
func (t *trip) send(head []byte, timeout time.Duration) error {
	c, u := t.c, t.u
	out := append(head, c.ws.first...)
	c.ws.out = out
	stall := c.srv.limits.Load().Stream
	if !t.streams {
		u.s.ReadBy(min(watchAfter, timeout))
		n, err := u.s.Exchange(out, c.ws.up[t.up:], stall)
		t.up += n
		if socket.IsTimeout(err) {
			return nil // slow: await goes on
		}
		return err
	}
	if u.s.Stale() {
		return socket.ErrStale
	}
	if n, err := u.s.Write(out, stall); n == 0 {
		return socket.ErrStale
	} else if err != nil {
		return &socket.WriteError{Err: err}
	}
	t.attend()
	return nil
}

// maxInterim bounds the interim answers to one request.
const maxInterim = 64

// await reads heads until the final one.
func (t *trip) await(timeout time.Duration, interim func(*message.ResponseHead)) error {
	ws := t.c.ws
	method := ws.req.Method
	scanned, interims, began := 0, 0, int64(0)
	for {
		n, next, err := message.HeadEnd(ws.up[t.seen:t.up], scanned)
		if err == error(message.ErrBareLF) {
			n, err = t.headOfLines()
			next = 0
		}
		if err != nil {
			return err
		}
		if n > 0 {
			if err := ws.resp.Parse(ws.up[t.seen:t.seen+n], method); err != nil {
				return err
			}
			t.seen += n
			scanned = 0
			if ws.resp.Status >= 200 || ws.resp.Status == 101 {
				return nil
			}
			t.answered = true
			t.invited = t.invited || ws.resp.Status == 100
			if interims++; interims > maxInterim {
				return errInterim
			}
			if interim != nil {
				interim(&ws.resp)
			}
			continue
		}
		scanned = next
		if err := t.moreHead(); err != nil {
			return err
		}
		if began == 0 {
			began = monotonic.Now()
		}
		n, err = t.read(ws.up[t.up:], nil, timeout, began)
		if err != nil {
			return err
		}
		t.up += n
		t.spoke.Store(true)
	}
}

// headOfLines is for an answer whose lines end with LF alone: it gives the lines of
// the head the ends they should have, and returns the head's length. n is 0 while
// its end is not there.
func (t *trip) headOfLines() (n int, err error) {
	ws := t.c.ws
	head, used, err := message.HeadOfLines(ws.up[t.seen:t.up])
	if used == 0 {
		return 0, err
	}
	whole := append(head, ws.up[t.seen+used:t.up]...)
	if len(whole) > len(ws.up) {
		ws.up = make([]byte, max(len(whole), upSize))
	}
	t.seen, t.up = 0, copy(ws.up, whole)
	return len(head), nil
}

// maxResponseHead bounds the answer's head.
const maxResponseHead = 64 << 10

// moreHead makes room for more of a head that is not complete.
func (t *trip) moreHead() error {
	ws := t.c.ws
	if t.up > t.seen {
		t.answered = true
	}
	if t.up < len(ws.up) {
		return nil
	}
	if t.seen > 0 {
		t.up = copy(ws.up, ws.up[t.seen:t.up])
		t.seen = 0
		return nil
	}
	if len(ws.up) >= maxResponseHead {
		return message.ErrHeadTooLarge
	}
	ws.up = append(ws.up, make([]byte, len(ws.up))...)
	return nil
}

// read reads from the upstream into p or, if it is not nil, what l lends. The
// upstream may stay silent for limit since the time since, or since the last
// byte of the request's body.
func (t *trip) read(p []byte, l *loan, limit time.Duration, since int64) (n int, err error) {
	for {
		if err := t.arm(limit, since); err != nil {
			return 0, err
		}
		if l != nil {
			n, err = t.u.s.ReadLent(l)
		} else {
			n, err = t.u.s.Read(p)
		}
		if !socket.IsTimeout(err) {
			t.fresh = false
			return n, err
		}
		if err := t.lapsed(); err != nil {
			return 0, err
		}
	}
}

// arm sets the deadline for the next read from the upstream. The first one is
// short, for the client is watched only once the upstream is slow.
func (t *trip) arm(limit time.Duration, since int64) error {
	rest := limit - time.Duration(monotonic.Now()-max(since, t.progress.Load()))
	if rest <= 0 {
		if !t.clientOwes() {
			return errTimeout
		}
		rest = limit
	}
	switch {
	case !t.attended:
		rest = min(rest, watchAfter)
	case !t.sent.Load():
		rest = min(rest, glance)
	case t.mayMove():
		rest = min(rest, t.c.srv.limits.Load().Quiet())
	}
	t.u.s.ReadBy(rest)
	return t.failed() // after the deadline is set, for failing moves it
}

// clientOwes reports whether it is the client that keeps the upstream waiting:
// then the limit is the attendant's. A client that was told to wait for 100
// (Continue) owes nothing before that.
func (t *trip) clientOwes() bool {
	return t.owing.Load() && (t.invited || !t.c.ws.req.Expect100 || t.progress.Load() != 0)
}

// lapsed is called when a deadline of arm has passed.
func (t *trip) lapsed() error {
	t.u.s.Woken()
	if err := t.failed(); err != nil {
		return err
	}
	if !t.sent.Load() && t.attended && t.c.s.Gone() {
		return ErrClientGone
	}
	if !t.attended {
		t.attend()
	}
	if !t.expects && t.rest == nothing {
		t.expects = true
		t.u.s.Pulse.Expect(1)
	}
	if t.mayMove() {
		return errNap
	}
	return nil
}

// leave ends the use of the upstream connection, which may serve again if
// whole says that the exchange ended as it should.
func (t *trip) leave(whole bool) {
	t.end()
	t.peer.Store(nil)
	u := t.u
	t.u = nil
	if whole && !t.spoiled && t.failed() == nil {
		u.alone = u.alone || t.c.bindsLogin()
		u.pool.put(u, t.c)
	} else {
		u.Discard()
	}
}

// fails closes the upstream and tells what went wrong.
func (t *trip) fails(err error) *Failure {
	f := &Failure{Err: err, Mute: !t.answered && t.up == t.seen}
	f.Clean = f.Mute && !t.streams
	cut := t.failed()
	vanished := err == socket.ErrVanished || t.u.s.Pulse.Dead()
	t.leave(false)
	if w, ok := err.(*socket.WriteError); ok {
		err = w.Err
	}
	switch {
	case err == socket.ErrStale:
		f.Kind, f.Clean = Stale, true
	case err == ErrUnprocessed:
		f.Kind, f.Clean = Unprocessed, true
	case err == errTimeout:
		f.Kind = TimedOut
	case err == ErrClientGone:
		f.Kind = ClientLeft
	case t.c.ws.body.err != nil && err == t.c.ws.body.err:
		f.Kind = BadBody
	case cut != nil && err == cut:
		f.Kind = WasCut
	case vanished:
		f.Kind, f.Err = Vanished, socket.ErrVanished
	default:
		f.Kind = Broken
		if err == io.EOF {
			f.Err = errCut
		}
	}
	return f
}

// Cut ends the connection and the exchange under way on it from outside, with
// cause as the exchange's error. Any goroutine may call it while the handler
// runs. A handler that does something else than waiting for the client or an
// upstream is not stopped by it.
func (c *Conn) Cut(cause error) {
	if cause == nil {
		cause = ErrCut
	}
	c.trip.failure.CompareAndSwap(nil, &cause)
	c.cut.Store(true)
	c.s.Halt()
	if c.s.Stream != nil {
		c.s.Stream.Abort()
	}
	if u := c.trip.peer.Load(); u != nil {
		u.s.Wake()
	}
}
