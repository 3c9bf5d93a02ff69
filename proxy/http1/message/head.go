// Package message is the text of HTTP/1.x messages (RFC 9112): heads, fields and
// chunked bodies, read, checked and written. It knows no connection: who has bytes
// hands them in, and gets bytes to send.
//
// It is strict, for what two readers take differently smuggles. Heads are parsed in
// place: every string of one points into the bytes that it was read from.
package message

import (
	"cmp"
	"math"
	"strings"
)

// The largest number of fields in a head; a request with more is refused with 431.
const (
	MaxFields       = 256  // of a request, where nothing else is said
	MaxAnswerFields = 1024 // of an answer, and of its trailers
)

// maxConnectionNames bounds the names one message may list in Connection.
const maxConnectionNames = 32

// maxMethod is the length of the longest method that is understood.
const maxMethod = 32

// ParseError says why a message is refused. All values are shared and never change,
// so that a flood of bad messages allocates nothing.
type ParseError struct {
	Status int    // what a server answers: 400, 414, 431, 501 or 505; a bad answer of an upstream is a 502 whatever stands here
	Reason string // why, for the log
}

// Error returns the reason.
func (e *ParseError) Error() string { return e.Reason }

// The errors of a head that callers may want to tell apart.
var (
	ErrTLS          = &ParseError{400, "a TLS handshake on a plaintext port"}
	ErrHTTP2Preface = &ParseError{505, "an HTTP/2 preface"}
	ErrVersion      = &ParseError{505, "the HTTP version is not supported"}
	ErrTooManyField = &ParseError{431, "too many header fields"}
	ErrHeadTooLarge = &ParseError{431, "the head is too large"}
	ErrLineTooLong  = &ParseError{414, "the request line is too long"}
	ErrIncomplete   = &ParseError{400, "the head is incomplete"}
	ErrBareLF       = &ParseError{400, "a line ends without CR"}
)

var (
	errEmpty          = &ParseError{400, "an empty line instead of a first line"}
	errBareCR         = &ParseError{400, "CR without LF"}
	errNUL            = &ParseError{400, "NUL in the head"}
	errMethod         = &ParseError{400, "bad method"}
	errRequestLine    = &ParseError{400, "bad request line"}
	errTarget         = &ParseError{400, "bad request target"}
	errStatusLine     = &ParseError{400, "bad status line"}
	errFieldName      = &ParseError{400, "bad field name"}
	errFieldValue     = &ParseError{400, "control character in a field value"}
	errFold           = &ParseError{400, "a folded header line"}
	errContentLength  = &ParseError{400, "bad Content-Length"}
	errManyLengths    = &ParseError{400, "more than one Content-Length"}
	errManyCodings    = &ParseError{400, "more than one Transfer-Encoding"}
	errBothFramings   = &ParseError{400, "both Content-Length and Transfer-Encoding"}
	errCoding         = &ParseError{400, "bad Transfer-Encoding"}
	errUnknownCoding  = &ParseError{501, "unknown transfer coding"}
	errCodingInHTTP10 = &ParseError{400, "Transfer-Encoding in HTTP/1.0"}
	errConnection     = &ParseError{400, "too many names in Connection"}
	errHost           = &ParseError{400, "bad Host"}
	errManyHosts      = &ParseError{400, "more than one Host"}
	errNoHost         = &ParseError{400, "no Host"}
	errConnectBody    = &ParseError{400, "CONNECT with a body"}
)

// Framing says where the body of a message ends.
type Framing uint8

// The zero Framing is a message without a body.
const (
	NoBody     Framing = iota
	Length             // after ContentLength bytes, at least one
	Chunked            // at the end of the chunked coding
	UntilClose         // where the connection ends; responses only
)

// Head is what request and response heads share. It is meant for reuse: Parse
// starts afresh and keeps the capacity, so that in the steady state nothing is
// allocated. All strings point into the parsed buffer and live as long as that.
type Head struct {
	Fields          []Field  // in order, with the sender's case
	Len             int      // bytes of the head, the empty line included
	Minor           uint8    // HTTP/1.x: 0 or 1
	ContentLength   int64    // -1: none
	Chunked         bool     // Transfer-Encoding: chunked
	Close           bool     // the connection ends after this message, by what it says or by its version
	KeepAlive       bool     // Connection: keep-alive was said
	Upgrade         string   // the one Upgrade field, where Connection lists upgrade and the version is 1.1; else ""
	ConnectionNames []string // what else Connection lists: hop-by-hop by the sender's word, which may be a lie

	upgrades     int    // number of Upgrade fields
	upgrade      string // value of the first
	listsUpgrade bool   // Connection: upgrade
	saysClose    bool   // Connection: close
	lenient      bool   // what sloppy servers send is taken where its meaning is beyond doubt (responses)
	maxFields    int    // 0: MaxFields
}

// Get returns the value of the first field with that name, in whatever case,
// and how many there are.
func (h *Head) Get(name string) (value string, n int) {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].Name, name) {
			if n == 0 {
				value = h.Fields[i].Value
			}
			n++
		}
	}
	return value, n
}

// LimitFields sets the largest number of fields, for the messages to come; 0 is
// MaxFields.
func (h *Head) LimitFields(n int) { h.maxFields = n }

// Free lets go of the memory in which a parsed message lies. What it says of framing
// and connection stays, the names that Connection lists as copies.
func (h *Head) Free() {
	var listed []string // which trailers are held against
	for _, name := range h.ConnectionNames {
		listed = append(listed, strings.Clone(name))
	}
	h.Fields, h.ConnectionNames, h.Upgrade, h.upgrade = nil, listed, "", ""
}

// reset makes h ready for a message.
func (h *Head) reset() {
	fields, names, most := h.Fields[:0], h.ConnectionNames[:0], h.maxFields
	*h = Head{} // cleared in place: with values it would be built aside and copied
	h.Fields, h.ConnectionNames, h.maxFields, h.ContentLength = fields, names, most, -1
}

// wholeHead reports whether b ends like a head.
func wholeHead(b []byte) bool {
	return len(b) >= 4 && string(b[len(b)-4:]) == "\r\n\r\n"
}

// parseFields reads the field lines of b, a whole head, from p on, and settles
// what they say about framing and connection.
func (h *Head) parseFields(b []byte, p int) error {
	h.Len = len(b)
	most := cmp.Or(h.maxFields, MaxFields)
	for p < len(b)-2 {
		h.Fields = append(h.Fields, Field{}) // and parsed in place
		f := &h.Fields[len(h.Fields)-1]
		n, err := f.parse(b[p:], h.lenient)
		if err != nil {
			return err
		}
		if len(h.Fields) > most {
			return ErrTooManyField
		}
		p += n
		if f.ID != Other && f.ID <= lastActed {
			keep, err := h.act(f)
			if err != nil {
				return err
			}
			if !keep {
				h.Fields = h.Fields[:len(h.Fields)-1]
			}
		}
	}
	if p != len(b)-2 {
		return ErrIncomplete // b holds an empty line before its end
	}
	return h.settle()
}

// act notes what f says about framing and connection and reports whether f is
// to be kept.
func (h *Head) act(f *Field) (keep bool, err error) {
	switch f.ID {
	case FieldContentLength:
		n, digits := h.length(f.Value)
		f.Value = digits
		switch {
		case n < 0:
			return false, errContentLength
		case h.ContentLength < 0:
			h.ContentLength = n
		case h.lenient && n == h.ContentLength:
			return false, nil
		default:
			return false, errManyLengths
		}
	case FieldTransferEncoding:
		switch {
		case h.Chunked:
			return false, errManyCodings
		case EqualFold(f.Value, "chunked"):
			h.Chunked = true
		case h.lenient && EqualFold(f.Value, "identity"): // says nothing
			return false, nil
		case ValidFieldName(f.Value): // a token
			return false, errUnknownCoding
		default:
			return false, errCoding
		}
	case FieldConnection:
		return true, h.connection(f.Value)
	case FieldUpgrade:
		if h.upgrades++; h.upgrades == 1 {
			h.upgrade = f.Value
		}
	}
	return true, nil
}

// connection notes the members of one Connection field.
func (h *Head) connection(list string) error {
	for list != "" {
		var name string
		name, list = nextMember(list)
		switch {
		case name == "":
		case EqualFold(name, "close"):
			h.saysClose = true
		case EqualFold(name, "keep-alive"):
			h.KeepAlive = true
		case EqualFold(name, "upgrade"):
			h.listsUpgrade = true
		case len(h.ConnectionNames) == maxConnectionNames:
			return errConnection
		default:
			h.ConnectionNames = append(h.ConnectionNames, name)
		}
	}
	return nil
}

// settle draws the conclusions that need all fields. Of several Upgrade fields
// none counts: one of them might be the one that must not be passed on.
func (h *Head) settle() error {
	if h.Chunked && h.ContentLength >= 0 {
		return errBothFramings
	}
	if h.Chunked && h.Minor == 0 {
		return errCodingInHTTP10
	}
	h.Close = h.saysClose || h.Minor == 0 && !h.KeepAlive
	if h.listsUpgrade && h.upgrades == 1 && h.Minor == 1 {
		h.Upgrade = h.upgrade
	}
	return nil
}

// length reads a Content-Length field, -1 if it is none. It returns the number
// as it is sent on as well. In answers a list of equal numbers is one of them
// (RFC 9110 8.6).
func (h *Head) length(s string) (n int64, digits string) {
	if n, digits = parseLength(s); n >= 0 || !h.lenient {
		return n, digits
	}
	first, rest := nextMember(s)
	n, digits = parseLength(first)
	for rest != "" {
		var member string
		if member, rest = nextMember(rest); n >= 0 {
			if other, _ := parseLength(member); other != n {
				return -1, s
			}
		}
	}
	return n, digits
}

// parseLength reads a number of bytes, -1 if it is none or too large. Zeros
// before it mean nothing (RFC 9110 8.6), but some read an octal number there:
// so what is sent on, digits, has none.
func parseLength(s string) (n int64, digits string) {
	if s == "" {
		return -1, s
	}
	digits = s
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	if len(digits) > 19 {
		return -1, s
	}
	for i := range len(digits) {
		d := digits[i] - '0'
		if d > 9 || n > (math.MaxInt64-int64(d))/10 {
			return -1, s
		}
		n = n*10 + int64(d)
	}
	return n, digits
}
