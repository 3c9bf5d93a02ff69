package gateway

import (
	"math/rand/v2"
	"unsafe"

	"lictor/proxy/http1"
)

// refuse answers the request with r (X5), a gRPC client in its own terms. It
// returns false, for the caller to pass on. Logs and metrics have the status and
// the reason of r, whatever the client is told.
func (x *exchange) refuse(r refusal) bool {
	x.status, x.reason = r.status, r.reason
	x.c.SettleBody()
	status, grpc := r.status, grpcType(x.req)
	bodyless := status == 204 || status == 304 // as a middleware may want it
	var body []byte
	if grpc != "" {
		status, bodyless = 200, true
	} else {
		body = AppendProblem(make([]byte, 0, 160), r.message, string(r.reason), "", x.id)
	}
	dst := http1.AppendStatusLine(x.c.Scratch(), status)
	if grpc != "" {
		dst = appendGRPC(dst, grpc, &r)
	} else if !bodyless {
		if r.reason != Middleware || !x.edits.drops("Content-Type", false) {
			dst = append(dst, "Content-Type: application/json; charset=utf-8\r\n"...)
		}
		dst = http1.AppendLength(dst, int64(len(body)))
	}
	if r.reason == Middleware {
		dst = x.appendEdits(dst, false)
	}
	switch {
	case r.retryAfter():
		dst = append(dst, "Retry-After: 1\r\n"...)
	case r.challenge != "":
		dst = http1.AppendField(dst, "WWW-Authenticate", r.challenge)
	}
	dst = x.appendLimits(dst)
	dst = x.appendDecision(dst)
	dst = http1.AppendDate(dst)
	dst = x.c.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if x.req.Method != "HEAD" && !bodyless {
		dst = append(dst, body...)
		x.bytesOut = int64(len(body))
	}
	if err := x.c.Answer(dst); err != nil {
		x.err = err
	}
	return false
}

// nameRequest gives the request its id: the one that a trusted proxy gave it,
// or a new one.
func (x *exchange) nameRequest() {
	if x.trusted {
		for i := range x.req.Fields {
			if f := &x.req.Fields[i]; f.ID == http1.FieldXRequestID && validID(f.Value) {
				x.id = f.Value
				return
			}
		}
	}
	AppendHex(x.idBytes[:0], rand.Uint64(), rand.Uint64())
	x.id = unsafe.String(&x.idBytes[0], len(x.idBytes))
}

func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// appendTrace appends a traceparent (W3C Trace Context) if the client sent
// none that is valid; a valid one was passed on with the other fields.
func (x *exchange) appendTrace(dst []byte) []byte {
	for i := range x.req.Fields {
		if x.req.Fields[i].ID == http1.FieldTraceparent {
			return dst
		}
	}
	dst = append(dst, "traceparent: 00-"...)
	dst = AppendHex(dst, rand.Uint64()|1, rand.Uint64())
	dst = append(dst, '-')
	dst = AppendHex(dst, rand.Uint64()|1)
	return append(dst, "-00\r\n"...)
}

// answerHere answers a request that its client lets nobody pass on.
func (x *exchange) answerHere() {
	x.status = 200
	x.c.SettleBody()
	dst, body := FinalAnswer(x.c.Scratch(), x.req, x.req.Minor)
	dst = x.appendDecision(x.appendLimits(dst))
	dst = x.c.AppendPersistence(http1.AppendDate(dst))
	dst = append(append(dst, "\r\n"...), body...)
	x.bytesOut = int64(len(body))
	if err := x.c.Answer(dst); err != nil {
		x.err = err
	}
}
