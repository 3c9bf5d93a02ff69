package hops

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"lictor/proxy/http1/message"
)

// maxForwards is the field by which a client says how many proxies may pass a
// request on (RFC 9110 7.6.2).
const maxForwards = "Max-Forwards"

// MaxForwards returns how many more may pass the request on; not ok if nobody
// counts: the field is there for TRACE and OPTIONS only. What is no number is
// no limit, and of several the least counts.
func MaxForwards(req *message.RequestHead) (n uint64, ok bool) {
	if req.Method != "TRACE" && req.Method != "OPTIONS" {
		return 0, false
	}
	n = math.MaxUint64
	for i := range req.Fields {
		f := &req.Fields[i]
		if f.ID != message.Other || !IsMaxForwards(f) || f.Value == "" || strings.Trim(f.Value, "0123456789") != "" {
			continue
		}
		v, err := strconv.ParseUint(f.Value, 10, 64)
		if err != nil { // a number, but a large one
			v = math.MaxUint64
		}
		n, ok = min(n, v), true
	}
	return n, ok
}

// IsMaxForwards reports whether a field is the one that [MaxForwards] read.
func IsMaxForwards(f *message.Field) bool {
	return len(f.Name) == len(maxForwards) && message.EqualFold(f.Name, maxForwards)
}

// AppendMaxForwards appends the field for whoever comes next.
func AppendMaxForwards(dst []byte, n uint64) []byte {
	dst = append(dst, maxForwards+": "...)
	return append(strconv.AppendUint(dst, n-1, 10), "\r\n"...)
}

// FinalAnswer returns the answer to a request that may not be passed on any
// more, without its end of fields, and the body. To TRACE that is the request as
// it came, but for what may be a secret (RFC 9110 9.3.8). OPTIONS has nothing to
// say, for what is allowed behind lictor is not known here.
func FinalAnswer(dst []byte, req *message.RequestHead, minor uint8) (head, body []byte) {
	dst = message.AppendStatusLine(dst, 200)
	if req.Method == "TRACE" {
		body = appendTraced(nil, req, minor)
		dst = append(dst, "Content-Type: message/http\r\n"...)
	}
	return message.AppendLength(dst, int64(len(body))), body
}

func appendTraced(dst []byte, req *message.RequestHead, minor uint8) []byte {
	dst = append(append(dst, req.Method...), ' ')
	target, _, _ := strings.Cut(req.Target, "?") // the query may hold a key
	dst = append(append(dst, target...), " HTTP/1."...)
	dst = append(dst, '0'+minor, '\r', '\n')
	for i := range req.Fields {
		if f := &req.Fields[i]; !secretive(f) {
			dst = message.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}

// secretive reports whether a field may hold a secret, as far as its name tells.
func secretive(f *message.Field) bool {
	switch f.ID {
	case message.FieldAuthorization, message.FieldProxyAuthorization, message.FieldCookie:
		return true
	}
	name := strings.ToLower(f.Name)
	return slices.ContainsFunc(secrets, func(part string) bool { return strings.Contains(name, part) })
}

// secrets are parts of the names of fields that hold one.
var secrets = []string{"key", "auth", "token", "secret", "cookie", "pass", "session", "cred", "signature"}
