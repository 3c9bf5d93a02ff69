package http1

import "lictor/proxy/http1/message"

// AppendAnswer appends the head of the upstream's answer as it goes on: its
// status, its Content-Length, the other fields that pass, and a Date if it has
// none. The caller adds its own fields, and those of [Conn.AppendConnection].
func (c *Conn) AppendAnswer(dst []byte, passes func(*message.Field) bool) []byte {
	resp := &c.ws.resp
	dst = message.AppendStatusLine(dst, resp.Status)
	framing := resp.Framing(c.ws.req.Method)
	dated := false
	for i := range resp.Fields {
		f := &resp.Fields[i]
		switch f.ID {
		case message.FieldDate:
			dated = true
		case message.FieldContentLength:
			if framing == message.Length || resp.Status != 204 && resp.Status >= 200 { // RFC 9110 8.6
				dst = message.AppendField(dst, f.Name, f.Value)
			}
			continue
		}
		if passes(f) {
			dst = message.AppendField(dst, f.Name, f.Value)
		}
	}
	if !dated {
		dst = message.AppendDate(dst)
	}
	return dst
}

// AppendConnection appends to dst, the head of an answer to the client, the
// fields that say how its body is framed and whether the connection goes on.
// The upstream's own Content-Length is the caller's to copy; nothing else that
// speaks of framing or the connection may be.
func (c *Conn) AppendConnection(dst []byte) []byte {
	req := &c.ws.req
	switch c.ws.resp.Framing(req.Method) {
	case message.Chunked, message.UntilClose:
		if req.Minor == 0 {
			c.closing = true
		} else {
			dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
		}
	}
	if !c.trip.settled(settleTime) {
		c.closing = true // answered before it had the whole body: the rest may never be read
	}
	return c.AppendPersistence(dst)
}

// AppendPersistence appends the Connection field of an answer of our own,
// where one is needed.
func (c *Conn) AppendPersistence(dst []byte) []byte {
	switch {
	case c.Closing():
		c.closing = true // as it says so
		return append(dst, "Connection: close\r\n"...)
	case c.ws.req.Minor == 0:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}
