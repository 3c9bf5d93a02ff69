package upstream

import (
	"strings"

	"lictor/proxy/http1/message"
)

// hashKey is what the balance "hash" goes by: hash_on, or the client's address
// where the request does not have it.
func (q *Request) hashKey() uint64 {
	kind, name, _ := strings.Cut(q.Settings.HashOn, ":")
	switch kind {
	case "header":
		if v, n := q.Head.Get(name); n > 0 {
			return stringHash(v)
		}
	case "consumer":
		if who := q.permit.Identity(); who != nil {
			return stringHash(who.ID)
		}
	case "cookie":
		if v, ok := cookie(q.Head, name); ok {
			return stringHash(v)
		}
	}
	a := q.Client.As16()
	return stringHash(string(a[:]))
}

// cookie returns the first cookie called name.
func cookie(req *message.RequestHead, name string) (string, bool) {
	for i := range req.Fields {
		f := &req.Fields[i]
		if f.ID != message.FieldCookie {
			continue
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			k, v, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && k == name {
				return v, true
			}
		}
	}
	return "", false
}
