package http1

import (
	"errors"
	"io"
	"time"

	"lictor/internal/monotonic"
	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// body is the state of reading a request's body.
type body struct {
	framing message.Framing
	left    int64 // of a body with a length
	done    bool
	read    int64 // body bytes so far
	max     int64 // refuse past it; 0: no limit
	pace    int64 // bytes a second that must come at least; 0: no matter
	grace   time.Duration
	began   int64 // monotonic, when the pace was set
	brief   bool  // wait for lingerTime only, not for the stream limit
	err     error
}

// Errors of reading a request body. A ParseError (bad chunked coding) is the third kind.
var (
	ErrBodyTooLarge = errors.New("http1: request body too large")
	ErrClientGone   = errors.New("http1: client left")
	errBodyTimeout  = errors.New("http1: client stopped sending the body")
)

func (b *body) begin(req *message.RequestHead) {
	*b = body{}
	b.framing = req.Framing()
	switch b.framing {
	case message.NoBody:
		b.done = true
	case message.Length:
		b.left = req.ContentLength
		b.done = b.left == 0
	}
}

// LimitBody sets the most bytes that the request's body may have; 0 = no limit.
func (c *Conn) LimitBody(n int64) { c.ws.body.max = n }

// PaceBody has the body fail, as one whose client sends no more, once it falls
// behind bytes a second after a time of grace. For handlers that hold it in memory.
func (c *Conn) PaceBody(grace time.Duration, bytes int64) {
	c.ws.body.pace, c.ws.body.grace, c.ws.body.began = bytes, grace, monotonic.Now()
}

// rest is how long the client may take for its next byte, at most limit.
func (b *body) rest(limit time.Duration) time.Duration {
	if b.pace == 0 {
		return limit
	}
	earned := time.Duration(float64(b.read) / float64(b.pace) * float64(time.Second))
	return min(limit, b.grace+earned-time.Duration(monotonic.Now()-b.began))
}

// BodyBytes is how much of the request's body was read.
func (c *Conn) BodyBytes() int64 {
	if c.ws == nil { // between requests
		return 0
	}
	return c.ws.body.read
}

// HasBody reports whether the request has a body that is not fully read yet. Between
// requests there is none.
func (c *Conn) HasBody() bool { return c.ws != nil && !c.ws.body.done }

// Trailers of a chunked request body, once it is read.
func (c *Conn) Trailers() []message.Field {
	if c.ws.body.framing != message.Chunked || !c.ws.body.done {
		return nil
	}
	return c.ws.dec.Trailers()
}

// ReadBody reads decoded body bytes, io.EOF at the end. It fails with
// ErrBodyTooLarge, ErrClientGone, a time-out or a ParseError, and then for good.
func (c *Conn) ReadBody(p []byte) (int, error) {
	b := &c.ws.body
	if b.err != nil {
		return 0, b.err
	}
	if b.done {
		return 0, io.EOF
	}
	var n int
	if b.framing == message.Length {
		n, b.err = c.readLength(p)
	} else {
		n, b.err = c.readChunked(p)
	}
	b.read += int64(n)
	if b.err == nil && b.max > 0 && b.read > b.max {
		b.err = ErrBodyTooLarge
	}
	if b.err != nil && b.err != io.EOF {
		return 0, b.err
	}
	return n, b.eof()
}

// eof turns the end, which is not an error of the body, into one for the reader.
func (b *body) eof() error {
	err := b.err
	b.err = nil
	return err
}

func (c *Conn) readLength(p []byte) (n int, err error) {
	b := &c.ws.body
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if c.r < c.w {
		n = copy(p, c.ws.in[c.r:c.w])
		c.r += n
	} else if n, err = c.readSocket(p); err != nil {
		return 0, err
	}
	b.left -= int64(n)
	b.done = b.left == 0
	return n, nil
}

func (c *Conn) readChunked(p []byte) (int, error) {
	dec := &c.ws.dec
	for {
		var data, consumed, n int
		var err error
		if c.r < c.w {
			src := c.ws.in[c.r:min(c.w, c.r+len(p))]
			data, consumed, err = dec.Decode(p, src)
			c.r += consumed
		} else {
			if n, err = c.readSocket(p); err != nil {
				return 0, err
			}
			data, consumed, err = dec.Decode(p, p[:n])
			if err == nil && consumed < n {
				c.unread(p[consumed:n])
			}
		}
		if err != nil {
			return 0, err
		}
		c.ws.body.done = dec.Done()
		if data > 0 {
			return data, nil
		}
		if c.ws.body.done {
			return 0, io.EOF
		}
	}
}

// unread keeps bytes that belong to the next request. All earlier ones were used.
func (c *Conn) unread(p []byte) {
	if len(c.ws.in)-c.w < len(p) {
		c.ws.in = make([]byte, max(inSize, len(p))) // the old one stays alive through the head's strings
		c.r, c.w = 0, 0
	}
	c.r = c.w
	c.w += copy(c.ws.in[c.w:], p)
}

func (c *Conn) readSocket(p []byte) (int, error) {
	for {
		limit := c.bodyPatience()
		rest := c.ws.body.rest(limit)
		if rest <= 0 {
			return 0, errBodyTimeout
		}
		c.s.ReadBy(rest)
		if c.trip.stopped.Load() {
			return 0, errStopped
		}
		n, err := c.s.Read(p)
		switch {
		case err == nil:
			return n, nil
		case !socket.IsTimeout(err):
			return 0, ErrClientGone
		case c.trip.stopped.Load():
			return 0, errStopped
		case c.s.Expired() && c.bodyPatience() <= limit:
			return 0, errBodyTimeout
		}
		c.s.Woken() // by a Shutdown that took the connection for idle
	}
}

// bodyPatience is how long the next bytes of a body may take. One that does not
// even begin, while nobody answers either, has less time: it costs the client
// nothing, and holds a connection to the upstream.
func (c *Conn) bodyPatience() time.Duration {
	lim := c.srv.limits.Load()
	switch {
	case c.ws.body.brief:
		return lingerTime
	case lim.Begin == 0 || c.ws.body.read > 0 || c.ws.req.Expect100 || c.trip.spoke.Load():
		return lim.Stream
	}
	return min(lim.Begin, lim.Stream)
}

// PrepareBody takes the body bytes that came with the head, in the form in
// which they go upstream, so that they leave in one write with the head and a
// retry can send them again. It must be called once before RoundTrip.
func (c *Conn) PrepareBody() error {
	ws, b := c.ws, &c.ws.body
	ws.first = ws.first[:0]
	if b.done || c.r == c.w {
		return nil
	}
	switch b.framing {
	case message.Length:
		n := int(min(b.left, int64(c.w-c.r)))
		ws.first = append(ws.first, ws.in[c.r:c.r+n]...)
		c.r += n
		b.left -= int64(n)
		b.read += int64(n)
		b.done = b.left == 0
	case message.Chunked:
		buf := bulks.Get().(*[bulkSize]byte)
		defer bulks.Put(buf)
		src := ws.in[c.r:min(c.w, c.r+len(buf))]
		n, used, err := ws.dec.Decode(buf[:], src)
		if err != nil {
			b.err = err
			return err
		}
		c.r += used
		b.read += int64(n)
		b.done = ws.dec.Done()
		if n > 0 { // a chunk of no bytes would end the body
			ws.first = message.AppendChunk(ws.first, buf[:n])
		}
		if b.done {
			ws.first = message.AppendLastChunk(ws.first, c.filterTrailers(ws.dec.Trailers(), true))
		}
	}
	if b.max > 0 && b.read > b.max {
		b.err = ErrBodyTooLarge
		return b.err
	}
	return nil
}

// discardMax is how much of an unwanted body is read to keep a connection.
const discardMax = 64 << 10

// SettleBody decides, before an answer that does not wait for the body is
// written, whether the connection can go on after it.
func (c *Conn) SettleBody() {
	b := &c.ws.body
	if b.done {
		return
	}
	if b.err != nil || b.framing == message.Chunked || b.left > discardMax || c.ws.req.Expect100 {
		c.closing = true
	}
}

// discard reads what is left of a small body, so that the next request can follow.
func (c *Conn) discard() error {
	if c.ws.body.done {
		return nil
	}
	buf := bulks.Get().(*[bulkSize]byte)
	defer bulks.Put(buf)
	until := time.Now().Add(lingerTime)
	c.ws.body.brief = true
	for !c.ws.body.done {
		if _, err := c.ReadBody(buf[:]); err != nil && err != io.EOF {
			return err
		}
		if time.Now().After(until) {
			return errBodyTimeout
		}
	}
	return nil
}
