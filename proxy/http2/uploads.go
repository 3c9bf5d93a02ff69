package http2

import (
	"golang.org/x/net/http2"

	"lictor/internal/limits"
)

// Windows of a connection: how much of all bodies together the client may send
// ahead of what the backends take. Who sends little, or comes while much waits
// already, gets the first one.
const (
	startWindow = 1 << 20
	connWindow  = 4 << 20
)

// maxUploads bounds the bytes of all connections that wait for their backends.
const maxUploads = 128 << 20

// hold counts n more bytes that wait, less if it is negative. c.mu must be held.
func (c *conn) hold(n int64) {
	c.held.Add(n)
	c.srv.uploads.Add(n)
}

// credit counts data that nobody holds any more. c.mu must be held.
func (c *conn) credit(n int64) {
	c.hold(-n)
	c.widen()
}

// widen tells the client what it may send, once that is worth a frame, and reports
// whether it is. c.mu must be held.
func (c *conn) widen() bool {
	window := c.window()
	due := window - c.held.Load() - c.recvWindow
	if due < window/4 {
		return false
	}
	c.out = appendWindowUpdate(c.out, 0, due)
	c.recvWindow += due
	return true
}

// window is how much may be on its way and waiting. c.mu must be held.
func (c *conn) window() int64 {
	if c.uploaded > startWindow/2 && c.srv.uploads.Load() <= maxUploads/2 {
		return connWindow
	}
	return startWindow
}

// relieve ends streams while more waits than may: each time the one that holds
// most, of the connection that holds most. Whoever sends what its backend takes
// is not among them, whatever others do. No lock of a connection may be held.
func (s *Server) relieve() {
	for s.uploads.Load() > maxUploads {
		var worst *conn
		s.conns.Each(func(c *conn) {
			if worst == nil || c.held.Load() > worst.held.Load() {
				worst = c
			}
		})
		if worst == nil || !worst.shed() {
			return // it went meanwhile
		}
		limits.Hit("http2_uploads")
	}
}

// shed ends the stream of which most waits, and reports whether there was one.
func (c *conn) shed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var worst *stream
	for _, st := range c.streams {
		if worst == nil || st.in.len() > worst.in.len() {
			worst = st
		}
	}
	if worst == nil || worst.in.len() == 0 {
		return false
	}
	c.out = appendReset(c.out, worst.id, http2.ErrCodeEnhanceYourCalm)
	worst.end(errSpoilt)
	_ = c.flushSoon() // the reader sees it in c.err
	return true
}
