package consul

import (
	"encoding/json"
	"errors"
	"hash/maphash"
)

// nameList reads the answer of catalog/services: an object whose keys are the
// names and whose values are their tags. The list wakes up at every
// registration anywhere, so an answer that is equal to the last one costs a
// hash, and the tags are never decoded.
type nameList struct {
	seed  maphash.Seed
	known uint64 // hash of the last answer; 0 = none

	hash  uint64
	names []string // nil if the answer is the known one
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *nameList) UnmarshalJSON(text []byte) error {
	l.hash = max(maphash.Bytes(l.seed, text), 1)
	if l.hash == l.known {
		return nil
	}
	var err error
	l.names, err = scanNames(text, make([]string, 0, 64))
	return err
}

// scanNames appends the keys of the JSON object in text, which is known to be
// valid JSON.
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
			if key {
				name := string(text[i+1 : end])
				if escaped {
					if err := json.Unmarshal(text[i:end+1], &name); err != nil {
						return nil, err
					}
				}
				names = append(names, name)
			}
			i = end
		}
	}
	return names, nil
}

// stringEnd returns where the JSON string that begins at start has its closing
// quote, and whether there is an escape in it.
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
	return len(text) - 1, escaped
}
