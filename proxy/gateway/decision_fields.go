package gateway

import (
	"slices"
	"strconv"
	"strings"

	"lictor/proxy/http1/message"
)

// appendIdentity appends who the consumer is (C24).
func (d *decision) appendIdentity(dst []byte) []byte {
	who := d.verdict.Identity
	if who == nil {
		return dst
	}
	dst = message.AppendField(dst, "X-Consumer-ID", who.ID)
	dst = message.AppendField(dst, "X-Consumer-Username", who.Name)
	if who.CustomID != "" {
		dst = message.AppendField(dst, "X-Consumer-Custom-ID", who.CustomID)
	}
	if who.GroupsText != "" {
		dst = message.AppendField(dst, "X-Consumer-Groups", who.GroupsText)
	}
	return dst
}

// appendClaims appends the fields that are made of claims (P2).
func (d *decision) appendClaims(dst []byte) []byte {
	for i := range d.claims {
		if c := &d.claims[i]; c.Value != "" {
			dst = message.AppendField(dst, c.Name, c.Value)
		}
	}
	return dst
}

// appendCookies appends the cookies of the client but those that the backend must
// not see, if there are such: a field that holds one does not pass as it came.
func (x *exchange) appendCookies(dst []byte) []byte {
	hide := x.decision.hideCookies
	if len(hide) == 0 {
		return dst
	}
	begun := len(dst)
	for i := range x.in.req.Fields {
		f := &x.in.req.Fields[i]
		if f.ID != message.FieldCookie || message.Listed(x.in.req.ConnectionNames, f.Name) || !x.passes(f) {
			continue
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			pair = strings.Trim(pair, " \t")
			name, _, _ := strings.Cut(pair, "=")
			if pair == "" || slices.Contains(hide, name) {
				continue
			}
			if len(dst) == begun {
				dst = append(dst, "Cookie: "...)
			} else {
				dst = append(dst, "; "...)
			}
			dst = append(dst, pair...)
		}
	}
	if len(dst) > begun {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendLimits appends the state of the rate limit (C18), if there is one.
func (d *decision) appendLimits(dst []byte) []byte {
	l := &d.verdict.Limits
	all := l.All()
	if len(all) == 0 {
		return dst
	}
	for i := range all {
		w := &all[i]
		dst = appendNumber(dst, "X-RateLimit-Limit-", w.Window.Title(), w.Limit)
		dst = appendNumber(dst, "X-RateLimit-Remaining-", w.Window.Title(), w.Remaining)
	}
	dst = appendNumber(dst, "RateLimit-Limit", "", l.Tight.Limit)
	dst = appendNumber(dst, "RateLimit-Remaining", "", l.Tight.Remaining)
	reset := int(l.Tight.Reset.Seconds())
	dst = appendNumber(dst, "RateLimit-Reset", "", reset)
	if l.Refused {
		dst = appendNumber(dst, "Retry-After", "", reset)
	}
	return dst
}

func appendNumber(dst []byte, name, suffix string, n int) []byte {
	dst = append(dst, name...)
	dst = append(dst, suffix...)
	dst = append(dst, ": "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "\r\n"...)
}
