package admin

import (
	"bytes"
	"io"
	"mime"
	"net/http"
)

// BOM is the byte order mark in UTF-8, with which some editors begin a text.
var BOM = []byte("\xef\xbb\xbf")

// ReadJSON reads the body of a request, which must have the type application/json,
// and returns it without a [BOM]; nil if there is none. A page in a browser can send
// other types without asking first. An error is a [Refusal], or one of reading.
func ReadJSON(r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.ContentLength == 0 {
		return nil, nil
	}
	if err != nil || kind != "application/json" {
		return nil, &Refusal{
			Status: http.StatusUnsupportedMediaType, Reason: "unsupported_media_type", Message: "Unsupported media type: want application/json",
		}
	}
	body, err := io.ReadAll(r.Body)
	return bytes.TrimPrefix(body, BOM), err
}
