package http2

import (
	"net"

	"lictor/proxy/socket"
)

// idle reports whether the connection waits for a request.
func (c *conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running == 0 && c.err == nil
}

// endIfIdle ends the connection if it waits for a request. The client is told of the last
// one that was served, so it may send elsewhere what is on its way (RFC 9113 6.8).
func (c *conn) endIfIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 && c.err == nil {
		c.err = errIdle
		socket.Wake(c.nc)
	}
}

// finish ends the connection for err.
func (c *conn) finish(err error) {
	defer c.over()
	defer c.srv.conns.Remove(c)
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	for _, st := range c.streams {
		st.cond.Broadcast()
	}
	if c.farewell != nil {
		c.farewell.Stop()
	}
	c.mu.Unlock()
	c.bid(err)
	c.hangUp()
	c.abandon()
	c.dismiss()
	c.wg.Wait()
	c.mu.Lock()
	clear(c.streams) // which were cut in a panic: nobody sheds them any more
	c.hold(-c.held.Load())
	c.mu.Unlock()
	c.giveBack()
}

// abandon gives back the streams that nobody serves yet: their head, or the
// first byte of their body, was still to come.
func (c *conn) abandon() {
	if b := &c.block; b.open && !b.trailers && b.st != nil {
		c.waiting = append(c.waiting, b.st)
		b.open = false
	}
	for _, st := range c.waiting {
		c.mu.Lock()
		st.end(net.ErrClosed)
		c.finished()
		c.mu.Unlock()
		st.free()
	}
	c.waiting = nil
}

// hangUp closes the connection. What a client did not take in time it is not
// sent after all.
func (c *conn) hangUp() {
	c.mu.Lock()
	unread := c.unread
	c.mu.Unlock()
	if unread {
		socket.Abort(c.nc)
		return
	}
	c.nc.Close()
}
