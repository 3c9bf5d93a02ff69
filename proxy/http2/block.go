package http2

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"

	"golang.org/x/net/http2/hpack"

	"lictor/proxy/http1/message"
)

// block is a header block that is being decoded: the head of a request, which
// becomes the text of HTTP/1.1 as it comes, or trailers. Fields that the text
// must not carry make it malformed; the rest is left to the parser of HTTP/1.1.
type block struct {
	open     bool    // its end did not come yet
	st       *stream // what it belongs to; nil: it is decoded for the compression's sake only
	trailers bool
	ended    bool // nothing follows it
	size     int  // bytes of it, as they came
	frames   int

	text      []byte
	limit     int  // of text
	begun     bool // the request line is written
	malformed string

	method, path, scheme, authority, protocol, host string

	hosted  bool // there is a Host, which may say nothing
	cookies []byte
	length  int64 // Content-Length, -1 if there is none
}

// begin makes b ready for a new block.
func (b *block) begin(st *stream, trailers, ended bool, text []byte, limit int) {
	*b = block{open: true, st: st, trailers: trailers, ended: ended, text: text, limit: limit, begun: trailers, cookies: b.cookies[:0], length: -1}
}

// over reports whether the head is larger than it may be.
func (b *block) over() bool { return len(b.text)+len(b.cookies) > b.limit }

func (b *block) wrong(text string) {
	if b.malformed == "" {
		b.malformed = text
	}
}

// field takes a decoded field. It is called by the decoder.
func (b *block) field(f hpack.HeaderField) {
	switch {
	case b.st == nil || b.malformed != "" || b.over():
	case f.IsPseudo():
		b.pseudo(f.Name, f.Value)
	case !plainName(f.Name):
		b.wrong("bad field name")
	case !plainValue(f.Value):
		b.wrong("bad field value")
	default:
		b.regular(f.Name, f.Value)
	}
}

func (b *block) pseudo(name, value string) {
	var dst *string
	switch name {
	case ":method":
		dst = &b.method
	case ":path":
		dst = &b.path
	case ":scheme":
		dst = &b.scheme
	case ":authority":
		dst = &b.authority
	case ":protocol":
		dst = &b.protocol
	}
	switch {
	case dst == nil || b.begun:
		b.wrong("unknown or late pseudo-header")
	case *dst != "":
		b.wrong("a pseudo-header came twice")
	case value == "":
		b.wrong("an empty pseudo-header")
	default:
		*dst = value
	}
}

// regular takes a field whose name and value are safe as text.
func (b *block) regular(name, value string) {
	if !b.begun {
		b.requestLine()
	}
	if message.ConnectionSpecific(name) {
		b.wrong("a field of the connection")
		return
	}
	switch name {
	case "te":
		if value != "trailers" {
			b.wrong("TE other than trailers")
		}
	case "host":
		if b.trailers || b.hosted {
			b.wrong("Host came twice")
		}
		b.host, b.hosted = value, true
		return
	case "content-length":
		b.contentLength(value)
		return // it is written when it is known whether it is true
	case "cookie":
		if len(b.cookies) > 0 {
			b.cookies = append(b.cookies, "; "...) // RFC 9113 8.2.3
		}
		b.cookies = append(b.cookies, value...)
		return
	}
	b.text = message.AppendField(b.text, name, value)
}

func (b *block) contentLength(s string) {
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil || b.length >= 0 || b.trailers || s[0] == '+' {
		b.wrong("bad Content-Length")
		return
	}
	b.length = int64(n)
}

// requestLine writes the request line once all pseudo-headers are there.
func (b *block) requestLine() {
	b.begun = true
	method := b.method
	switch {
	case !token(method):
		b.wrong("bad :method")
	case method == "CONNECT" && b.protocol == "":
		if b.path != "" || b.scheme != "" || b.authority == "" {
			b.wrong("bad CONNECT") // RFC 9113 8.5
		}
		b.path = b.authority
	case b.protocol != "" && (method != "CONNECT" || !token(b.protocol)):
		b.wrong("bad :protocol")
	case b.scheme == "" || !token(b.scheme):
		b.wrong("bad :scheme")
	case b.path == "" || b.path[0] != '/' && (b.path != "*" || method != "OPTIONS"):
		b.wrong("bad :path")
	}
	if !plainPath(b.path) || b.authority != "" && !message.ValidHost(b.authority) {
		b.wrong("bad :path or :authority")
	}
	if b.malformed != "" {
		return
	}
	if b.protocol != "" {
		method = "GET" // what RFC 8441 made of it is turned back
	}
	b.text = append(b.text, method...)
	b.text = append(b.text, ' ')
	b.text = append(b.text, b.path...)
	b.text = append(b.text, " HTTP/1.1\r\n"...)
}

// finish completes the head but for what tells how the body is framed.
func (b *block) finish() {
	if !b.begun {
		b.requestLine()
	}
	switch {
	case b.malformed != "":
		return
	case b.over(): // without its end the parser finds it too large
		b.text = append(b.text, b.cookies...)
		return
	case b.authority == "":
		b.authority = b.host
	case b.hosted && !message.EqualFold(b.host, b.authority):
		b.wrong("Host is not :authority")
		return
	}
	if b.ended && b.length > 0 {
		b.wrong("a body was told and none follows")
		return
	}
	if b.authority != "" {
		b.text = message.AppendField(b.text, "host", b.authority)
	}
	if len(b.cookies) > 0 {
		b.text = append(append(append(b.text, "cookie: "...), b.cookies...), "\r\n"...)
	}
	if b.protocol != "" {
		b.text = append(b.text, "connection: upgrade\r\n"...)
		b.text = message.AppendField(b.text, "upgrade", b.protocol)
		if b.protocol == "websocket" {
			b.text = message.AppendField(b.text, "sec-websocket-key", websocketKey())
		}
	}
}

// websocketKey is what a WebSocket handshake of HTTP/1.1 must have. Its answer
// is the backend's proof that it understands; HTTP/2 needs none.
func websocketKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// plainName reports whether s is a field name of HTTP/2: a token without
// capitals.
func plainName(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return message.ValidFieldName(s)
}

// plainValue reports whether s is a field value without blanks around it.
func plainValue(s string) bool {
	if s == "" {
		return true
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && message.ValidFieldValue(s)
}

func plainPath(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func token(s string) bool { return message.ValidFieldName(s) }
