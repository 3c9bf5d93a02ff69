package gateway

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
)

// appendForwarded appends what tells the backend where the request came from
// (contract 4). From a trusted proxy it continues what that one said, from
// anybody else it begins anew. prefix is the segment that was stripped of the
// path, "" if none.
func (in *inbound) appendForwarded(dst []byte, prefix string, mark hops.Mark) []byte {
	proto, _ := in.scheme()
	host, port := in.req.Host, ""
	if in.trusted {
		proto, host, port = in.told()
	}

	dst = append(dst, "X-Forwarded-For: "...)
	dst = in.appendFor(dst)
	dst = append(dst, "\r\nX-Real-IP: "...)
	dst = in.client.AppendTo(dst)
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
		dst = strconv.AppendUint(dst, uint64(in.c.LocalAddr().Port()), 10)
	}
	dst = in.appendPrefix(dst, prefix)
	dst = append(dst, "\r\nForwarded: "...)
	dst = in.appendElements(dst, proto, host)
	dst = append(dst, "\r\nVia: "...)
	dst = in.appendVia(dst)
	dst = append(dst, in.c.Version()...)
	dst = append(dst, ' ')
	dst = append(dst, mark...)
	dst = append(dst, "\r\nX-Request-Id: "...)
	dst = append(dst, in.id...)
	dst = append(dst, "\r\n"...)
	if in.counted {
		dst = hops.AppendMaxForwards(dst, in.forwards)
	}
	return in.appendTrace(dst)
}

// appendPrefix appends X-Forwarded-Prefix: the segment that was stripped,
// behind what a trusted proxy stripped before.
func (in *inbound) appendPrefix(dst []byte, stripped string) []byte {
	before := in.prefixBefore()
	if stripped == "" && before == "" {
		return dst
	}
	dst = append(dst, "\r\nX-Forwarded-Prefix: "...)
	dst = append(dst, before...)
	if stripped != "" {
		dst = append(dst, '/')
		dst = append(dst, stripped...)
	}
	return dst
}

// prefixBefore is what a trusted proxy says that it stripped, "" if nothing.
func (in *inbound) prefixBefore() (before string) {
	if in.trusted {
		for i := range in.req.Fields {
			if f := &in.req.Fields[i]; f.ID == http1.FieldXForwardedPrefix {
				before = strings.TrimRight(f.Value, "/")
			}
		}
	}
	return before
}

// appendVia appends the received Via fields, each with its comma.
func (in *inbound) appendVia(dst []byte) []byte {
	for i := range in.req.Fields {
		if f := &in.req.Fields[i]; f.ID == http1.FieldVia && f.Value != "" {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// appendTrace appends a traceparent (W3C Trace Context) if the client sent
// none that is valid; a valid one was passed on with the other fields.
func (in *inbound) appendTrace(dst []byte) []byte {
	for i := range in.req.Fields {
		if in.req.Fields[i].ID == http1.FieldTraceparent {
			return dst
		}
	}
	dst = append(dst, "traceparent: 00-"...)
	dst = answer.AppendHex(dst, rand.Uint64()|1, rand.Uint64())
	dst = append(dst, '-')
	dst = answer.AppendHex(dst, rand.Uint64()|1)
	return append(dst, "-00\r\n"...)
}
