package egress

import (
	"net"
	"strconv"

	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
)

// tellsTrace reports whether the target is told of lictor's span in place of the
// client's. Of a trace that the client does not name the outside learns nothing.
func (x *exchange) tellsTrace() bool {
	return x.p.traces != nil && x.goesOn && !message.Listed(x.req.ConnectionNames, "traceparent")
}

// keepsTrace says why the spans of the request are to be sent, if they are.
func (x *exchange) keepsTrace() answer.Why {
	return x.p.traces.Wants(x.place.Sampled, x.status, x.refused.Reason, 0, x.head, x.began)
}

// keepTrace hands over what the spans of the request are made of.
func (x *exchange) keepTrace(l *answer.Line, why answer.Why) {
	t := &x.target
	port := strconv.Itoa(int(t.port))
	k := answer.Traced{Line: *l, Why: why, Place: x.place, Peer: l.Client, Server: t.host, ServerPort: port}
	switch {
	case t.tls:
		k.Proto = "https"
	case !t.tunnel && t.host != "":
		k.Proto = "http"
	}
	if x.sent > 0 {
		k.Attempts = []answer.Attempt{{
			Began: x.sent, Ended: l.Took, TLS: t.tls, Address: net.JoinHostPort(t.host, port), Dialled: x.dialled, Path: t.path.Received,
			Status: x.answered, Failed: x.refused.Reason,
		}}
	}
	x.p.traces.Keep(&k)
}
