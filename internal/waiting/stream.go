package waiting

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// stream is a request on its way. Its connection's mu guards it.
type stream struct {
	conn  *Conn
	id    uint32
	infos uint8                       // heads that said that there is no answer yet
	began func(*http.Response, error) // nil = it was called
	stop  func() bool                 // no more looks after its context
	body  *body                       // nil until its head is there
}

// body is what came of an answer.
type body struct {
	s    *stream
	more sync.Cond
	buf  []byte // not read yet
	left int64  // bytes to come by content-length; -1 = not known
	room int    // bytes that the peer may send
	owed int    // bytes that were read, and are not told of yet
	err  error  // behind buf
}

// leaveLocked takes out all streams above a number. c.mu is held.
func (c *Conn) leaveLocked(above uint32) (left []*stream) {
	for id, s := range c.streams {
		if id > above {
			delete(c.streams, id)
			left = append(left, s)
		}
	}
	return left
}

// drop takes a stream out, and reports whether it was there.
func (c *Conn) drop(s *stream) bool {
	c.mu.Lock()
	_, is := c.streams[s.id]
	delete(c.streams, s.id)
	c.used = time.Now()
	c.mu.Unlock()
	c.tidy()
	return is
}

// cancel ends a request that is of no use any more.
func (c *Conn) cancel(s *stream, why error) { c.refuse(s, http2.ErrCodeCancel, why) }

// refuse ends a request, and tells the peer.
func (c *Conn) refuse(s *stream, code http2.ErrCode, why error) {
	if !c.drop(s) {
		return
	}
	s.fail(why)
	_ = c.write(func() error { return c.to.WriteRSTStream(s.id, code) }) // else the connection ends
}

// fail ends a stream that was taken out.
func (s *stream) fail(why error) {
	began := s.ends(why)
	if began != nil {
		began(nil, why)
	}
}

// ends notes why there is no more, and returns who is to be told.
func (s *stream) ends(why error) (began func(*http.Response, error)) {
	s.stop()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	began, s.began = s.began, nil
	if s.body != nil && s.body.err == nil {
		s.body.err = why
		s.body.more.Broadcast()
	}
	return began
}

// beginLocked makes the answer of which the head is there. conn.mu is held.
func (s *stream) beginLocked(resp *http.Response) (began func(*http.Response, error)) {
	b := &body{s: s, left: resp.ContentLength, room: Window}
	b.more.L = &s.conn.mu
	s.body, resp.Body = b, b
	began, s.began = s.began, nil
	return began
}

// takeLocked takes over what came, of a frame that counts so much. conn.mu is held.
func (b *body) takeLocked(data []byte, counts int) error {
	if b.err != nil {
		return nil // nobody reads it
	}
	if counts > b.room {
		return http2.StreamError{StreamID: b.s.id, Code: http2.ErrCodeFlowControl}
	}
	if b.left >= 0 {
		if b.left -= int64(len(data)); b.left < 0 {
			return fmt.Errorf("more came than the answer has: %w", http2.StreamError{StreamID: b.s.id, Code: http2.ErrCodeProtocol})
		}
	}
	b.room -= counts
	b.owed += counts - len(data) // padding, which nobody reads
	b.buf = append(b.buf, data...)
	b.more.Broadcast()
	return nil
}

// endLocked ends what came. conn.mu is held.
func (b *body) endLocked() {
	if b.err = io.EOF; b.left > 0 {
		b.err = io.ErrUnexpectedEOF
	}
	b.more.Broadcast()
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, credit, err := b.read(p)
	if credit > 0 {
		c := b.s.conn
		_ = c.write(func() error { return c.to.WriteWindowUpdate(b.s.id, uint32(credit)) }) // else the connection ends
	}
	return n, err
}

func (b *body) read(p []byte) (n, credit int, err error) {
	b.more.L.Lock()
	defer b.more.L.Unlock()
	for len(b.buf) == 0 && b.err == nil {
		b.more.Wait()
	}
	if len(b.buf) == 0 {
		return 0, 0, b.err
	}
	n = copy(p, b.buf)
	if b.buf = b.buf[n:]; len(b.buf) == 0 {
		b.buf = nil
	}
	if b.owed += n; b.err == nil && b.owed >= Window/2 {
		credit, b.owed = b.owed, 0
		b.room += credit
	}
	return n, credit, nil
}

// Close implements [io.Closer]: what was not read is not wanted.
func (b *body) Close() error {
	b.s.conn.cancel(b.s, context.Canceled)
	b.more.L.Lock()
	defer b.more.L.Unlock()
	if b.buf = nil; b.err == nil {
		b.err = context.Canceled
	}
	return nil
}
