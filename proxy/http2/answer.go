package http2

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"

	"golang.org/x/net/http2"
)

// phase is how far the answer is.
type phase uint8

const (
	heads  phase = iota // a head comes: interim or final
	length              // a body of known length
	chunks              // a body in chunks
	raw                 // bytes of another protocol
	done                // the stream is ended
)

// answer turns the text of an answer into frames. The text is our own, so it
// is not checked as if it were a stranger's.
type answer struct {
	phase phase
	left  int64  // with length: bytes to come; with chunks: of the chunk
	block []byte // a header block
}

var errAnswer = errors.New("http2: the answer is not the text of HTTP/1.1")

// Write implements net.Conn: the answer as text. Each call holds whole heads
// and whole framing of chunks.
func (st *stream) Write(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := p
	for len(rest) > 0 {
		n, err := st.step(rest)
		if err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	st.settle()
	return len(p), c.flush()
}

// step handles what p begins with, and returns how long that is.
func (st *stream) step(p []byte) (int, error) {
	a := &st.answer
	switch a.phase {
	case heads:
		return st.writeHead(p)
	case length:
		n := int(min(int64(len(p)), a.left))
		a.left -= int64(n)
		return n, st.writeData(p[:n], a.left == 0)
	case chunks:
		return st.writeChunk(p)
	case raw:
		return len(p), st.writeData(p, false)
	}
	return 0, errAnswer
}

// writeHead sends a head, interim or final.
func (st *stream) writeHead(p []byte) (int, error) {
	if err := st.awaitRoom(); err != nil {
		return 0, err
	}
	a := &st.answer
	if len(p) < 12 {
		return 0, errAnswer
	}
	status, err := strconv.Atoi(string(p[9:12]))
	if err != nil {
		return 0, errAnswer
	}
	block, size, n := appendBlock(a.block[:0], p, status, st.connect)
	a.block = block
	if n < 0 {
		return 0, errAnswer
	}
	switch {
	case status == 101:
		a.phase = raw
	case status < 200: // the final one is to come
	case st.head, status == 204, status == 304, size == 0:
		a.phase = done
	case size > 0:
		a.phase, a.left = length, size
	default:
		a.phase = chunks
	}
	st.c.appendHeaders(st.id, a.block, a.phase == done)
	if a.phase == raw {
		st.cond.Broadcast() // a reader may wait for it
	}
	return n, nil
}

// writeChunk sends a chunk, or the rest of one, or the end of the body.
func (st *stream) writeChunk(p []byte) (int, error) {
	a := &st.answer
	if a.left > 0 {
		n := int(min(int64(len(p)), a.left))
		a.left -= int64(n)
		const end = "\r\n0\r\n\r\n"
		if a.left == 0 && string(p[n:]) == end {
			return len(p), st.writeData(p[:n], true)
		}
		return n, st.writeData(p[:n], false)
	}
	at := 0
	if bytes.HasPrefix(p, []byte("\r\n")) { // the end of the chunk before
		if at = 2; len(p) == at {
			return at, nil
		}
	}
	n := bytes.IndexByte(p[at:], '\n')
	if n < 1 {
		return 0, errAnswer
	}
	size, err := strconv.ParseUint(string(p[at:at+n-1]), 16, 31)
	if err != nil {
		return 0, errAnswer
	}
	at += n + 1
	if size > 0 {
		a.left = int64(size)
		return at, nil
	}
	return len(p), st.writeTrailers(p[at:])
}

// writeTrailers ends the body. p holds the trailers and an empty line.
func (st *stream) writeTrailers(p []byte) error {
	if len(p) <= 2 {
		return st.writeData(nil, true)
	}
	if err := st.awaitRoom(); err != nil {
		return err
	}
	a := &st.answer
	a.phase = done
	a.block, _ = appendFields(a.block[:0], p, nil)
	st.c.appendHeaders(st.id, a.block, true)
	return nil
}

// writeData sends p, maybe the last of the answer, as the client's windows let it.
func (st *stream) writeData(p []byte, last bool) error {
	c := st.c
	for waited := false; ; {
		waited = waited || !st.hasRoom()
		if err := st.awaitRoom(); err != nil {
			return err
		}
		// The end of a body needs no window, and there may be less than none (RFC 9113 6.9.2).
		n := max(0, min(int64(len(p)), int64(c.frameSize), st.sendWindow, c.sendWindow))
		if n == 0 && len(p) > 0 {
			if err := st.await(st.hasWindow); err != nil {
				return err
			}
			waited = true
			continue
		}
		if waited {
			st.took()
			waited = false
		}
		st.sendWindow -= n
		c.sendWindow -= n
		part := p[:n]
		p = p[n:]
		flags := http2.Flags(0)
		if last && len(p) == 0 {
			flags = http2.FlagDataEndStream
		}
		if n > 0 || flags != 0 {
			c.out = append(appendFrame(c.out, len(part), http2.FrameData, flags, st.id), part...)
			c.earned = min(c.earned+2+int(n)/1024, maxEarned)
		}
		if len(p) == 0 {
			if last {
				st.answer.phase = done
			}
			return nil
		}
	}
}

// awaitRoom waits until something may be added to what waits to be written,
// whatever frame it is. It fails if the stream or the connection is over.
func (st *stream) awaitRoom() error {
	for !st.hasRoom() {
		if err := st.await(st.hasRoom); err != nil {
			return err
		}
	}
	return cmp.Or(st.err, st.c.err)
}

// await waits until ready may have become true.
func (st *stream) await(ready func() bool) error {
	if err := st.c.flush(); err != nil {
		return err
	}
	if ready() { // it came while we wrote
		return nil
	}
	return st.wait(writer)
}

func (st *stream) over() bool { return st.err != nil || st.c.err != nil }

func (st *stream) hasRoom() bool { return len(st.c.out) < maxOut || st.over() }

func (st *stream) hasWindow() bool { return st.sendWindow > 0 && st.c.sendWindow > 0 || st.over() }
