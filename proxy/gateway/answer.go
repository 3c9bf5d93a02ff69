package gateway

import (
	"math/rand/v2"
	"unsafe"

	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
)

// refuse answers the request with r (X5), a gRPC client in its own terms. It
// returns false, for the caller to pass on. Logs and metrics have the status and
// the reason of r, whatever the client is told.
func (x *exchange) refuse(r answer.Refusal) bool {
	x.status, x.reason = r.Status, r.Reason
	if r.Reason == answer.ClientLeft {
		x.c.Close()
		return false
	}
	x.c.SettleBody()
	r.Untyped = r.Reason == Middleware && x.edits.drops("Content-Type", false)
	head, body := r.Append(x.c.Scratch(), x.id, answer.GRPCType(x.req))
	if r.Reason == Middleware {
		head = x.appendEdits(head, false)
	}
	x.send(x.appendDecision(x.appendLimits(head)), body)
	return false
}

// send sends an answer of lictor's own.
func (x *exchange) send(head, body []byte) {
	sent, err := answer.Send(x.c, head, body)
	x.bytesOut = sent
	if err != nil {
		x.err = err
	}
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
	answer.AppendHex(x.idBytes[:0], rand.Uint64(), rand.Uint64())
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
	dst = answer.AppendHex(dst, rand.Uint64()|1, rand.Uint64())
	dst = append(dst, '-')
	dst = answer.AppendHex(dst, rand.Uint64()|1)
	return append(dst, "-00\r\n"...)
}

// answerHere answers a request that its client lets nobody pass on.
func (x *exchange) answerHere() {
	x.status = 200
	x.c.SettleBody()
	head, body := hops.FinalAnswer(x.c.Scratch(), x.req, x.req.Minor)
	x.send(x.appendDecision(x.appendLimits(head)), body)
}
