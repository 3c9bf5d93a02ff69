package egress

import (
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1/message"
)

// refuse answers the request with r. It is the only place where the egress
// answers by itself; it returns false, for the caller to pass on.
func (x *exchange) refuse(r answer.Refusal) bool {
	x.status, x.refused = r.Status, r
	if r.Reason == answer.ClientLeft {
		x.c.Close()
		return false
	}
	x.c.SettleBody()
	if x.req.Method == "CONNECT" {
		x.c.Close() // what follows may have been meant for the tunnel
	}
	head, body := r.Append(x.c.Scratch(), x.id, answer.Form{})
	if isDenial(&r) {
		head = message.AppendField(head, "X-Proxy-Denied", string(r.Reason))
	}
	x.send(head, body)
	return false
}

// send sends an answer of lictor's own.
func (x *exchange) send(head, body []byte) {
	sent, err := answer.Send(x.c, head, body)
	x.out = sent
	if err != nil {
		x.err = err
	}
}

// answerHere answers an OPTIONS or TRACE whose Max-Forwards is used up.
func (x *exchange) answerHere() {
	x.status = 200
	x.c.SettleBody()
	x.send(hops.FinalAnswer(x.c.Scratch(), x.req, x.req.Minor))
}
