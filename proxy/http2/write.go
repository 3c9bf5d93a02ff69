package http2

import (
	"crypto/rand"
	"encoding/binary"
	"runtime"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/crash"
	"lictor/proxy/socket"
)

// What may wait to be written. Past maxOut the answers of streams wait, whatever
// frames they are made of; past maxQueued, which only what answers the client's
// own frames can fill, no more of these is read. A client that takes nothing of
// that for the time of a head is sent away.
const (
	maxOut    = 64 << 10
	maxQueued = 2 * maxOut
)

// appendFrame appends the head of a frame with n bytes.
func appendFrame(dst []byte, n int, kind http2.FrameType, flags http2.Flags, id uint32) []byte {
	return append(dst, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendReset(dst []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, 4, http2.FrameRSTStream, 0, id), uint32(code))
}

func appendWindowUpdate(dst []byte, id uint32, n int64) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, 4, http2.FrameWindowUpdate, 0, id), uint32(n))
}

func appendGoAway(dst []byte, lastID uint32, code http2.ErrCode) []byte {
	dst = appendFrame(dst, 8, http2.FrameGoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, lastID)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

// appendPreface appends our SETTINGS and the window of the connection.
func appendPreface(dst []byte, maxHeader int) []byte {
	all := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(maxHeader)},
		{ID: http2.SettingEnableConnectProtocol, Val: 1}, // RFC 8441
	}
	dst = appendFrame(dst, 6*len(all), http2.FrameSettings, 0, 0)
	for _, s := range all {
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.ID))
		dst = binary.BigEndian.AppendUint32(dst, s.Val)
	}
	return appendWindowUpdate(dst, 0, startWindow-defaultWindow)
}

// appendHeaders appends a header block as HEADERS and, where it is too large
// for one frame, CONTINUATION.
func (c *conn) appendHeaders(id uint32, block []byte, last bool) {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if last {
		flags = http2.FlagHeadersEndStream
	}
	if c.shrunk {
		c.shrunk = false
		block = append([]byte{0x20}, block...) // RFC 7541 6.3: the table has no room
	}
	for {
		part := block[:min(len(block), c.frameSize)]
		block = block[len(part):]
		if len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.out = append(appendFrame(c.out, len(part), kind, flags, id), part...)
		if len(block) == 0 {
			return
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

// flush writes what was appended. Whoever comes while another one writes
// leaves its frames to that one. c.mu is held, but not while it writes.
func (c *conn) flush() error {
	c.measure()
	if c.flushing || len(c.out) == 0 || c.err != nil {
		return c.err
	}
	c.flushing = true
	if c.running > 1 {
		// Streams that have an answer by now add it to the same write.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	var err error
	for err == nil && len(c.out) > 0 && c.err == nil {
		p := c.out
		c.out, c.spare = c.spare[:0], nil
		c.measure()
		c.setWriteBy()
		err = c.write(p)
		c.wrote.Broadcast()
		if cap(p) <= 2*maxOut {
			c.spare = p[:0]
		}
		if len(p) > maxOut/2 {
			c.stirAll() // somebody may have waited for room
		}
	}
	c.flushing = false
	c.wrote.Broadcast()
	if err != nil && c.err == nil {
		if isTimeout(err) { // not one of a stream's reader, who would try again
			err = errUnread
		}
		c.err, c.unread = err, true
		for _, st := range c.streams {
			st.cond.Broadcast()
		}
		socket.Wake(c.nc)
	}
	return c.err
}

// flushSoon is flush for the reader, which must not wait for the client: one
// that reads nothing before all it has to say is read would wait for us.
func (c *conn) flushSoon() error {
	c.measure()
	if !c.flushing && !c.due && len(c.out) > 0 && c.err == nil {
		c.due = true
		c.wg.Go(func() {
			defer crash.Contain(where, c.abort)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.due = false
			_ = c.flush() // the reader sees it in c.err
		})
	}
	return c.err
}

// measure keeps full up to date. It costs a load while nothing changes.
func (c *conn) measure() {
	if full := len(c.out) >= maxOut; full != c.full.Load() {
		c.full.Store(full)
	}
}

// write writes p, without holding c.mu meanwhile.
func (c *conn) write(p []byte) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	_, err := c.nc.Write(p)
	return err
}

// setWriteBy sets the time by which the next write must be done. A client that
// takes nothing for the stream limit is given up, or sooner if hurry was called.
func (c *conn) setWriteBy() {
	limit := c.srv.h1.Limits().Stream
	at := time.Now().Add(limit)
	switch by := c.hurryBy; {
	case !by.IsZero():
		c.hurryBy, c.writeBy = time.Time{}, time.Time{} // the write after this one sets its own
		c.nc.SetWriteDeadline(by)
	case at.Sub(c.writeBy) > min(coarse, limit/4):
		c.writeBy = at
		_ = socket.StallAfter(c.nc, limit) // a connection that is closed tells by its writes
	}
}

// hurry gives the client until a time to take all that waits now, or the
// connection ends.
func (c *conn) hurry(by time.Time) {
	if c.flushing {
		c.nc.SetWriteDeadline(by)
	}
	if c.hurryBy.IsZero() || by.Before(c.hurryBy) {
		c.hurryBy = by
	}
}

// awaitRoom waits, before more is read, until the client has taken enough of
// the answers to what it sent before.
func (c *conn) awaitRoom() error {
	if !c.full.Load() {
		return nil // as before nearly every frame, which then needs no lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for first := true; len(c.out) >= maxQueued && c.err == nil; first = false {
		if first {
			c.hurry(time.Now().Add(c.srv.h1.Limits().Header))
			_ = c.flushSoon() // the loop sees an error
		}
		c.wrote.Wait()
	}
	return c.err
}

// stirAll wakes all streams that wait to write.
func (c *conn) stirAll() {
	for _, st := range c.streams {
		if st.stuck {
			st.cond.Broadcast()
		}
	}
}

// farewell is how long a client may take to answer the ping that shows that it
// has heard of the drain.
const farewell = time.Second

// drain tells the client to open no further streams, lets those come that are
// on their way, and ends the connection after all of them.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.err != nil {
		return
	}
	c.leaving = true
	rand.Read(c.drainPing[:]) // an answer that nobody can give who has not read it
	c.out = appendGoAway(c.out, maxWindow, http2.ErrCodeNo)
	c.out = appendFrame(c.out, len(c.drainPing), http2.FramePing, 0, 0)
	c.out = append(c.out, c.drainPing[:]...)
	c.farewell = time.AfterFunc(farewell, func() {
		defer crash.Contain(where, c.abort)
		c.mu.Lock()
		defer c.mu.Unlock()
		_ = c.leave() // the reader sees it in c.err
	})
	_ = c.flushSoon() // the reader sees it in c.err
}

// leave takes no further streams. Only a drain leads here.
func (c *conn) leave() error {
	if c.left || !c.leaving {
		return c.err
	}
	c.left = true
	c.farewell.Stop()
	c.out = appendGoAway(c.out, c.lastOpened, http2.ErrCodeNo)
	err := c.flushSoon()
	c.mayEnd()
	return err
}

// mayEnd wakes the reader if there is nothing left to serve.
func (c *conn) mayEnd() {
	if c.left && c.running == 0 {
		socket.Wake(c.nc)
	}
}

// bid writes what is still to be written, and tells the client why the
// connection ends.
func (c *conn) bid(err error) {
	code := http2.ErrCodeNo
	ce, ok := err.(*connError)
	switch {
	case ok:
		code = ce.code
	case err != errIdle && err != errLeft:
		return // it is gone
	}
	c.nc.SetWriteDeadline(time.Now().Add(farewell))
	c.mu.Lock()
	for c.flushing {
		c.wrote.Wait()
	}
	out := c.out
	if err != errLeft { // that was told before
		out = appendGoAway(out, c.lastOpened, code)
	}
	c.out, c.flushing = nil, true // the last word is ours
	c.mu.Unlock()
	_, _ = c.nc.Write(out) // it is the last word
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
		c.linger()
	}
}

// linger reads what the client still sends: unread, it would have the kernel
// send RST, which may destroy what the client did not read yet.
func (c *conn) linger() {
	c.nc.SetReadDeadline(time.Now().Add(farewell))
	var sink [4 << 10]byte
	for range 256 {
		if _, err := c.nc.Read(sink[:]); err != nil {
			return
		}
	}
}
