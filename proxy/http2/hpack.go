package http2

import (
	"bytes"
	"maps"
	"strconv"

	"lictor/internal/field"
	"lictor/proxy/http1/message"
)

// The header blocks that we write use the static table only: that costs the
// client some bytes, and neither side any memory or look-ups. So blocks can be
// made without a lock, in any order.

// staticNames are the names of RFC 7541 A with their index there.
var staticNames = map[string]uint8{
	"accept-charset": 15, "accept-encoding": 16, "accept-language": 17, "accept-ranges": 18, "accept": 19,
	"access-control-allow-origin": 20, "age": 21, "allow": 22, "authorization": 23, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": contentLength,
	"content-location": 29, "content-range": 30, "content-type": 31, "cookie": 32, "date": 33, "etag": 34,
	"expect": 35, "expires": 36, "from": 37, "host": 38, "if-match": 39, "if-modified-since": 40,
	"if-none-match": 41, "if-range": 42, "if-unmodified-since": 43, "last-modified": 44, "link": 45,
	"location": 46, "max-forwards": 47, "proxy-authenticate": 48, "proxy-authorization": 49, "range": 50,
	"referer": 51, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55,
	"strict-transport-security": 56, "user-agent": 58, "vary": 59, "via": 60,
	"www-authenticate": 61,
}

// names are those of staticNames and of all that is dropped.
var names = func() *field.Table {
	all := maps.Clone(staticNames)
	for _, name := range append(message.ConnectionNames(), "sec-websocket-accept") {
		all[name] = dropped
	}
	return field.NewTable(all)
}()

// What a name may be besides an index.
const (
	notStatic     = 0
	contentLength = 28
	dropped       = 0xff // it speaks of the connection (message.ConnectionSpecific), or of a handshake that HTTP/2 has none of
)

// staticStatus are the statuses that have an index of their own.
var staticStatus = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

// appendBlock appends the header block of an answer, whose text begins with its head.
// It returns the Content-Length, -1 if there is none, and how long the head is, -1 if
// that does not end.
func appendBlock(dst, text []byte, status int, connect bool) (block []byte, size int64, n int) {
	if connect && status == 101 {
		status = 200 // RFC 8441 5
	}
	if i, ok := staticStatus[status]; ok {
		dst = append(dst, 0x80|i)
	} else {
		dst = append(dst, 8) // the name of :status
		dst = appendString(dst, strconv.AppendInt(make([]byte, 0, 3), int64(status), 10))
	}
	size = -1
	line := bytes.IndexByte(text, '\n') + 1
	if dst, n = appendFields(dst, text[line:], &size); n >= 0 {
		n += line
	}
	return dst, size, n
}

// appendFields appends the field lines that text begins with, without those that speak
// of the connection, as literals that are not to be indexed. If size is not nil it is
// set to the Content-Length. It returns how long they are with the empty line behind
// them, -1 if there is none.
func appendFields(dst, text []byte, size *int64) (block []byte, n int) {
	for {
		line := text[n:]
		end := bytes.IndexByte(line, '\n')
		if end == 1 {
			return dst, n + 2
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || end < colon {
			return dst, -1
		}
		n += end + 1
		name, value := line[:colon], line[colon+1:end-1]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
		switch i := names.Find(name); i {
		case dropped:
			continue
		case notStatic:
			dst = appendString(append(dst, 0), name)
			lower(dst[len(dst)-len(name):])
		case contentLength:
			if size != nil {
				*size, _ = strconv.ParseInt(string(value), 10, 64)
			}
			fallthrough
		default:
			dst = appendInt(dst, 0, 4, uint64(i))
		}
		dst = appendString(dst, value)
	}
}

// lower turns the capitals of a name into small letters.
func lower(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
}

// appendString appends a string as it is. Huffman's code would save a third of
// its bytes and cost more time than all the rest.
func appendString(dst, s []byte) []byte {
	return append(appendInt(dst, 0, 7, uint64(len(s))), s...)
}

// appendInt appends an integer with a prefix of n bits (RFC 7541 5.1), below
// the bits of first.
func appendInt(dst []byte, first byte, n uint, v uint64) []byte {
	full := uint64(1)<<n - 1
	if v < full {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(full))
	for v -= full; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}
