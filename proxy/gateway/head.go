package gateway

import (
	"strconv"
	"strings"

	"lictor/proxy/hops"
	"lictor/proxy/http1"
)

// pathOf is the origin-form part of a request target: absolute-form (RFC 9112
// 3.2.2) is read as its path; the authority has become Host already.
func pathOf(req *http1.RequestHead) string {
	t := req.Target
	if t == "" || t[0] == '/' {
		return t
	}
	_, after, ok := strings.Cut(t, "://")
	if !ok {
		return t // "*" or an authority: not a path
	}
	i := strings.IndexAny(after, "/?")
	switch {
	case i < 0:
		return "/"
	case after[i] == '?':
		return "/" + after[i:]
	}
	return after[i:]
}

// upgradeOf is the protocol that the request asks to switch to. h2c is never
// passed on: a backend that agrees would be spoken to behind our back (D20).
// Nor is an upgrade that comes by HTTP/1.0.
func upgradeOf(req *http1.RequestHead) string {
	if req.Upgrade == "" || req.Minor == 0 {
		return ""
	}
	for p := range strings.SplitSeq(req.Upgrade, ",") {
		name, _, _ := strings.Cut(strings.Trim(p, " \t"), "/")
		if http1.EqualFold(name, "h2c") || http1.EqualFold(name, "h2") {
			return ""
		}
	}
	return req.Upgrade
}

// appendRequest builds the request head as it goes to m.
func (x *exchange) appendRequest(dst []byte, m *member, r *roster) []byte {
	req := x.req
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, m.inst.BasePath...)
	dst = append(dst, x.target...)
	if x.path.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, x.query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	host := req.Host
	if r.service.Options.UpstreamHost || host == "" {
		host = m.inst.Address
	}
	dst = http1.AppendField(dst, "Host", host)
	for i := range req.Fields {
		if f := &req.Fields[i]; x.passesUp(f) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	dst = x.appendEdits(dst, true)
	dst = x.appendFraming(dst)
	dst = x.appendIdentity(dst)
	dst = x.appendForwarded(dst)
	return append(dst, "\r\n"...)
}

// passesUp reports whether a field of the request goes to the backend as it
// is. What lictor sets itself, and what speaks of this connection only, does not.
func (x *exchange) passesUp(f *http1.Field) bool {
	switch f.ID {
	case http1.FieldHost, http1.FieldContentLength, http1.FieldExpect, http1.FieldProxy,
		http1.FieldXForwarded, http1.FieldXForwardedFor, http1.FieldXForwardedProto, http1.FieldXForwardedHost,
		http1.FieldXForwardedPort, http1.FieldXForwardedPrefix, http1.FieldXRealIP, http1.FieldForwarded,
		http1.FieldVia, http1.FieldXRequestID, http1.FieldXConsumer, http1.FieldXWASP, http1.FieldAlias:
		return false
	}
	if f.ID.HopByHop() || http1.Listed(x.req.ConnectionNames, f.Name) || x.counted && hops.IsMaxForwards(f) {
		return false
	}
	return !asksWhy(f.Name) && !x.hides(f.Name) && !x.edits.drops(f.Name, true) && (x.inside || !x.protected(f.Name))
}

// protected reports whether a header belongs to the inside, for this gateway
// or this API (D18).
func (x *exchange) protected(name string) bool {
	return anyName(x.set.ProtectedHeaders, name) || anyName(x.ruling.route.Protected, name)
}

// appendFraming appends the fields that say how the body is framed and what
// the connection is to become. They are made from what was parsed, never copied.
func (x *exchange) appendFraming(dst []byte) []byte {
	req := x.req
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
	if req.Expect100 && req.Minor > 0 && x.c.HasBody() {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	switch {
	case x.upgrade != "":
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = http1.AppendField(dst, "Upgrade", x.upgrade)
	case req.TETrailers:
		dst = append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return dst
}

// appendForwarded appends what tells the backend where the request came from
// (contract 4). From a trusted proxy it continues what that one said, from
// anybody else it begins anew.
func (x *exchange) appendForwarded(dst []byte) []byte {
	proto, _ := x.scheme()
	host, port := x.req.Host, ""
	if x.trusted {
		proto, host, port = x.told()
	}

	dst = append(dst, "X-Forwarded-For: "...)
	dst = x.appendFor(dst)
	dst = append(dst, "\r\nX-Real-IP: "...)
	dst = x.client.AppendTo(dst)
	dst = append(dst, "\r\nX-Forwarded-Proto: "...)
	dst = append(dst, proto...)
	if host != "" {
		dst = append(dst, "\r\nX-Forwarded-Host: "...)
		dst = append(dst, host...)
	}
	dst = append(dst, "\r\nX-Forwarded-Port: "...)
	if port != "" {
		dst = append(dst, port...)
	} else {
		dst = strconv.AppendUint(dst, uint64(x.c.LocalAddr().Port()), 10)
	}
	dst = x.appendPrefix(dst)
	dst = append(dst, "\r\nForwarded: "...)
	dst = x.appendElements(dst, proto, host)
	dst = append(dst, "\r\nVia: "...)
	dst = x.appendVia(dst)
	dst = append(dst, x.c.Version()...)
	dst = append(dst, ' ')
	dst = append(dst, x.gw.mark...)
	dst = append(dst, "\r\nX-Request-Id: "...)
	dst = append(dst, x.id...)
	dst = append(dst, "\r\n"...)
	if x.counted {
		dst = hops.AppendMaxForwards(dst, x.forwards)
	}
	return x.appendTrace(dst)
}

// appendPrefix appends X-Forwarded-Prefix: the segment that was stripped,
// behind what a trusted proxy stripped before.
func (x *exchange) appendPrefix(dst []byte) []byte {
	before := ""
	if x.trusted {
		for i := range x.req.Fields {
			if f := &x.req.Fields[i]; f.ID == http1.FieldXForwardedPrefix {
				before = strings.TrimRight(f.Value, "/")
			}
		}
	}
	if x.prefix == "" && before == "" {
		return dst
	}
	dst = append(dst, "\r\nX-Forwarded-Prefix: "...)
	dst = append(dst, before...)
	if x.prefix != "" {
		dst = append(dst, '/')
		dst = append(dst, x.prefix...)
	}
	return dst
}

// appendVia appends the received Via fields, each with its comma.
func (x *exchange) appendVia(dst []byte) []byte {
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; f.ID == http1.FieldVia && f.Value != "" {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// appendResponse builds the head of m's answer as the client gets it.
func (x *exchange) appendResponse(dst []byte) []byte {
	resp := x.c.Response()
	dst = http1.AppendStatusLine(dst, resp.Status)
	framing := resp.Framing(x.req.Method)
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
		if x.passesDown(f, resp.ConnectionNames) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	if !dated {
		dst = http1.AppendDate(dst)
	}
	dst = x.appendLimits(dst)
	dst = x.appendDecision(dst)
	dst = x.appendEdits(dst, false)
	if resp.Status == 101 {
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = http1.AppendField(dst, "Upgrade", resp.Upgrade)
	} else {
		dst = x.c.AppendConnection(dst)
	}
	return append(dst, "\r\n"...)
}

// passesDown reports whether a field of the answer goes to the client.
func (x *exchange) passesDown(f *http1.Field, connection []string) bool {
	switch f.ID {
	case http1.FieldContentLength:
		return false
	case http1.FieldXConsumer, http1.FieldXWASP, http1.FieldAlias:
		return x.inside
	}
	if f.ID.HopByHop() || http1.Listed(connection, f.Name) {
		return false
	}
	return !x.edits.drops(f.Name, false) && (x.inside || !x.protected(f.Name)) && !(x.limits() && isRateLimit(f.Name))
}

// appendInterim builds the head of a 1xx answer.
func (x *exchange) appendInterim(dst []byte, resp *http1.ResponseHead) []byte {
	dst = http1.AppendStatusLine(dst, resp.Status)
	for i := range resp.Fields {
		if f := &resp.Fields[i]; x.passesDown(f, resp.ConnectionNames) {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}
