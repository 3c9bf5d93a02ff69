package message

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"lictor/internal/field"
)

// FieldID identifies the field names that lictor acts on; its zero value is any other.
type FieldID uint8

// The field names that are known.
const (
	Other FieldID = iota

	FieldContentLength
	FieldTransferEncoding
	FieldConnection
	FieldUpgrade
	FieldHost
	FieldExpect
	FieldTE

	// The rest of those that are about one connection or protect something.
	FieldKeepAlive
	FieldProxyConnection
	FieldTrailer
	FieldProxy
	FieldProxyAuthenticate
	FieldProxyAuthorization
	FieldForwarded
	FieldVia
	FieldXForwarded // any X-Forwarded-* but the next ones
	FieldXForwardedFor
	FieldXForwardedProto
	FieldXForwardedHost
	FieldXForwardedPort
	FieldXForwardedPrefix
	FieldXRealIP
	FieldXRequestID
	FieldTraceparent
	FieldTracestate
	FieldXConsumer // any X-Consumer-*
	FieldXWASP     // any X-WASP-*

	// FieldAlias is a name that a CGI-style backend would take for one of those
	// above, because it has another character, such as '_', in place of a '-'.
	FieldAlias

	FieldDate
	FieldServer
	FieldContentType
	FieldContentEncoding
	FieldAuthorization
	FieldCookie
	FieldSetCookie
	FieldUserAgent
	FieldReferer
	FieldAccept
)

// lastActed is the last of those that the parser itself acts on.
const lastActed = FieldTE

// Field is one header or trailer field. Its zero value is no field.
type Field struct {
	Name  string  // in the sender's case
	Value string  // without the blanks around it
	ID    FieldID // of Name
}

// parse reads the field line at the start of b, which must hold its end, into f and
// returns its length. In an answer blanks may stand before the colon: they are taken
// out (RFC 9112 5.1).
func (f *Field) parse(b []byte, lenient bool) (n int, err error) {
	var seen uint8
	i := 0
	for ; i < len(b); i++ {
		c := classes[b[i]]
		if c&isToken == 0 {
			break
		}
		seen |= c
	}
	name := i
	if lenient && i > 0 {
		for i < len(b) && isBlank(b[i]) {
			i++
		}
	}
	if i == 0 || i >= len(b) || b[i] != ':' {
		if i == 0 && len(b) > 0 && isBlank(b[0]) {
			return 0, errFold
		}
		return 0, errFieldName
	}
	f.Name = view(b[:name])
	b = b[i+1:]
	j := bytes.IndexByte(b, '\n')
	if j < 1 || b[j-1] != '\r' {
		return 0, ErrBareLF
	}
	f.Value = trim(view(b[:j-1]))
	if !ValidFieldValue(f.Value) {
		return 0, errFieldValue
	}
	f.ID = fieldID(f.Name)
	if f.ID == Other && seen&isOddMark != 0 {
		f.ID = aliasID(f.Name)
	}
	return i + 1 + j + 1, nil
}

// view returns b as a string without a copy; it is valid as long as b is not written to.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// IDOf returns the id of a field name, FieldAlias included.
func IDOf(name string) FieldID {
	if id := fieldID(name); id != Other {
		return id
	}
	return aliasID(name)
}

// aliasID returns FieldAlias if name is known once every mark in it is read as
// '-', else Other.
func aliasID(name string) FieldID {
	if id := meantID(name); id != Other && id < FieldAlias {
		return FieldAlias
	}
	return Other
}

// meantID returns the id of name once every mark in it is read as '-'.
func meantID(name string) FieldID {
	var buf [32]byte // longer than any known name; for the families the beginning is enough
	n := copy(buf[:], name)
	for i, c := range buf[:n] {
		if classes[c]&isOddMark != 0 {
			buf[i] = '-'
		}
	}
	return fieldID(string(buf[:n]))
}

// fieldID returns the id of a name.
func fieldID(name string) FieldID {
	if id := FieldID(known.Find(unsafe.Slice(unsafe.StringData(name), len(name)))); id != Other {
		return id
	}
	return familyID(name)
}

// familyID returns the id of a name that is known by its beginning.
func familyID(name string) FieldID {
	switch {
	case len(name) < 7 || name[0]|0x20 != 'x':
		return Other
	case EqualFold(name[:7], "x-wasp-"):
		return FieldXWASP
	case len(name) >= 11 && EqualFold(name[:11], "x-consumer-"):
		return FieldXConsumer
	case len(name) >= 12 && EqualFold(name[:12], "x-forwarded-"):
		return FieldXForwarded
	}
	return Other
}

// knownNames are the names that are known as a whole.
var knownNames = map[string]FieldID{
	"accept":              FieldAccept,
	"authorization":       FieldAuthorization,
	"connection":          FieldConnection,
	"content-encoding":    FieldContentEncoding,
	"content-length":      FieldContentLength,
	"content-type":        FieldContentType,
	"cookie":              FieldCookie,
	"date":                FieldDate,
	"expect":              FieldExpect,
	"forwarded":           FieldForwarded,
	"host":                FieldHost,
	"keep-alive":          FieldKeepAlive,
	"proxy":               FieldProxy,
	"proxy-authenticate":  FieldProxyAuthenticate,
	"proxy-authorization": FieldProxyAuthorization,
	"proxy-connection":    FieldProxyConnection,
	"referer":             FieldReferer,
	"server":              FieldServer,
	"set-cookie":          FieldSetCookie,
	"te":                  FieldTE,
	"traceparent":         FieldTraceparent,
	"tracestate":          FieldTracestate,
	"trailer":             FieldTrailer,
	"transfer-encoding":   FieldTransferEncoding,
	"upgrade":             FieldUpgrade,
	"user-agent":          FieldUserAgent,
	"via":                 FieldVia,
	"x-forwarded-for":     FieldXForwardedFor,
	"x-forwarded-host":    FieldXForwardedHost,
	"x-forwarded-port":    FieldXForwardedPort,
	"x-forwarded-prefix":  FieldXForwardedPrefix,
	"x-forwarded-proto":   FieldXForwardedProto,
	"x-real-ip":           FieldXRealIP,
	"x-request-id":        FieldXRequestID,
}

var known = field.NewTable(knownNames)

// ValidFieldName reports whether name is a token.
func ValidFieldName(name string) bool {
	for i := range len(name) {
		if classes[name[i]]&isToken == 0 {
			return false
		}
	}
	return name != ""
}

// ValidFieldValue reports whether value holds no control character but HTAB.
func ValidFieldValue(value string) bool {
	b := unsafe.Slice(unsafe.StringData(value), len(value))
	last := len(b) - 8
	if last < 0 {
		return validBytes(b)
	}
	for at := 0; ; at = min(at+8, last) {
		const ones = 0x0101010101010101
		w := binary.LittleEndian.Uint64(b[at:])
		d := w ^ 0x7f*ones // zero where DEL is
		// The high bit of some byte is set if one is below 0x20 or DEL.
		if ((w-0x20*ones)&^w|(d-ones)&^d)&(0x80*ones) != 0 && !validBytes(b[at:at+8]) {
			return false
		}
		if at == last {
			return true
		}
	}
}

func validBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// EqualFold reports whether a and b are equal but for the case of ASCII letters.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// HasToken reports whether the comma-separated list value has the member token, in whatever case.
func HasToken(value, token string) bool {
	for value != "" {
		var member string
		if member, value = nextMember(value); EqualFold(member, token) {
			return true
		}
	}
	return false
}

// nextMember cuts the first member off a comma-separated list.
func nextMember(list string) (member, rest string) {
	for i := range len(list) {
		if list[i] == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), ""
}

// trim removes blanks around s.
func trim(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// What a byte may be part of.
const (
	isToken   = 1 << iota // tchar of RFC 9110 5.6.2
	isHost                // registered name: letters, digits, -._~
	isOddMark             // tchar that is neither letter nor digit nor '-'
	isHex
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			t[c] = isToken | isHost | isHex
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			t[c] = isToken | isHost
		}
	}
	for _, c := range "!#$%&'*+.^_`|~" {
		t[c] = isToken | isOddMark
	}
	t['-'] = isToken | isHost
	for _, c := range "._~" {
		t[c] |= isHost
	}
	return t
}()
