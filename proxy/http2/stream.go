package http2

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"lictor/proxy/http1/message"
	"lictor/proxy/socket"
)

// Streams that are over before their end: by the client, and by us.
var (
	errReset  = errors.New("http2: stream was reset")
	errSpoilt = errors.New("http2: the client broke the rules for the stream")
)

// stream is a request and its answer, as a connection that speaks the text of
// HTTP/1.1. One goroutine may read while another one writes. What is not said
// to be the answer's is guarded by conn.mu.
type stream struct {
	waiting
	c  *conn
	id uint32

	// The request.
	text     []byte // to be read next: the head, then what frames the body
	textAt   int
	run      int    // bytes of in that come after text
	in       buffer // body bytes that were not read yet
	declared int64  // Content-Length, -1 if none
	got      int64  // bytes of the body that came
	ended    bool   // all of it came
	trailers []byte // as text
	chunked  bool   // the body goes in chunks, which are text as well
	begun    bool   // with chunks: one was written
	told     bool   // its end was read
	cut      bool   // the head is too large, and is text without an end
	connect  bool   // an Extended CONNECT: after the answer bytes go both ways
	head     bool   // the method is HEAD

	recvWindow int64 // bytes that the client may send
	received   int64 // bytes that were taken and not yet told
	sendWindow int64 // bytes that the client takes
	err        error // the stream is over

	answer answer // the writer's
}

var _ socket.Stream = (*stream)(nil)

var streams = sync.Pool{New: func() any { return new(stream) }}

// keepCap is the most that a buffer may have grown to and still be kept.
const keepCap = 64 << 10

func newStream(c *conn, id uint32) *stream {
	st := streams.Get().(*stream)
	*st = stream{
		c: c, id: id, text: st.text[:0], in: buffer{pieces: st.in.pieces[:0]}, answer: answer{block: st.answer.block[:0]},
		recvWindow: streamWindow, sendWindow: c.initial, declared: -1,
	}
	st.cond.L = &c.mu
	return st
}

// free gives the memory back. Nobody may know the stream any more.
func (st *stream) free() {
	st.in.clear()
	if st.stopTimers() {
		return // a timer may be about to wake who waits: it must not be another's stream
	}
	if cap(st.text) > keepCap {
		st.text = nil
	}
	st.c = nil
	st.trailers = nil
	streams.Put(st)
}

// complete ends the head with what frames the body. What is here of the body
// may be all of it: then its length is known.
func (st *stream) complete() {
	switch {
	case st.cut || st.connect && !st.ended:
	case st.declared >= 0:
		st.frame(st.declared)
	case st.ended && len(st.trailers) == 0:
		if st.got > 0 {
			st.frame(st.got)
		}
	default:
		st.chunked = true
		st.text = append(st.text, "transfer-encoding: chunked\r\n"...)
	}
	if !st.cut {
		st.text = append(st.text, "\r\n"...)
	}
}

func (st *stream) frame(length int64) {
	st.text = message.AppendLength(st.text, length)
}

// Read implements net.Conn: the request as text.
func (st *stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if n := st.take(p); n > 0 {
			_ = c.flush() // an error of the connection comes with the next call
			return n, nil
		}
		switch {
		case st.err != nil:
			return 0, st.err
		case c.err != nil:
			return 0, c.err
		case st.atEnd():
			return 0, io.EOF
		}
		if err := st.wait(reader); err != nil {
			return 0, err
		}
	}
}

// take copies what is there into p.
func (st *stream) take(p []byte) int {
	n := 0
	for n < len(p) {
		switch {
		case st.textAt < len(st.text):
			k := copy(p[n:], st.text[st.textAt:])
			n += k
			st.textAt += k
		case st.run > 0:
			k := st.in.read(p[n:min(len(p), n+st.run)])
			n += k
			st.run -= k
			st.taken(int64(k))
		case !st.more():
			return n
		}
	}
	return n
}

// more prepares what is to be read next. Of a stream that is over there is nothing:
// what waited was dropped, and the end of the body behind it would make whole what is not.
func (st *stream) more() bool {
	if st.err != nil || st.connect && st.answer.phase != raw {
		return false // or it is not the stream's turn yet
	}
	there := st.in.len()
	if !st.chunked {
		st.run = there
		return there > 0
	}
	if there == 0 && (!st.ended || st.told) {
		return false
	}
	st.text, st.textAt = st.text[:0], 0
	if st.begun {
		st.text = append(st.text, "\r\n"...)
	}
	if there > 0 {
		st.begun = true
		st.text = message.AppendChunkHead(st.text, there)
		st.run = there
		return true
	}
	st.told = true
	st.text = append(st.text, "0\r\n"...)
	st.text = append(st.text, st.trailers...)
	st.text = append(st.text, "\r\n"...)
	return true
}

// atEnd reports whether there is no more to read.
func (st *stream) atEnd() bool {
	return st.ended && st.in.len() == 0 && (!st.chunked || st.told)
}

// taken counts bytes of the body that nobody holds any more.
func (st *stream) taken(n int64) {
	c := st.c
	c.credit(n)
	if st.ended || st.err != nil {
		return
	}
	if st.received += n; st.received >= streamWindow/4 {
		c.out = appendWindowUpdate(c.out, st.id, st.received)
		st.recvWindow += st.received
		st.received = 0
	}
}

// WaitGone implements socket.Stream.
func (st *stream) WaitGone() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	for st.err == nil && st.c.err == nil {
		if err := st.wait(reader); err != nil {
			return false
		}
	}
	return true
}

// end takes the stream off the connection, for err.
func (st *stream) end(err error) {
	c := st.c
	if st.err != nil {
		return
	}
	st.err = err
	st.leave(!st.ended && err != errReset)
	c.credit(int64(st.in.clear())) // nobody reads it any more
	st.run = 0
	st.cond.Broadcast()
}

// settle takes a stream off the connection that both sides have ended, whatever is
// still to do here. One of whose body bytes still wait stays until it is closed, so
// that they are found when too many do.
func (st *stream) settle() {
	if st.answer.phase == done && st.ended && st.err == nil && st.in.len() == 0 {
		st.leave(false)
	}
}

// leave takes the stream off the connection: no more frames are due.
func (st *stream) leave(ours bool) {
	c := st.c
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	c.note(st.id, ours)
}

// note keeps for a while that a stream ended, and whether it was us who ended it.
func (c *conn) note(id uint32, ours bool) {
	c.closed[c.closedAt] = closedStream{id, ours}
	c.closedAt = (c.closedAt + 1) % len(c.closed)
}

// Close implements net.Conn. An answer that is not complete is visibly so.
func (st *stream) Close() error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.err != nil {
		return nil
	}
	switch {
	case st.answer.phase != done:
		c.out = appendReset(c.out, st.id, http2.ErrCodeInternal)
	case !st.ended:
		c.out = appendReset(c.out, st.id, http2.ErrCodeNo) // RFC 9113 8.1: the rest is not needed
	}
	st.end(net.ErrClosed)
	return c.flush()
}

// cutTime is how long a client may take to read that a stream was aborted.
const cutTime = time.Second

// Abort implements socket.Stream. Where the client does not even read that the
// stream is over, the connection ends: what was written before lies in the
// socket's buffer, and it shall not get that either.
func (st *stream) Abort() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.err != nil {
		return
	}
	if st.answer.phase != done || !st.ended {
		c.out = appendReset(c.out, st.id, http2.ErrCodeCancel)
	}
	st.end(net.ErrClosed)
	c.hurry(time.Now().Add(cutTime))
	_ = c.flushSoon() // the reader sees it in c.err
}

// Full implements socket.Stream.
func (st *stream) Full() bool {
	if !st.c.full.Load() {
		return false
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return !st.hasRoom()
}

// Gone implements socket.Stream.
func (st *stream) Gone() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.over()
}

// CloseWrite ends what is sent, of a tunnel.
func (st *stream) CloseWrite() error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.answer.phase != raw {
		return net.ErrClosed
	}
	st.answer.phase = done
	defer st.settle()
	if st.err != nil {
		return st.err
	}
	c.out = appendFrame(c.out, 0, http2.FrameData, http2.FlagDataEndStream, st.id)
	return c.flush()
}

// LocalAddr implements net.Conn.
func (st *stream) LocalAddr() net.Addr { return st.c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (st *stream) RemoteAddr() net.Addr { return st.c.nc.RemoteAddr() }
