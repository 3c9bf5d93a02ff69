package admin

import (
	"net/http"
	"strings"
)

// Precondition applies If-Match and If-None-Match (RFC 9110, 13.1) to what has
// this ETag, "" if it does not exist.
func Precondition(r *http.Request, etag string) error {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	switch {
	case len(match) > 0 && !lists(match, etag):
	case len(none) > 0 && lists(none, etag):
	default:
		return nil
	}
	return &Refusal{Status: http.StatusPreconditionFailed, Reason: "precondition_failed", Message: "The object is not as the precondition wants it"}
}

// lists reports whether a list of tags has the one. A weak tag is never it.
func lists(values []string, etag string) bool {
	if etag == "" {
		return false
	}
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}
