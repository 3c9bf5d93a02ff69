package gateway

import (
	"strconv"
	"strings"

	"lictor/internal/trace"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1/message"
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
	dst = in.appendClient(dst)
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
	return dst
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
			if f := &in.req.Fields[i]; f.ID == message.FieldXForwardedPrefix {
				before = strings.TrimRight(f.Value, "/")
			}
		}
	}
	return before
}

// appendVia appends the received Via fields, each with its comma.
func (in *inbound) appendVia(dst []byte) []byte {
	for i := range in.req.Fields {
		if f := &in.req.Fields[i]; f.ID == message.FieldVia && f.Value != "" {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// appendTrace appends where the request stands in its trace (W3C Trace Context): its
// parent is the span n of lictor's, or, where lictor has none, the client's own word.
// passes says that the client's may go on; else a trace begins here.
func (in *inbound) appendTrace(dst []byte, n int, passes bool) []byte {
	dst = append(dst, "traceparent: "...)
	switch passes = passes && in.goesOn; {
	case in.traced || !in.goesOn:
		dst = in.place.AppendParent(dst, n)
	case passes:
		dst = append(dst, in.traceparent().Value...)
	default:
		var fresh trace.Place
		fresh.Begin(trace.Share{})
		dst = fresh.AppendParent(dst, n)
	}
	dst = append(dst, "\r\n"...)
	if passes {
		dst = answer.AppendState(dst, in.req.Fields)
	}
	return dst
}

// traceparent is the field of that name, nil if there is none.
func (in *inbound) traceparent() *message.Field {
	for i := range in.req.Fields {
		if f := &in.req.Fields[i]; f.ID == message.FieldTraceparent {
			return f
		}
	}
	return nil
}
