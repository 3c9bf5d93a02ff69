package admin

import (
	"bytes"
	"io"
	"mime"
	"net/http"
)

// BOM is the byte order mark with which some editors begin a text.
var BOM = []byte("\xef\xbb\xbf")

// ReadJSON reads a body that has to be JSON and has to say so: what a page may
// send as text or as a form without asking first is none.
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
