package admin

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
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
