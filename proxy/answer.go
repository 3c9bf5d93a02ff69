package proxy

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"lictor/proxy/http1"
)

// refuse answers the request with r (X5). It is the only place where the
// gateway answers by itself; it returns false, for the caller to pass on.
func (x *exchange) refuse(r refusal) bool {
	x.status, x.reason = r.status, r.reason
	x.c.SettleBody()
	body := make([]byte, 0, 160)
	body = append(body, `{"message": `...)
	body = appendJSON(body, r.message)
	body = append(body, `, "reason": "`...)
	body = append(body, r.reason...)
	body = append(body, `", "request_id": "`...)
	body = append(body, x.id...)
	body = append(body, "\"}\n"...)

	dst := http1.AppendStatusLine(x.c.Scratch(), r.status)
	bodyless := r.status == 204 || r.status == 304 // as a middleware may want it
	if !bodyless {
		if r.reason != Middleware || !x.edits.drops("Content-Type", false) {
			dst = append(dst, "Content-Type: application/json; charset=utf-8\r\n"...)
		}
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
		dst = append(dst, "\r\n"...)
	}
	if r.reason == Middleware {
		dst = x.appendEdits(dst, false)
	}
	switch {
	case r.retryAfter():
		dst = append(dst, "Retry-After: 1\r\n"...)
	case r.challenge != "":
		dst = http1.AppendField(dst, "WWW-Authenticate", r.challenge)
	}
	dst = x.appendLimits(dst)
	dst = x.appendDecision(dst)
	dst = appendDate(dst)
	dst = x.c.AppendPersistence(dst)
	dst = append(dst, "\r\n"...)
	if x.req.Method != "HEAD" && !bodyless {
		dst = append(dst, body...)
		x.bytesOut = int64(len(body))
	}
	if err := x.c.Answer(dst); err != nil {
		x.err = err
	}
	return false
}

// nameRequest gives the request its id: the one that a trusted proxy gave it,
// or a new one.
func (x *exchange) nameRequest() {
	if x.trusted {
		for i := range x.req.Fields {
			if f := &x.req.Fields[i]; f.ID == http1.FieldXRequestID && validID(f.Value) {
				x.id = f.Value
				return
			}
		}
	}
	appendHex(x.idBytes[:0], rand.Uint64(), rand.Uint64())
	x.id = unsafe.String(&x.idBytes[0], len(x.idBytes))
}

func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, words ...uint64) []byte {
	for _, w := range words {
		var text [16]byte
		for i := range text {
			text[i] = hexDigits[w>>(60-4*i)&15]
		}
		dst = append(dst, text[:]...)
	}
	return dst
}

// appendTrace appends a traceparent (W3C Trace Context) if the client sent
// none that is valid; a valid one was passed on with the other fields.
func (x *exchange) appendTrace(dst []byte) []byte {
	for i := range x.req.Fields {
		if x.req.Fields[i].ID == http1.FieldTraceparent {
			return dst
		}
	}
	dst = append(dst, "traceparent: 00-"...)
	dst = appendHex(dst, rand.Uint64()|1, rand.Uint64())
	dst = append(dst, '-')
	dst = appendHex(dst, rand.Uint64()|1)
	return append(dst, "-00\r\n"...)
}

// appendDate appends the Date field (RFC 9110 6.6.1), made once a second.
func appendDate(dst []byte) []byte {
	now := time.Now()
	d := dates.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{second: now.Unix()}
		d.line = now.UTC().AppendFormat(nil, "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")
		dates.Store(d)
	}
	return append(dst, d.line...)
}

type date struct {
	second int64
	line   []byte
}

var dates atomic.Pointer[date]

// plain reports whether s stands in JSON as it is, as nearly everything does.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// runeAt is the character that s begins with; what is no UTF-8 is none that can
// be printed.
func runeAt(s string) rune {
	r, n := utf8.DecodeRuneInString(s)
	if n < 2 {
		return -1
	}
	return r
}

// appendJSON appends s as a JSON string. What cannot be printed is escaped.
func appendJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s) {
		return append(append(dst, s...), '"')
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= utf8.RuneSelf && unicode.IsPrint(runeAt(s[i:])):
			n := utf8.RuneLen(runeAt(s[i:]))
			dst = append(dst, s[i:i+n]...)
			i += n - 1
		case c < 0x20 || c >= 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
