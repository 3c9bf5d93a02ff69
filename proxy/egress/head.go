package egress

import (
	"lictor/internal/field"
	"lictor/proxy/hops"
	"lictor/proxy/http1/message"
)

// appendRequest builds the request head as it goes to the target. Host is the
// authority of the URI, framing is made from what was parsed, and nothing tells
// where the request came from (A1, A13).
func (x *exchange) appendRequest(dst []byte) []byte {
	req, t := x.req, &x.target
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, t.rest...)
	if t.path.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, t.path.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = message.AppendField(dst, "Host", req.Host)
	ours := x.tellsTrace()
	for i := range req.Fields {
		switch f := &req.Fields[i]; f.ID {
		case message.FieldHost, message.FieldContentLength, message.FieldExpect, message.FieldVia:
		default:
			if passes(f, req.ConnectionNames) && !(ours && f.ID == message.FieldTraceparent) && !(x.counted && hops.IsMaxForwards(f)) {
				dst = message.AppendField(dst, f.Name, f.Value)
			}
		}
	}
	dst = req.AppendFraming(dst, x.c.HasBody())
	if x.counted {
		dst = hops.AppendMaxForwards(dst, x.forwards)
	}
	if ours {
		dst = append(x.place.AppendParent(append(dst, "traceparent: "...), 1), "\r\n"...)
	}
	dst = appendVia(dst, req.Fields, req.Minor, x.p.mark)
	return append(dst, "\r\n"...)
}

// appendVia appends the Via field: who came before, and us.
func appendVia(dst []byte, fields []message.Field, minor uint8, mark hops.Mark) []byte {
	dst = append(dst, "Via: "...)
	for i := range fields {
		if f := &fields[i]; f.ID == message.FieldVia && f.Value != "" {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	dst = append(dst, "1."...)
	dst = append(dst, '0'+minor)
	dst = append(append(dst, ' '), mark...)
	return append(dst, "\r\n"...)
}

// passes reports whether a field goes on to the other side.
func passes(f *message.Field, connection []string) bool {
	return !isHopByHop(f) && !message.Listed(connection, f.Name)
}

// isHopByHop reports whether a field is about one connection only (A13), or could
// be taken for such a one, or for one that frames the message, by a server to which
// another character is the same as a dash. Other names with such characters, such
// as X_Request_ID, are the client's business.
func isHopByHop(f *message.Field) bool {
	switch id := f.Means(); id {
	case message.FieldTrailer, message.FieldProxy:
		return true
	case message.FieldContentLength, message.FieldHost:
		return f.ID == message.FieldAlias
	default:
		return id.HopByHop() || field.HasPrefix(f.Name, "Proxy-")
	}
}

// appendResponse builds the head of the target's answer as the client gets it.
func (x *exchange) appendResponse(dst []byte) []byte {
	resp := x.c.Response()
	dst = x.c.AppendAnswer(dst, func(f *message.Field) bool { return f.ID != message.FieldVia && passes(f, resp.ConnectionNames) })
	dst = appendVia(dst, resp.Fields, resp.Minor, x.p.mark)
	dst = x.c.AppendConnection(dst)
	return append(dst, "\r\n"...)
}

// appendInterim builds the head of a 1xx answer.
func (x *exchange) appendInterim(dst []byte, resp *message.ResponseHead) []byte {
	return message.AppendInterim(dst, resp, func(f *message.Field) bool { return passes(f, resp.ConnectionNames) })
}
