package admin

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"lictor/admin/api"
)

const requestIDHeader = "X-Request-Id"

func newRequestID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// WriteError answers with an error. reason is for programs, one of the closed set of
// X5; message is for people.
func WriteError(w http.ResponseWriter, status int, reason, message string) {
	WriteJSON(w, status, api.Error{Message: message, Reason: reason, RequestID: w.Header().Get(requestIDHeader)})
}

// WriteJSON answers with body as JSON. It panics if body cannot be JSON. That the
// client is gone is no error.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		panic(err) // a value that cannot be JSON is a mistake of the program
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(append(text, '\n')) // the client may have gone: nobody to tell
}
