package http1

import (
	"cmp"
	"io"
	"slices"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Relay writes head, the head of the answer as the client gets it, and what is
// there of the answer's body behind it. The rest is relayed once the handler's
// Serve has returned, before its Done is called: nothing of the handler lies on
// the stack while an answer takes its time. [Conn.Ended] tells what became of
// it. Then the upstream connection was given back. An answer that is cut short
// ends the client's connection, visibly short of its end.
func (c *Conn) Relay(head []byte) {
	t := &c.trip
	var err error
	switch c.ws.resp.Framing(c.ws.req.Method) {
	case message.NoBody:
		err = c.write(head)
	case message.Length:
		err = t.relayLength(head)
	case message.Chunked:
		err = t.relayStream(head, true)
	case message.UntilClose:
		err = t.relayStream(head, false)
	}
	c.ws.out = head[:0]
	t.since = monotonic.Now()
	if err != nil || t.rest == nothing {
		t.relayed(err)
	}
}

// relayed ends an exchange whose answer was relayed, or failed to be.
func (t *trip) relayed(err error) {
	c := t.c
	t.rest = nothing
	if cause := t.failed(); cause != nil && err != nil {
		err = cause
	}
	resp := &c.ws.resp
	if err != nil {
		c.closing = true
		c.reset = c.ws.req.Minor == 0 && resp.Framing(c.ws.req.Method) != message.Length
	}
	t.err = err
	whole := err == nil && !resp.Close && resp.Minor == 1 && t.seen == t.up && resp.Framing(c.ws.req.Method) != message.UntilClose
	t.leave(whole)
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
	if err := c.write(t.join(head, n)); err != nil {
		return err
	}
	t.seen += n
	t.out += int64(n)
	left -= int64(n)
	if t.left = left; left > 0 {
		t.rest = ofLength
	}
	return nil
}

// join returns head and n bytes of the answer's body behind it. It spares a copy of
// those: head comes before them where they were read, in place of the one that they
// came with, unless it has no room there or is the longer one.
func (t *trip) join(head []byte, n int) []byte {
	up, resp := t.c.ws.up, &t.c.ws.resp
	at := t.seen - len(head)
	if at < 0 || n <= len(head) {
		return append(head, up[t.seen:t.seen+n]...)
	}
	t.u.alone = t.u.alone || t.c.bindsLogin() // the answer's fields will not say so any more
	resp.Fields, resp.ConnectionNames, resp.Upgrade = resp.Fields[:0], resp.ConnectionNames[:0], ""
	copy(up[at:], head)
	return up[at : t.seen+n]
}

// spliceMin is the size from which a body of known length goes from socket to
// socket inside the kernel. Below it the two extra calls per piece cost more
// than the copies they save.
const spliceMin = 64 << 10

// relayLeft relays the bytes that are left of a body of known length.
func (t *trip) relayLeft() error {
	if t.left > spliceMin && t.c.s.Plain() && t.u.s.Plain() {
		if err := t.spliceDown(); err != socket.ErrNoPipe {
			return err
		}
	}
	return t.copyDown()
}

// copyDown relays what is left through a buffer.
func (t *trip) copyDown() error {
	var l loan
	defer l.GiveBack()
	for t.left > 0 {
		l.to = int(min(t.left, bulkSize))
		n, err := t.readBody(&l)
		if err != nil {
			return cutShort(err)
		}
		if err := t.c.write(l.buf[:n]); err != nil {
			return err
		}
		l.GiveBack()
		t.since = monotonic.Now() // the time that the client took is not the upstream's
		t.out += int64(n)
		t.left -= int64(n)
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
	return t.read(nil, l, t.c.srv.limits.Load().Stream, t.since)
}

func (t *trip) spliceDown() error {
	limit := t.c.srv.limits.Load().Stream
	return cutShort(socket.Splice(&t.c.s, &t.u.s, t.left, limit, socket.Flow{
		Arm:    func() error { return t.arm(limit, t.since) },
		Lapsed: t.lapsed,
		Moved: func(n int) {
			t.since = monotonic.Now()
			t.fresh = false
			t.out += int64(n)
			t.left -= int64(n)
		},
	}))
}

// relayStream relays a body whose length is not known: chunked, or until the
// upstream closes. Whatever comes leaves at once. A client of HTTP/1.1 gets
// chunks, an older one the bare bytes until the connection ends.
func (t *trip) relayStream(head []byte, chunked bool) error {
	c, ws := t.c, t.c.ws
	s := &t.stream
	*s = stream{chunked: chunked, frames: ws.req.Minor > 0}
	ws.updec.Lenient = true
	ws.updec.Reset()
	l := loan{from: chunkRoom, to: chunkRoom + streamMax}
	defer l.GiveBack()
	l.Lend()
	var bad error
	for bad == nil && !s.done && t.seen < t.up {
		var p []byte
		var used int
		p, used, bad = t.step(l.buf, ws.up[t.seen:min(t.up, t.seen+streamMax)])
		t.seen += used
		head = append(head, p...)
	}
	if !s.done && bad == nil {
		c.srv.handler.Lasting(c)
	}
	if err := c.write(head); err != nil || s.done || bad != nil {
		return cmp.Or(bad, err)
	}
	t.rest = ofStream
	return nil
}

// relayMore relays what comes after the first bytes.
func (t *trip) relayMore() error {
	l := &t.c.ws.loan
	*l = loan{from: chunkRoom, to: chunkRoom + streamMax}
	for !t.stream.done {
		n, err := t.readBody(l)
		if err == errNap {
			return err
		}
		if err := t.pass(l, n, err); err != nil {
			return err
		}
		t.since = monotonic.Now() // as in copyDown
	}
	return nil
}

// pass passes on the n bytes that came into l, or what their lack means. It is a
// function of its own for its frame, which shall not lie on the stack while nothing
// comes.
//
//go:noinline
func (t *trip) pass(l *loan, n int, err error) error {
	defer l.GiveBack()
	var p []byte
	switch {
	case err == io.EOF && !t.stream.chunked:
		p, err = t.endOf(l.Lend()[:0]), nil
	case err != nil:
		return cutShort(err)
	default:
		var used int
		p, used, err = t.step(l.buf, l.buf[l.from:l.from+n])
		t.up += n - used // bytes behind the end: the connection is out of step
	}
	if len(p) > 0 {
		err = cmp.Or(err, t.c.write(p))
	}
	return err
}

// streamMax is the most of a stream that is read at once.
const streamMax = bulkSize - chunkRoom - trailerRoom

// trailerRoom is kept behind a chunk for the end of the body.
const trailerRoom = 12 << 10

// stream turns the upstream's framing into the client's.
type stream struct {
	chunked bool // the upstream sends chunks
	frames  bool // the client gets chunks
	done    bool
}

// step decodes src, which may lie at buf[chunkRoom:], and returns what to
// write, inside buf, and how much of src it used. With an error it returns what
// came before the mistake.
func (t *trip) step(buf *[bulkSize]byte, src []byte) (p []byte, used int, err error) {
	n, s, dec := len(src), &t.stream, &t.c.ws.updec
	used = n
	if s.chunked {
		n, used, err = dec.Decode(buf[chunkRoom:chunkRoom+len(src)], src)
	} else {
		copy(buf[chunkRoom:], src)
	}
	t.out += int64(n)
	p = buf[chunkRoom : chunkRoom+n]
	if s.frames {
		p = frameChunk(buf, n)
	}
	if err == nil && s.chunked && dec.Done() {
		p = t.endOf(p)
	}
	return p, used, err
}

// endOf appends the end of the body to p.
func (t *trip) endOf(p []byte) []byte {
	s := &t.stream
	s.done = true
	if !s.frames {
		return p
	}
	var trailers []message.Field
	if s.chunked {
		trailers = t.c.filterTrailers(t.c.ws.updec.Trailers(), false)
	}
	return message.AppendLastChunk(p, trailers)
}

// filterTrailers drops the trailers that the sender's Connection lists, as it does
// fields of the head (RFC 9110 7.6.1), and those that the handler does not let pass.
func (c *Conn) filterTrailers(trailers []message.Field, upstream bool) []message.Field {
	// The head of the other side may be read at this moment, by another goroutine.
	var listed []string
	if upstream {
		listed = c.ws.req.ConnectionNames
	} else {
		listed = c.ws.resp.ConnectionNames
	}
	return slices.DeleteFunc(trailers, func(f message.Field) bool {
		return message.Listed(listed, f.Name) || !c.srv.handler.KeepTrailer(c, &f, upstream)
	})
}
