package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
)

// nameList reads the answer of catalog/services: an object whose keys are the
// names and whose values are their tags. The list wakes up at every
// registration anywhere, so an answer that is equal to the last one costs a
// hash, and the tags are never decoded.
type nameList struct {
	seed  maphash.Seed
	known uint64 // hash of the last answer; 0 = none
	room  int    // how many names to expect

	hash  uint64
	names []string // nil if the answer is the known one
}

// parse reads the answer.
func (l *nameList) parse(text []byte) error { return l.take(text, scanNames) }

// take reads an answer in which scan finds the names, if it is another than the
// known one.
func (l *nameList) take(text []byte, scan func(text []byte, names []string) ([]string, error)) error {
	hash := max(maphash.Bytes(l.seed, text), 1)
	if hash == l.known {
		l.hash = hash
		return nil
	}
	names, err := scan(text, make([]string, 0, l.room+8))
	if err == nil {
		l.hash, l.names = hash, names
	}
	return err
}

// noMesh leaves out the services of the mesh: sidecar proxies and gateways are
// registered under names of their own, and serve no path.
var noMesh = url.Values{"filter": {`ServiceKind == ""`}}

// Bounds of the catalogue: what is beyond is no service.
const (
	maxNames = 200_000
	maxName  = 256
)

// readNames asks for the names of all services.
func (r *Resolver) readNames(ctx context.Context, list *nameList, q query) (meta, error) {
	switch {
	case r.ofPeer():
		return r.readImports(ctx, list, q)
	case !r.cfg.Everywhere:
		q.Form = noMesh
	}
	return r.read(ctx, "/v1/catalog/services", q, list.parse)
}

// scanNames appends the keys of the JSON object in text, but for those that are
// too long for a service. It finds them in all that is valid, and finds out if
// the end is missing.
func scanNames(text []byte, names []string) ([]string, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("the list of services is no JSON object")
	}
	depth, key := 0, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
			key = depth == 1
		case '}', ']':
			depth--
		case ',':
			key = depth == 1
		case ':':
			key = false
		case '"':
			end, escaped := stringEnd(text, i)
			if end == len(text) {
				return nil, errCut
			}
			if key && len(names) == maxNames {
				return nil, fmt.Errorf("consul lists more than %d services", maxNames)
			}
			if key && end-i <= 6*maxName+1 { // \u0041 is the longest that JSON makes of a byte
				name, err := unquote(text[i:end+1], escaped)
				if err != nil {
					return nil, err
				}
				names = append(names, name)
			}
			i = end
		}
	}
	if depth != 0 {
		return nil, errCut
	}
	return names, nil
}

// unquote returns what the JSON string in text says.
func unquote(text []byte, escaped bool) (string, error) {
	if !escaped {
		return string(text[1 : len(text)-1]), nil
	}
	var s string
	err := json.Unmarshal(text, &s)
	return s, err
}

var errCut = errors.New("the list of services is cut short")

// stringEnd returns where the JSON string that begins at start has its closing
// quote, len(text) if it has none, and whether there is an escape in it.
func stringEnd(text []byte, start int) (end int, escaped bool) {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			return i, escaped
		}
	}
	return len(text), escaped
}
