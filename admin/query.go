package admin

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Query returns the arguments of a request. An argument that known does not report
// is an error, for an answer that ignores a condition looks as if it met it. Errors
// are [Refusal]s.
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
