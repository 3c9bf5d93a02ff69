// Package answer holds what both listeners say of a request: the refusals and
// their bodies, the line in the access log, the counts by status and reason, and
// the explanation of a decision.
//
// It knows no policy in force and no connection but the one that it answers on.
package answer

import (
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Form is how a client is told that lictor refuses. The zero Form is JSON.
type Form struct {
	GRPC string     // the content type of a gRPC client ([GRPCType]), which is told in its own terms; "" = another client
	Page *ErrorPage // for clients that prefer HTML; nil = there is none
	HTML bool       // the client prefers it
}

// FormFor is how to tell the client of a request, where page may be nil.
func FormFor(req *message.RequestHead, page *ErrorPage) Form {
	f := Form{GRPC: GRPCType(req), Page: page}
	f.HTML = page != nil && f.GRPC == "" && PrefersHTML(req.Fields)
	return f
}

// Append appends the head of the answer that r is, as far as r says it, to dst,
// and returns it with the body, which is nil if there is none. id names the
// request in the body. What is left out the caller appends before it calls [Send].
// A page that cannot be made is JSON, and r has the error.
func (r *Refusal) Append(dst []byte, id string, to Form) (head, body []byte) {
	status := r.Status
	bodyless := status == 204 || status == 304 // as a middleware may want it
	switch {
	case to.GRPC != "":
		dst = appendGRPC(message.AppendStatusLine(dst, 200), to.GRPC, r)
	case bodyless:
		dst = message.AppendStatusLine(dst, status)
	case r.Page != nil:
		body = []byte(r.Page.Body)
		dst = message.AppendStatusLine(dst, status)
		if r.Page.ContentType != "" {
			dst = message.AppendField(dst, "Content-Type", r.Page.ContentType)
		}
		dst = message.AppendLength(dst, int64(len(body)))
	case r.Untyped:
		body = r.appendProblem(make([]byte, 0, 160), id)
		dst = message.AppendLength(message.AppendStatusLine(dst, status), int64(len(body)))
	default:
		dst, body = r.appendChosen(message.AppendStatusLine(dst, status), id, to)
	}
	for _, f := range r.Fields {
		if to.GRPC == "" || !speaksOfBody(f.Name) {
			dst = message.AppendField(dst, f.Name, f.Value)
		}
	}
	switch {
	case r.Repeatable:
		dst = append(dst, "Retry-After: 1\r\n"...)
	case r.Challenge != "" && status == 407:
		dst = message.AppendField(dst, "Proxy-Authenticate", r.Challenge)
	case r.Challenge != "":
		dst = message.AppendField(dst, "WWW-Authenticate", r.Challenge)
	}
	return dst, body
}

// appendChosen appends what speaks of the body, and returns the one that the client
// prefers. Caches are told that another one gets another (RFC 9110 12.5.5).
func (r *Refusal) appendChosen(dst []byte, id string, to Form) (head, body []byte) {
	contentType := "application/json; charset=utf-8"
	if to.HTML {
		page, err := to.Page.render(r, id)
		if err == nil {
			body, contentType = page, "text/html; charset=utf-8"
		} else if r.Err == nil {
			r.Err = err
		}
	}
	if body == nil {
		body = r.appendProblem(make([]byte, 0, 160), id)
	}
	dst = message.AppendField(dst, "Content-Type", contentType)
	if to.Page != nil {
		dst = append(dst, "Vary: Accept\r\n"...)
	}
	return message.AppendLength(dst, int64(len(body))), body
}

// speaksOfBody reports whether a field speaks of a body that a gRPC client does not
// get.
func speaksOfBody(name string) bool { return message.EqualFold(name, "Content-Encoding") }

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
	head = c.AppendPersistence(message.AppendDate(head))
	head = append(head, "\r\n"...)
	if c.Request().Method != "HEAD" {
		head = append(head, body...)
		sent = int64(len(body))
	}
	return sent, c.Answer(head)
}
