package http2

import "context"

// seat sees to it that k has a place on a line that suits its head and body, which
// were not known when it got the first one.
func (c *Client) seat(ctx context.Context, k *call) error {
	n := k.wants()
	c.mu.Lock()
	if n.login && n.after == 0 {
		n.after = c.made
	}
	if l := k.line; l != nil {
		l.leave(k.need)
		if n.any = k.need.any; l.takes(n) && (n.any || !n.streams || l.uploads == 0) {
			l.enter(n)
			k.need = n
			c.mu.Unlock()
			return nil
		}
		k.line = nil
	}
	c.mu.Unlock()
	_, err := c.reserve(ctx, k, n)
	return err
}

// leave gives back the place of k. A closed client keeps no connection that it
// made for a late request, and none is kept on which somebody may be logged in:
// who came next would be taken for them (RFC 9113 has no such logins).
func (c *Client) leave(k *call) {
	c.mu.Lock()
	l := k.line
	if l == nil {
		c.mu.Unlock()
		return
	}
	l.leave(k.need)
	k.line = nil
	last := (c.closed || k.need.login) && l.streams == 0
	if last {
		c.drop(l)
	}
	c.mu.Unlock()
	if last {
		_ = l.cc.Close() // nobody uses it any more
	}
}
