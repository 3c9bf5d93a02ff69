package admin

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Query reads the arguments of a request and refuses those that mean nothing
// there: an answer that leaves a condition out would look as if it met it.
func Query(r *http.Request, known func(name string) bool) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Invalid("", "Cannot parse the query")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !known(name) {
			return nil, Invalid(name, name+" is an unknown argument")
		}
	}
	return query, nil
}

// NotModified answers a GET by 304 if the client has what it would get already
// (If-None-Match; RFC 9110, 13.1.2, where weak tags count).
func NotModified(w http.ResponseWriter, r *http.Request, etag string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	var tags []string
	for _, value := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(value, ",") {
			tags = append(tags, strings.TrimPrefix(strings.TrimSpace(tag), "W/"))
		}
	}
	if !lists(tags, etag) {
		return false
	}
	w.Header().Set("ETag", etag)
	w.WriteHeader(http.StatusNotModified)
	return true
}
