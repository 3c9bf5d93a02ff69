// Package answer holds what both listeners say of a request: the refusals and
// their bodies, the line in the access log, the counts by status and reason, and
// the explanation of a decision.
//
// It knows no policy in force and no connection but the one that it answers on.
package answer

import "lictor/proxy/http1"

// Append appends the head of the answer that r is, as far as r says it, to dst,
// and returns it with the body, which is nil if there is none. id names the
// request in the body. grpc is the content type of a gRPC client ([GRPCType]),
// which is told the same in its own terms; "" for everybody else. What is left
// out the caller appends before it calls [Send].
func (r *Refusal) Append(dst []byte, id, grpc string) (head, body []byte) {
	status := r.Status
	bodyless := status == 204 || status == 304 // as a middleware may want it
	switch {
	case grpc != "":
		dst = appendGRPC(http1.AppendStatusLine(dst, 200), grpc, r)
	case bodyless:
		dst = http1.AppendStatusLine(dst, status)
	case r.Page != nil:
		body = []byte(r.Page.Body)
		dst = http1.AppendStatusLine(dst, status)
		if r.Page.ContentType != "" {
			dst = http1.AppendField(dst, "Content-Type", r.Page.ContentType)
		}
		dst = http1.AppendLength(dst, int64(len(body)))
	default:
		body = r.appendProblem(make([]byte, 0, 160), id)
		dst = http1.AppendStatusLine(dst, status)
		if !r.Untyped {
			dst = append(dst, "Content-Type: application/json; charset=utf-8\r\n"...)
		}
		dst = http1.AppendLength(dst, int64(len(body)))
	}
	for _, f := range r.Fields {
		if grpc == "" || !speaksOfBody(f.Name) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	switch {
	case r.Repeatable:
		dst = append(dst, "Retry-After: 1\r\n"...)
	case r.Challenge != "" && status == 407:
		dst = http1.AppendField(dst, "Proxy-Authenticate", r.Challenge)
	case r.Challenge != "":
		dst = http1.AppendField(dst, "WWW-Authenticate", r.Challenge)
	}
	return dst, body
}

// speaksOfBody reports whether a field speaks of a body that a gRPC client does not
// get.
func speaksOfBody(name string) bool { return http1.EqualFold(name, "Content-Encoding") }

// appendProblem appends the body of the refusal (X5). An empty entry is left out.
func (r *Refusal) appendProblem(dst []byte, id string) []byte {
	dst = append(dst, `{"message": `...)
	dst = AppendJSON(dst, r.Message)
	dst = append(dst, `, "reason": "`...)
	dst = append(append(dst, r.Reason...), '"')
	if r.Entry != "" {
		dst = append(dst, `, "entry": `...)
		dst = AppendJSON(dst, r.Entry)
	}
	dst = append(dst, `, "request_id": "`...)
	dst = append(dst, id...)
	return append(dst, "\"}\n"...)
}

// Send ends a head that has its own fields and sends it on c, with the body
// unless the request is a HEAD. It returns how many bytes of body were sent, and
// the error of the write; it blocks until the client took all or its time is over.
func Send(c *http1.Conn, head, body []byte) (sent int64, err error) {
	head = c.AppendPersistence(http1.AppendDate(head))
	head = append(head, "\r\n"...)
	if c.Request().Method != "HEAD" {
		head = append(head, body...)
		sent = int64(len(body))
	}
	return sent, c.Answer(head)
}
