package http1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
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
	stopped  atomic.Bool  // the attendant shall end
	progress atomic.Int64 // monotonic time of the last body byte sent
	sent     atomic.Bool  // the whole body was sent
	sentCh   chan struct{}
	failure  atomic.Pointer[error]

	up, seen int   // bytes of the answer in ws.up, and how many of them were used
	answered bool  // any byte of an answer came
	out      int64 // body bytes of the answer
}

var (
	errStopped = errors.New("http1: exchange is over")
	errCut     = errors.New("http1: upstream cut its answer short")
	errTimeout = errors.New("http1: upstream took too long")
	// ErrCut is what Cut without a cause ends an exchange with.
	ErrCut = errors.New("http1: exchange was cut")
)

// watchAfter is how long an upstream may think before the client is watched
// for leaving: below it, watching would cost more than it saves.
const watchAfter = 50 * time.Millisecond

// settleTime is how long an answer waits for the request's body to be gone.
const settleTime = 2 * time.Millisecond

// Kind says where an exchange failed.
type Kind uint8

const (
	Upstream5xx Kind = iota // unused zero: a Failure always has a kind
	Stale                   // the kept-alive connection was dead; nothing was sent
	Broken                  // connected, but the answer did not come or was not HTTP
	TimedOut                // no answer in time
	ClientLeft              // the client is gone
	BadBody                 // the request's body is malformed, too large or stopped
	WasCut                  // Conn.Cut
)

// Failure is an exchange that brought no answer that could be relayed.
type Failure struct {
	Kind Kind
	// Clean reports that no byte of an answer came and that the request can be
	// sent again: its body, if any, came with the head.
	Clean bool
	Err   error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// RoundTrip sends the request to u and reads the head of the final answer
// into [Conn.Response]. head is the request head as it goes upstream. Interim
// answers are handed to interim, which may write them to the client; nil
// drops them. timeout bounds the wait for the answer, from the moment the
// request (its last body byte) was sent. On a *Failure u is closed.
func (c *Conn) RoundTrip(u *Upstream, head []byte, timeout time.Duration, interim func(*ResponseHead)) *Failure {
	t := &c.trip
	t.begin(c, u)
	if err := t.send(head, timeout); err != nil {
		return t.fails(err)
	}
	if err := t.await(timeout, interim); err != nil {
		return t.fails(err)
	}
	return nil
}

func (t *trip) begin(c *Conn, u *Upstream) {
	t.c, t.u = c, u
	t.peer.Store(u)
	t.attended, t.answered, t.spoiled = false, false, false
	t.streams = !c.body.done
	t.progress.Store(0)
	t.sent.Store(!t.streams)
	t.up, t.seen, t.out = 0, 0, 0
}

// send writes the head and what is there of the body, and has the attendant
// see to the rest.
func (t *trip) send(head []byte, timeout time.Duration) error {
	c, u := t.c, t.u
	out := append(head, c.ws.first...)
	c.ws.out = out
	stall := c.srv.limits.Load().Stream
	if !t.streams {
		u.s.readBy(min(watchAfter, timeout))
		n, err := u.s.exchange(out, c.ws.up, stall)
		t.up = n
		if isTimeout(err) {
			return nil // slow: await goes on
		}
		return err
	}
	if u.reused && u.s.stale() {
		return errStale
	}
	if _, err := u.s.write(out, stall); err != nil {
		return err
	}
	t.attend()
	return nil
}

// await reads heads until the final one.
func (t *trip) await(timeout time.Duration, interim func(*ResponseHead)) error {
	ws := t.c.ws
	method := ws.req.Method
	scanned, began := 0, monotonic()
	for {
		n, next, err := HeadEnd(ws.up[t.seen:t.up], scanned)
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
			if interim != nil {
				interim(&ws.resp)
			}
			continue
		}
		scanned = next
		if err := t.moreHead(); err != nil {
			return err
		}
		n, err = t.read(ws.up[t.up:], timeout, began)
		if err != nil {
			return err
		}
		t.up += n
	}
}

// maxResponseHead bounds the answer's head.
const maxResponseHead = 64 << 10

// moreHead makes room for more of a head that is not complete.
func (t *trip) moreHead() error {
	ws := t.c.ws
	if t.up > 0 {
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
		return ErrHeadTooLarge
	}
	ws.up = append(ws.up, make([]byte, len(ws.up))...)
	return nil
}

// read reads from the upstream, which may stay silent for limit since the time
// since, or since the last byte of the request's body.
func (t *trip) read(p []byte, limit time.Duration, since int64) (int, error) {
	for {
		if err := t.arm(limit, since); err != nil {
			return 0, err
		}
		n, err := t.u.s.read(p)
		if !isTimeout(err) {
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
	rest := limit - time.Duration(monotonic()-max(since, t.progress.Load()))
	if rest <= 0 {
		return errTimeout
	}
	if !t.attended {
		rest = min(rest, watchAfter)
	}
	t.u.s.readBy(rest)
	return t.failed() // after the deadline is set, for failing moves it
}

// lapsed is called when a deadline of arm has passed.
func (t *trip) lapsed() error {
	t.u.s.woken()
	if err := t.failed(); err != nil {
		return err
	}
	if !t.attended {
		t.attend()
	}
	return nil
}

// failed is what the attendant or Cut ended the exchange with, nil if nothing.
func (t *trip) failed() error {
	if p := t.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// attend starts the attendant. It ends with end.
func (t *trip) attend() {
	t.attended = true
	t.c.srv.handler.Lasting(t.c)
	var sent chan struct{}
	if !t.sent.Load() {
		sent = make(chan struct{})
		t.sentCh = sent
	}
	t.wg.Go(func() {
		if sent != nil {
			if err := t.sendBody(); err != nil {
				t.fail(err)
				return
			}
			t.sent.Store(true)
			close(sent)
		}
		t.c.s.readBy(0)
		if !t.stopped.Load() && t.c.s.waitGone() && !t.stopped.Load() {
			t.fail(ErrClientGone)
		}
	})
}

// settled waits for a moment until the body is sent, and reports whether it
// is: an upstream answers as soon as it has the last byte, before the
// attendant can say that it sent it.
func (t *trip) settled(patience time.Duration) bool {
	if t.sent.Load() {
		return true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.sentCh:
		return true
	case <-timer.C:
		return t.sent.Load()
	}
}

// fail ends the exchange with err, unless it has ended. A write error to the
// upstream does not: the upstream may have answered before it read everything.
func (t *trip) fail(err error) {
	if _, ok := err.(*writeError); ok || err == errStopped {
		return
	}
	if t.failure.CompareAndSwap(nil, &err) {
		t.u.s.wake()
	}
}

// sendBody sends the rest of the request's body.
func (t *trip) sendBody() error {
	c, stall := t.c, t.c.srv.limits.Load().Stream
	b := &c.body
	if b.framing == Length && b.left > spliceMin && c.s.rc != nil && t.u.s.rc != nil && c.r == c.w && (b.max == 0 || b.read+b.left <= b.max) {
		return t.spliceUp(stall)
	}
	buf := bulks.Get().(*[bulkSize]byte)
	defer bulks.Put(buf)
	for !b.done {
		n, err := c.ReadBody(buf[chunkRoom : bulkSize-chunkTail])
		if err != nil && err != io.EOF {
			return err
		}
		t.progress.Store(monotonic())
		if _, err := t.u.s.write(c.frame(buf, n), stall); err != nil {
			return &writeError{err}
		}
	}
	return nil
}

// frame puts n body bytes, read into their place in buf, into the framing in
// which the request goes upstream.
func (c *Conn) frame(buf *[bulkSize]byte, n int) []byte {
	if c.body.framing == Length {
		return buf[chunkRoom : chunkRoom+n]
	}
	p := frameChunk(buf, n)
	if c.body.done {
		p = AppendLastChunk(p, c.filterTrailers(c.ws.dec.Trailers(), true))
	}
	return p
}

// Room around the data of a chunk for its head and end.
const (
	chunkRoom = 16
	chunkTail = 16
)

// frameChunk makes a chunk of the n bytes at buf[chunkRoom:], in place.
func frameChunk(buf *[bulkSize]byte, n int) []byte {
	if n == 0 {
		return buf[:0]
	}
	var tmp [chunkRoom]byte
	head := AppendChunkHead(tmp[:0], n)
	at := chunkRoom - len(head)
	copy(buf[at:], head)
	end := chunkRoom + n
	end += copy(buf[end:], "\r\n")
	return buf[at:end]
}

func (t *trip) spliceUp(stall time.Duration) error {
	c, b := t.c, &t.c.body
	err := spliceBody(&t.u.s, &c.s, b.left, stall, flow{
		arm: func() error {
			c.s.readBy(stall)
			if t.stopped.Load() {
				return errStopped
			}
			return nil
		},
		lapsed: func() error { return errBodyTimeout },
		moved: func(n int) {
			b.left -= int64(n)
			b.read += int64(n)
			t.progress.Store(monotonic())
		},
	})
	b.done = b.left == 0
	switch _, up := err.(*writeError); {
	case err == nil || up || t.stopped.Load():
		return err
	case err == errBodyTimeout:
		b.err = err
	default:
		b.err = ErrClientGone
	}
	return b.err
}

// end stops the attendant and waits for it. A body that was not sent to its
// end leaves neither connection usable.
func (t *trip) end() {
	if t.attended {
		t.attended = false
		t.stopped.Store(true)
		if !t.sent.Load() {
			t.spoiled = true
			t.u.s.nc.SetWriteDeadline(past)
		}
		t.c.s.wake()
		t.wg.Wait()
		t.c.s.woken()
		t.stopped.Store(false)
	}
	if !t.sent.Load() || t.c.body.err != nil {
		t.spoiled = true
		t.c.closing = true
	}
}

// leave ends the use of the upstream connection, which may serve again if
// whole says that the exchange ended as it should.
func (t *trip) leave(whole bool) {
	t.end()
	t.peer.Store(nil)
	u := t.u
	t.u = nil
	if whole && !t.spoiled && t.failed() == nil {
		u.pool.put(u)
	} else {
		u.Discard()
	}
}

// fails closes the upstream and tells what went wrong.
func (t *trip) fails(err error) *Failure {
	f := &Failure{Err: err, Clean: !t.streams && !t.answered && t.up == 0}
	cut := t.failed()
	t.leave(false)
	if w, ok := err.(*writeError); ok {
		err = w.err
	}
	switch {
	case err == errStale:
		f.Kind, f.Clean = Stale, true
	case err == errTimeout:
		f.Kind = TimedOut
	case err == ErrClientGone:
		f.Kind = ClientLeft
	case t.c.body.err != nil && err == t.c.body.err:
		f.Kind = BadBody
	case cut != nil && err == cut:
		f.Kind = WasCut
	default:
		f.Kind = Broken
		if err == io.EOF {
			f.Err = errCut
		}
	}
	return f
}

// Cut ends the exchange under way from outside, with cause as its error. Any
// goroutine may call it while the handler runs; as what waits may just have
// been about to wait, call it again until the handler returns.
func (c *Conn) Cut(cause error) {
	if cause == nil {
		cause = ErrCut
	}
	c.trip.failure.CompareAndSwap(nil, &cause)
	c.abort()
}

// abort makes all that waits on the client's connection fail, and what waits
// for its upstream look for the reason.
func (c *Conn) abort() {
	c.s.nc.SetDeadline(past)
	if u := c.trip.peer.Load(); u != nil {
		u.s.wake()
	}
}
