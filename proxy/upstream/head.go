package upstream

import "lictor/proxy/http1"

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
		host = m.inst.Address
	}
	dst = http1.AppendField(dst, "Host", host)
	for i := range req.Fields {
		if f := &req.Fields[i]; q.Exchange.PassesUp(f) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	dst = q.appendFraming(dst)
	dst = q.Exchange.AppendUp(dst, q.stripped)
	return append(dst, "\r\n"...)
}

// appendFraming appends the fields that say how the body is framed and what
// the connection is to become.
func (q *Request) appendFraming(dst []byte) []byte {
	req := q.Head
	switch req.Framing() {
	case http1.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case http1.Length:
		dst = http1.AppendLength(dst, req.ContentLength)
	default:
		if req.ContentLength == 0 {
			dst = append(dst, "Content-Length: 0\r\n"...)
		}
	}
	if req.Expect100 && req.Minor > 0 && q.Conn.HasBody() {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	switch {
	case q.Upgrade != "":
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = http1.AppendField(dst, "Upgrade", q.Upgrade)
	case req.TETrailers:
		dst = append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return dst
}

// appendResponse builds the head of the answer as the client gets it.
func (q *Request) appendResponse(dst []byte) []byte {
	resp := q.Conn.Response()
	dst = http1.AppendStatusLine(dst, resp.Status)
	framing := resp.Framing(q.Head.Method)
	dated := false
	for i := range resp.Fields {
		f := &resp.Fields[i]
		switch f.ID {
		case http1.FieldDate:
			dated = true
		case http1.FieldContentLength:
			if framing != http1.Length && (resp.Status == 204 || resp.Status < 200) {
				continue // RFC 9110 8.6
			}
			dst = http1.AppendField(dst, f.Name, f.Value)
			continue
		}
		if q.Exchange.PassesDown(f, resp.ConnectionNames) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	if !dated {
		dst = http1.AppendDate(dst)
	}
	dst = q.Exchange.AppendDown(dst)
	if resp.Status == 101 {
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = http1.AppendField(dst, "Upgrade", resp.Upgrade)
	} else {
		dst = q.Conn.AppendConnection(dst)
	}
	return append(dst, "\r\n"...)
}

// appendInterim builds the head of a 1xx answer.
func (q *Request) appendInterim(dst []byte, resp *http1.ResponseHead) []byte {
	dst = http1.AppendStatusLine(dst, resp.Status)
	for i := range resp.Fields {
		if f := &resp.Fields[i]; q.Exchange.PassesDown(f, resp.ConnectionNames) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}
