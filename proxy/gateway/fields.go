package gateway

import (
	"strings"

	"lictor/internal/field"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// PassesUp implements [upstream.Exchange]. What lictor sets itself, and what
// speaks of the client's connection only, does not go to the backend.
func (x *exchange) PassesUp(f *message.Field) bool {
	switch f.ID {
	case message.FieldHost, message.FieldContentLength, message.FieldExpect, message.FieldProxy,
		message.FieldXForwarded, message.FieldXForwardedFor, message.FieldXForwardedProto, message.FieldXForwardedHost,
		message.FieldXForwardedPort, message.FieldXForwardedPrefix, message.FieldXRealIP, message.FieldForwarded,
		message.FieldVia, message.FieldXRequestID, message.FieldTraceparent, message.FieldTracestate, message.FieldXConsumer, message.FieldXWASP, message.FieldAlias:
		return false
	}
	in, d := &x.in, x.decision
	if f.ID.HopByHop() || message.Listed(in.req.ConnectionNames, f.Name) || in.counted && hops.IsMaxForwards(f) {
		return false
	}
	if f.ID == message.FieldCookie && len(d.hideCookies) > 0 {
		return false // what is left of it is set anew
	}
	return x.passes(f)
}

// passes reports whether a field of the client's goes to the backend if it speaks
// neither of the connection nor of what lictor sets.
func (x *exchange) passes(f *message.Field) bool {
	in, d := &x.in, x.decision
	return !asksWhy(f.Name) && !d.hides(f.Name) && !d.owned(f.Name) && !d.edits.drops(f.Name, true) && (in.inside || !d.protected(f.Name))
}

// AppendUp implements [upstream.Exchange].
func (x *exchange) AppendUp(dst []byte, stripped bool) []byte {
	prefix := ""
	if stripped {
		prefix = x.decision.prefix
	}
	dst = x.decision.edits.appendTo(dst, true)
	for _, f := range x.decision.granted {
		dst = message.AppendField(dst, f.Name, f.Value)
	}
	dst = x.decision.appendClaims(x.decision.appendIdentity(dst))
	dst = x.appendCookies(dst)
	dst = x.in.appendForwarded(dst, prefix, x.gw.mark)
	return x.in.appendTrace(dst, max(1, x.outcome.Tries), x.tracePasses())
}

// tracePasses reports whether the backend may know the trace that the client names.
func (x *exchange) tracePasses() bool {
	f := x.in.traceparent()
	return f != nil && !message.Listed(x.in.req.ConnectionNames, f.Name) && x.passes(f)
}

// PassesDown implements [upstream.Exchange].
func (x *exchange) PassesDown(f *message.Field, connection []string) bool {
	in, d := &x.in, x.decision
	switch f.ID {
	case message.FieldContentLength:
		return false
	case message.FieldXConsumer, message.FieldXWASP, message.FieldAlias:
		return in.inside
	}
	if f.ID.HopByHop() || message.Listed(connection, f.Name) || x.tells(f.Name) {
		return false
	}
	x.relocate(f)
	return !d.edits.drops(f.Name, false) && (in.inside || !d.protected(f.Name))
}

// tells reports whether lictor itself tells clients what a field of an answer says,
// here or in appendOwn: the service's is dropped, from its trailers as well.
func (x *exchange) tells(name string) bool {
	d := x.decision
	return d.replaces(name) || d.tellsLimits() && isRateLimit(name) || x.in.tellsHSTS() && field.Same(name, hstsName)
}

// AppendDown implements [upstream.Exchange].
func (x *exchange) AppendDown(dst []byte) []byte {
	return x.decision.edits.appendTo(x.appendHSTS(x.appendOwn(dst), x.decision.edits), false)
}

const hstsName = "Strict-Transport-Security"

// tellsHSTS reports whether the gateway itself says that its hosts are to be
// reached by TLS alone: it is the end of TLS, and a second field would not be read
// (RFC 6797 8.1). By plain HTTP nobody may say it (7.2).
func (in *inbound) tellsHSTS() bool { return in.set.HSTS != "" && in.c != nil && in.c.Secure() }

// appendHSTS leaves it to middleware, where that has a word of its own in the answer.
func (x *exchange) appendHSTS(dst []byte, by *edits) []byte {
	if !x.in.tellsHSTS() || by.drops(hstsName, false) {
		return dst
	}
	return message.AppendField(dst, hstsName, x.in.set.HSTS)
}

// appendOwn appends what every answer, a refusal as well, says of the decision.
// What a service must not say in its stead, tells names.
func (x *exchange) appendOwn(dst []byte) []byte {
	return x.appendDecision(x.decision.appendCORS(x.decision.appendCookies(x.decision.appendLimits(dst))))
}

// KeepTrailer drops trailers that would not pass as header fields (D18).
func (g *Gateway) KeepTrailer(c *http1.Conn, f *message.Field, up bool) bool {
	x, ok := c.User.(*exchange)
	if !ok {
		return false
	}
	in, d := &x.in, x.decision
	switch f.ID {
	case message.FieldXConsumer, message.FieldXWASP, message.FieldAlias:
		return in.inside && !up
	}
	if up && (d.hides(f.Name) || d.owned(f.Name) || d.identifies(f.Name) || asksWhy(f.Name) || f.ID == message.FieldCookie && len(d.hideCookies) > 0) {
		return false
	}
	if !up && x.tells(f.Name) {
		return false
	}
	return !d.edits.drops(f.Name, up) && (in.inside || !d.protected(f.Name))
}

// isRateLimit reports whether a field tells of a rate limit: X-RateLimit-*,
// X-Rate-Limit-*, RateLimit, RateLimit-Policy, and the like. Retry-After is not
// among them: it also says when a service is back.
func isRateLimit(name string) bool {
	if field.HasPrefix(name, "X-") {
		name = name[2:]
	}
	for _, prefix := range [...]string{"RateLimit", "Rate-Limit"} {
		if field.HasPrefix(name, prefix) && (len(name) == len(prefix) || field.Same(name[len(prefix):len(prefix)+1], "-")) {
			return true
		}
	}
	return false
}

// anyName reports whether a header name is one of patterns. Every mark counts
// as a dash: CGI-style backends would not tell them apart.
func anyName(patterns []string, name string) bool {
	for _, p := range patterns {
		if matchName(p, name) {
			return true
		}
	}
	return false
}

func matchName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return field.HasPrefix(name, prefix)
	}
	return field.Same(pattern, name)
}
