package http1

import "slices"

// bindsLogin reports whether the request or its answer speaks of a login that
// belongs to the connection: then it is the client connection's alone.
func (c *Conn) bindsLogin() bool { return c.ws.req.BindsLogin() || c.ws.resp.BindsLogin() }

// maxAlone bounds the instances to which a client connection has one of its own.
const maxAlone = 8

// keepsFor reports whether c will ask for a connection of p that is its alone,
// and notes p, so that the connection ends with c.
func (c *Conn) keepsFor(p *Pool) bool {
	switch {
	case c.closing || c.s.Stream != nil:
		return false
	case slices.Contains(c.alone, p):
		return true
	case len(c.alone) == maxAlone:
		return false
	}
	c.alone = append(c.alone, p)
	return true
}

// Binds reports whether any pool may hold a connection that is c's alone.
func (c *Conn) Binds() bool { return len(c.alone) > 0 }

// BoundTo reports whether p may hold a connection that is c's alone.
func (c *Conn) BoundTo(p *Pool) bool { return slices.Contains(c.alone, p) }

// letGo closes the connections that are c's alone.
func (c *Conn) letGo() {
	for _, p := range c.alone {
		p.release(c)
	}
	c.alone = nil
}
