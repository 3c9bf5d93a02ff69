package message

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
)

// AppendStatusLine appends the status line of HTTP/1.1, with the registered
// reason phrase or without one.
func AppendStatusLine(dst []byte, status int) []byte {
	if status >= 0 && status < len(statusLines) && statusLines[status] != "" {
		return append(dst, statusLines[status]...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	return append(dst, " \r\n"...)
}

// AppendField appends a field line. Name and value must be valid.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendLength appends the field Content-Length.
func AppendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// AppendChunkHead appends the line before n bytes of data, after which CRLF is due.
func AppendChunkHead(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendChunk appends data as one chunk; no data is no chunk, for an empty one would end the body.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkHead(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		dst = AppendField(dst, trailers[i].Name, trailers[i].Value)
	}
	return append(dst, "\r\n"...)
}

// statusLines are the status lines of the registered codes.
var statusLines = func() (lines [600]string) {
	for status := range lines {
		// What RFC 9110 calls otherwise than net/http.
		phrase := cmp.Or(map[int]string{413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}[status], http.StatusText(status))
		if phrase != "" {
			lines[status] = fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, phrase)
		}
	}
	return lines
}()

// AppendFraming appends the fields of a request, as it goes on, that say how its
// body is framed: made from what was parsed, and never copied. waits says that
// body bytes are still to come, so that the client may be waiting to be asked.
func (h *RequestHead) AppendFraming(dst []byte, waits bool) []byte {
	switch h.Framing() {
	case Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case Length:
		dst = AppendLength(dst, h.ContentLength)
	default:
		if h.ContentLength == 0 {
			dst = append(dst, "Content-Length: 0\r\n"...)
		}
	}
	if h.Expect100 && h.Minor > 0 && waits {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	return dst
}

// AppendInterim appends a whole head of a 1xx answer, with the fields that pass.
func AppendInterim(dst []byte, resp *ResponseHead, passes func(*Field) bool) []byte {
	dst = AppendStatusLine(dst, resp.Status)
	for i := range resp.Fields {
		if f := &resp.Fields[i]; f.ID != FieldContentLength && passes(f) {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}
