package http2

import (
	"net/http"

	"lictor/proxy/http1/message"
)

// appendAnswerHead appends the head of an answer as text. The fields were
// checked by the library, and will be by the parser that reads them.
func appendAnswerHead(dst []byte, resp *http.Response, chunked bool) []byte {
	dst = message.AppendStatusLine(dst, resp.StatusCode)
	said := false
	for name, values := range resp.Header {
		switch id := message.IDOf(name); {
		case id.ConnectionSpecific():
			continue
		case id == message.FieldContentLength:
			if chunked {
				continue
			}
			said = true
		}
		for _, v := range values {
			dst = message.AppendField(dst, name, v)
		}
	}
	switch {
	case chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case !said && resp.ContentLength == 0 && resp.StatusCode >= 200 && resp.StatusCode != 204 && resp.StatusCode != 304:
		dst = message.AppendLength(dst, resp.ContentLength)
	}
	return append(dst, "\r\n"...)
}

// appendTrailers appends the end of a body in chunks.
func appendTrailers(trailers http.Header) []byte {
	dst := []byte("0\r\n")
	for name, values := range trailers {
		for _, v := range values {
			dst = message.AppendField(dst, name, v)
		}
	}
	return append(dst, "\r\n"...)
}
