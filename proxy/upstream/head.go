package upstream

import (
	"strings"

	"lictor/proxy/http1/message"
)

// appendRequest builds the request head as it goes to m. Framing is made from
// what was parsed, never copied.
func (q *Request) appendRequest(dst []byte, m *member, r *roster) []byte {
	req := q.Head
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, m.inst.BasePath...)
	dst = append(dst, q.out.Target...)
	if q.Path.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, q.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	host := req.Host
	if r.service.Options.UpstreamHost || host == "" {
		host = hostOf(m)
	}
	dst = message.AppendField(dst, "Host", host)
	for i := range req.Fields {
		if f := &req.Fields[i]; q.Exchange.PassesUp(f) {
			dst = message.AppendField(dst, f.Name, f.Value)
		}
	}
	dst = q.appendFraming(dst)
	dst = q.Exchange.AppendUp(dst, q.stripped)
	return append(dst, "\r\n"...)
}

// hostOf is the Host that names an instance: its address, without the port that its
// scheme stands for, for servers on the net do not all know themselves by it.
func hostOf(m *member) string {
	standard := ":80"
	if m.inst.TLS {
		standard = ":443"
	}
	return strings.TrimSuffix(m.inst.Address, standard)
}

// appendFraming appends the fields that say how the body is framed and what
// the connection is to become.
func (q *Request) appendFraming(dst []byte) []byte {
	dst = q.Head.AppendFraming(dst, q.Conn.HasBody())
	switch {
	case q.Upgrade != "":
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = message.AppendField(dst, "Upgrade", q.Upgrade)
	case q.Head.TETrailers:
		dst = append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return dst
}

// appendResponse builds the head of the answer as the client gets it.
func (q *Request) appendResponse(dst []byte) []byte {
	resp := q.Conn.Response()
	dst = q.Conn.AppendAnswer(dst, func(f *message.Field) bool { return q.Exchange.PassesDown(f, resp.ConnectionNames) })
	dst = q.Exchange.AppendDown(dst)
	if resp.Status == 101 {
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = message.AppendField(dst, "Upgrade", resp.Upgrade)
	} else {
		dst = q.Conn.AppendConnection(dst)
	}
	return append(dst, "\r\n"...)
}

// appendInterim builds the head of a 1xx answer.
func (q *Request) appendInterim(dst []byte, resp *message.ResponseHead) []byte {
	return message.AppendInterim(dst, resp, func(f *message.Field) bool { return q.Exchange.PassesDown(f, resp.ConnectionNames) })
}
