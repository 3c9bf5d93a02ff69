package http1

import (
	"cmp"
	"io"
	"slices"
)

// AppendConnection appends to dst, the head of an answer to the client, the
// fields that say how its body is framed and whether the connection goes on.
// The upstream's own Content-Length is the caller's to copy; nothing else that
// speaks of framing or the connection may be.
func (c *Conn) AppendConnection(dst []byte) []byte {
	req := &c.ws.req
	switch c.ws.resp.Framing(req.Method) {
	case Chunked, UntilClose:
		if req.Minor == 0 {
			c.closing = true
		} else {
			dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
		}
	}
	if !c.trip.settled(settleTime) {
		c.closing = true // answered before it had the whole body: the rest may never be read
	}
	return c.AppendPersistence(dst)
}

// AppendPersistence appends the Connection field of an answer of our own,
// where one is needed.
func (c *Conn) AppendPersistence(dst []byte) []byte {
	switch {
	case c.Closing():
		c.closing = true // as it says so
		return append(dst, "Connection: close\r\n"...)
	case c.ws.req.Minor == 0:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

// Relay writes head, the head of the answer as the client gets it, and the
// answer's body behind it. The upstream connection is given back. An answer
// that is cut short ends the client's connection, visibly short of its end.
func (c *Conn) Relay(head []byte) error {
	t := &c.trip
	var err error
	switch c.ws.resp.Framing(c.ws.req.Method) {
	case NoBody:
		err = c.write(head)
	case Length:
		err = t.relayLength(head)
	case Chunked:
		err = t.relayStream(head, true)
	case UntilClose:
		err = t.relayStream(head, false)
	}
	c.ws.out = head[:0]
	if cause := t.failed(); cause != nil && err != nil {
		err = cause
	}
	if err != nil {
		c.closing = true
		c.reset = c.ws.req.Minor == 0 && c.ws.resp.Framing(c.ws.req.Method) != Length
	}
	resp := &c.ws.resp
	whole := err == nil && !resp.Close && resp.Minor == 1 && t.seen == t.up && resp.Framing(c.ws.req.Method) != UntilClose
	t.leave(whole)
	return err
}

// AnswerBytes is how many body bytes of the answer went to the client.
func (c *Conn) AnswerBytes() int64 { return c.trip.out }

// relayLength relays a body of known length: what came with the head leaves
// with the head, the rest follows, inside the kernel if it is large.
func (t *trip) relayLength(head []byte) error {
	c, ws := t.c, t.c.ws
	left := ws.resp.ContentLength
	n := int(min(left, int64(t.up-t.seen)))
	if int64(n) < left { // before the first write, which may take long as well
		c.srv.handler.Lasting(c)
	}
	if err := c.write(append(head, ws.up[t.seen:t.seen+n]...)); err != nil {
		return err
	}
	t.seen += n
	t.out += int64(n)
	left -= int64(n)
	if left == 0 {
		return nil
	}
	if left > spliceMin && c.s.rc != nil && t.u.s.rc != nil {
		if err := t.spliceDown(left); err != errNoPipe {
			return err
		}
	}
	return t.copyDown(left)
}

// copyDown relays left bytes through a buffer.
func (t *trip) copyDown(left int64) error {
	var l loan
	defer l.giveBack()
	for left > 0 {
		l.to = int(min(left, bulkSize))
		n, err := t.readBody(&l)
		if err != nil {
			return cutShort(err)
		}
		if err := t.c.write(l.buf[:n]); err != nil {
			return err
		}
		l.giveBack()
		t.out += int64(n)
		left -= int64(n)
	}
	return nil
}

func cutShort(err error) error {
	if err == io.EOF {
		return errCut
	}
	return err
}

// readBody reads body bytes of the answer.
func (t *trip) readBody(l *loan) (int, error) {
	return t.read(nil, l, t.c.srv.limits.Load().Stream, monotonic())
}

func (t *trip) spliceDown(left int64) error {
	limit := t.c.srv.limits.Load().Stream
	since := monotonic()
	return spliceBody(&t.c.s, &t.u.s, left, limit, flow{
		arm:    func() error { return t.arm(limit, since) },
		lapsed: t.lapsed,
		moved: func(n int) {
			since = monotonic()
			t.out += int64(n)
		},
	})
}

// relayStream relays a body whose length is not known: chunked, or until the
// upstream closes. Whatever comes leaves at once. A client of HTTP/1.1 gets
// chunks, an older one the bare bytes until the connection ends.
func (t *trip) relayStream(head []byte, chunked bool) error {
	c, ws := t.c, t.c.ws
	s := stream{trip: t, dec: &ws.updec, chunked: chunked, frames: ws.req.Minor > 0}
	s.dec.lenient = true
	s.dec.Reset()
	l := loan{from: chunkRoom, to: chunkRoom + streamMax}
	defer l.giveBack()
	l.lend()
	var bad error
	for bad == nil && !s.done && t.seen < t.up {
		var p []byte
		var used int
		p, used, bad = s.step(l.buf, ws.up[t.seen:min(t.up, t.seen+streamMax)])
		t.seen += used
		head = append(head, p...)
	}
	if !s.done && bad == nil {
		c.srv.handler.Lasting(c)
	}
	if err := c.write(head); err != nil || s.done || bad != nil {
		return cmp.Or(bad, err)
	}
	l.giveBack()
	return s.rest(&l)
}

// rest relays what comes after the first bytes.
func (s *stream) rest(l *loan) error {
	for !s.done {
		n, err := s.readBody(l)
		var p []byte
		switch {
		case err == io.EOF && !s.chunked:
			p, err = s.end(l.lend()[:0]), nil
		case err != nil:
			return cutShort(err)
		default:
			var used int
			p, used, err = s.step(l.buf, l.buf[l.from:l.from+n])
			s.up += n - used // bytes behind the end: the connection is out of step
		}
		if len(p) > 0 {
			err = cmp.Or(err, s.c.write(p))
		}
		if err != nil {
			return err
		}
		l.giveBack()
	}
	return nil
}

// streamMax is the most of a stream that is read at once.
const streamMax = bulkSize - chunkRoom - trailerRoom

// trailerRoom is kept behind a chunk for the end of the body.
const trailerRoom = 12 << 10

// stream turns the upstream's framing into the client's.
type stream struct {
	*trip
	dec     *ChunkDecoder
	chunked bool // the upstream sends chunks
	frames  bool // the client gets chunks
	done    bool
}

// step decodes src, which may lie at buf[chunkRoom:], and returns what to
// write, inside buf, and how much of src it used. With an error it returns what
// came before the mistake.
func (s *stream) step(buf *[bulkSize]byte, src []byte) (p []byte, used int, err error) {
	n := len(src)
	used = n
	if s.chunked {
		n, used, err = s.dec.Decode(buf[chunkRoom:chunkRoom+len(src)], src)
	} else {
		copy(buf[chunkRoom:], src)
	}
	s.out += int64(n)
	p = buf[chunkRoom : chunkRoom+n]
	if s.frames {
		p = frameChunk(buf, n)
	}
	if err == nil && s.chunked && s.dec.Done() {
		p = s.end(p)
	}
	return p, used, err
}

// end appends the end of the body to p.
func (s *stream) end(p []byte) []byte {
	s.done = true
	if !s.frames {
		return p
	}
	var trailers []Field
	if s.chunked {
		trailers = s.c.filterTrailers(s.dec.Trailers(), false)
	}
	return AppendLastChunk(p, trailers)
}

// filterTrailers drops the trailers that the handler does not let pass.
func (c *Conn) filterTrailers(trailers []Field, upstream bool) []Field {
	return slices.DeleteFunc(trailers, func(f Field) bool {
		return !c.srv.handler.KeepTrailer(c, &f, upstream)
	})
}
