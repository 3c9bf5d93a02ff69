package http1

import (
	"io"
	"time"

	"lictor/internal/crash"
	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// attend starts the attendant. It ends with end.
func (t *trip) attend() {
	t.attended = true
	t.u.s.Pulse.Wrote() // the request, of late
	t.c.srv.handler.Lasting(t.c)
	var sent chan struct{}
	if !t.sent.Load() {
		sent = make(chan struct{})
		t.sentCh = sent
	}
	t.wg.Go(func() {
		defer crash.Contain("upload", func() { t.fail(errCrashed) })
		if sent != nil {
			err := t.sendBody()
			if err == nil {
				t.sent.Store(true)
			}
			close(sent)
			if err != nil {
				t.fail(err)
				return
			}
		}
		t.c.s.ReadBy(0)
		t.watchClient()
	})
}

// watch has the attendant do nothing but watch the client, for which it needs no
// goroutine.
func (t *trip) watch() {
	t.attended = true
	t.c.s.ReadBy(0)
	if !t.c.s.ParkForEnd(&t.wg, t.watchClient) {
		t.wg.Go(t.watchClient)
	}
}

// watchClient ends the exchange when the client leaves.
func (t *trip) watchClient() {
	defer crash.Contain("upload", func() { t.fail(errCrashed) })
	if !t.stopped.Load() && t.c.s.WaitGone() && !t.stopped.Load() {
		t.fail(ErrClientGone)
	}
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
		return t.sent.Load()
	case <-timer.C:
		return t.sent.Load()
	}
}

// wholeBody waits until the body is sent, and reports whether it is. What it
// waits for is bounded by the limits of a body.
func (t *trip) wholeBody() bool {
	if !t.attended || !t.streams {
		return true // it went with the head, or there is none
	}
	<-t.sentCh
	return t.sent.Load()
}

// fail ends the exchange with err, unless it has ended. A write error to the
// upstream does not: the upstream may have answered before it read everything.
func (t *trip) fail(err error) {
	if _, ok := err.(*socket.WriteError); ok || err == errStopped {
		return
	}
	if t.failure.CompareAndSwap(nil, &err) {
		t.u.s.Wake()
	}
}

// failed is what the attendant or Cut ended the exchange with, nil if nothing.
func (t *trip) failed() error {
	if p := t.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// sendBody sends the rest of the request's body.
func (t *trip) sendBody() error {
	c, stall := t.c, t.c.srv.limits.Load().Stream
	b := &c.ws.body
	if b.framing == message.Length && b.left > spliceMin && c.s.Plain() && t.u.s.Plain() && c.r == c.w && (b.max == 0 || b.read+b.left <= b.max) {
		if err := t.spliceUp(stall); err != socket.ErrNoPipe {
			return err
		}
	}
	buf := bulks.Get().(*[bulkSize]byte)
	defer bulks.Put(buf)
	for !b.done {
		t.owing.Store(true)
		n, err := c.ReadBody(buf[chunkRoom : bulkSize-chunkTail])
		t.owing.Store(false)
		if err != nil && err != io.EOF {
			return err
		}
		t.progress.Store(monotonic.Now())
		if _, err := t.u.s.Write(c.frame(buf, n), stall); err != nil {
			return &socket.WriteError{Err: err}
		}
	}
	return nil
}

// frame puts n body bytes, read into their place in buf, into the framing in
// which the request goes upstream.
func (c *Conn) frame(buf *[bulkSize]byte, n int) []byte {
	if c.ws.body.framing == message.Length {
		return buf[chunkRoom : chunkRoom+n]
	}
	p := frameChunk(buf, n)
	if c.ws.body.done {
		p = message.AppendLastChunk(p, c.filterTrailers(c.ws.dec.Trailers(), true))
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
	head := message.AppendChunkHead(tmp[:0], n)
	at := chunkRoom - len(head)
	copy(buf[at:], head)
	end := chunkRoom + n
	end += copy(buf[end:], "\r\n")
	return buf[at:end]
}

func (t *trip) spliceUp(stall time.Duration) error {
	c, b := t.c, &t.c.ws.body
	err := socket.Splice(&t.u.s, &c.s, b.left, stall, socket.Flow{
		Arm: func() error {
			t.owing.Store(true)
			c.s.ReadBy(stall)
			if t.stopped.Load() {
				return errStopped
			}
			return nil
		},
		Lapsed: func() error {
			if c.s.Expired() {
				return errBodyTimeout
			}
			c.s.Woken()
			return nil
		},
		Taken: func() { t.owing.Store(false) },
		Moved: func(n int) {
			b.left -= int64(n)
			b.read += int64(n)
			t.progress.Store(monotonic.Now())
			t.u.s.Pulse.Wrote()
		},
	})
	t.owing.Store(false)
	b.done = b.left == 0
	switch _, up := err.(*socket.WriteError); {
	case err == nil || up || err == socket.ErrNoPipe || t.stopped.Load():
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
	if !t.attended {
		return
	}
	t.attended = false
	t.stopped.Store(true)
	if !t.sent.Load() {
		t.spoiled = true
		t.u.s.Halt()
	}
	t.c.s.Wake()
	t.wg.Wait()
	t.c.s.Woken()
	t.stopped.Store(false)
	if t.spoiled || t.c.ws.body.err != nil {
		t.spoiled = true
		t.c.closing = true
	}
}
