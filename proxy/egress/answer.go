package egress

import (
	"lictor/proxy/gateway"
	"lictor/proxy/http1"
)

// refuse answers the request with r. It is the only place where the egress
// answers by itself; it returns false, for the caller to pass on.
func (x *exchange) refuse(r refusal) bool {
	x.status, x.refused = r.status, r
	x.c.SettleBody()
	if x.req.Method == "CONNECT" {
		x.c.Close() // what follows may have been meant for the tunnel
	}
	body := gateway.AppendProblem(make([]byte, 0, 160), r.message, string(r.reason), r.entry, x.requestID())
	dst := http1.AppendStatusLine(x.c.Scratch(), r.status)
	dst = append(dst, "Content-Type: application/json; charset=utf-8\r\n"...)
	dst = http1.AppendLength(dst, int64(len(body)))
	if r.denies() {
		dst = http1.AppendField(dst, "X-Proxy-Denied", string(r.reason))
	}
	if r.challenge != "" {
		dst = http1.AppendField(dst, "Proxy-Authenticate", r.challenge)
	}
	if r.reason == unreachable {
		dst = append(dst, "Retry-After: 1\r\n"...)
	}
	dst = http1.AppendDate(dst)
	dst = x.c.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if x.req.Method != "HEAD" {
		dst = append(dst, body...)
		x.out = int64(len(body))
	}
	if err := x.c.Answer(dst); err != nil {
		x.err = err
	}
	return false
}

// requestID is the name of the request in answers and logs.
func (x *exchange) requestID() string { return string(x.appendID(make([]byte, 0, 32))) }

func (x *exchange) appendID(dst []byte) []byte { return gateway.AppendHex(dst, x.id[:]...) }

// answerHere answers a request that its client lets nobody pass on.
func (x *exchange) answerHere() {
	x.status = 200
	x.c.SettleBody()
	dst, body := gateway.FinalAnswer(x.c.Scratch(), x.req, x.req.Minor)
	dst = x.c.AppendPersistence(http1.AppendDate(dst))
	x.out = int64(len(body))
	if err := x.c.Answer(append(append(dst, "\r\n"...), body...)); err != nil {
		x.err = err
	}
}
