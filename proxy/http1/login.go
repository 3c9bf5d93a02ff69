package http1

import "slices"

// Some logins belong to the connection on which they were made and not to the
// request: who uses it next is taken for the one who logged in (RFC 9110 3.3
// names the trouble). So a connection to an instance on which such a login was
// asked for or tried is the client connection's alone, and ends with it.

// connectionSchemes are the schemes of such logins.
var connectionSchemes = [...]string{"ntlm", "negotiate", "kerberos", "nego2"}

// bindsLogin reports whether the request or its answer speaks of a login that
// belongs to the connection.
func (c *Conn) bindsLogin() bool {
	resp := &c.ws.resp
	if c.ws.req.BindsLogin() {
		return true
	}
	if resp.Status != 401 && resp.Status != 407 {
		return false
	}
	for i := range resp.Fields {
		f := &resp.Fields[i]
		if (f.ID == FieldProxyAuthenticate || f.ID == Other && EqualFold(f.Name, "www-authenticate")) && namesConnectionScheme(f.Value) {
			return true
		}
	}
	return false
}

// BindsLogin reports whether the request tries a login that belongs to its connection.
func (h *RequestHead) BindsLogin() bool {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == FieldAuthorization && namesConnectionScheme(f.Value) {
			return true
		}
	}
	return false
}

// namesConnectionScheme reports whether a member of list, credentials or
// challenges, begins with one of the schemes. It may see one inside a quoted
// string, which costs no more than the sharing of a connection.
func namesConnectionScheme(list string) bool {
	for list != "" {
		var member string
		member, list = nextMember(list)
		scheme := member
		for i := range len(member) {
			if isBlank(member[i]) {
				scheme = member[:i]
				break
			}
		}
		for _, s := range connectionSchemes {
			if EqualFold(scheme, s) {
				return true
			}
		}
	}
	return false
}

// maxAlone bounds the instances to which a client connection has one of its own.
const maxAlone = 8

// keepsFor reports whether c will ask for a connection of p that is its alone,
// and notes p, so that the connection ends with c.
func (c *Conn) keepsFor(p *Pool) bool {
	switch {
	case c.closing || c.s.stream != nil:
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
