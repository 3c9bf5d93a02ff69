package uri

import (
	"slices"
	"strings"
)

// validQuery reports whether a query may be passed on: no control bytes, no
// space, no fragment. Broken escapes are the backend's business.
func validQuery(q string) bool {
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// Argument looks for an argument in a raw query: its first value, still
// escaped, and how often the name occurs. Names are compared decoded, '+' is a
// space, case counts.
func Argument(query, name string) (value string, count int) {
	for pair := range splitQuery(query) {
		k, v, _ := strings.Cut(pair, "=")
		if !equalDecoded(k, name) {
			continue
		}
		if count++; count == 1 {
			value = v
		}
	}
	return value, count
}

// DecodeArgument decodes an argument's value: escapes, and '+' as a space. It
// returns s itself if there is nothing to decode, else a string in scratch. A
// broken escape stays as it is.
func DecodeArgument(s string, scratch []byte) (string, []byte) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, scratch
	}
	scratch = scratch[:0]
	for i := 0; i < len(s); i++ {
		c, n := decodeByte(s, i)
		scratch = append(scratch, c)
		i += n - 1
	}
	return view(scratch), scratch
}

// WithoutArguments returns a raw query without the arguments of the given
// names. It is query itself if there is none, else a string in scratch; all
// other arguments stay byte for byte.
func WithoutArguments(query string, names []string, scratch []byte) (string, []byte) {
	found := false
	for _, name := range names {
		_, n := Argument(query, name)
		found = found || n > 0
	}
	if !found {
		return query, scratch
	}
	scratch = scratch[:0]
	first := true
	for pair := range splitQuery(query) {
		k, _, _ := strings.Cut(pair, "=")
		if slices.ContainsFunc(names, func(name string) bool { return equalDecoded(k, name) }) {
			continue
		}
		if !first {
			scratch = append(scratch, '&')
		}
		scratch, first = append(scratch, pair...), false
	}
	return view(scratch), scratch
}

// splitQuery yields the name=value pairs of a query, empty ones too.
func splitQuery(query string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if query == "" {
			return
		}
		for {
			pair, tail, more := strings.Cut(query, "&")
			if !yield(pair) || !more {
				return
			}
			query = tail
		}
	}
}

// equalDecoded reports whether the escaped s reads as name.
func equalDecoded(s, name string) bool {
	j := 0
	for i := 0; i < len(s); j++ {
		c, n := decodeByte(s, i)
		if j == len(name) || name[j] != c {
			return false
		}
		i += n
	}
	return j == len(name)
}

// decodeByte reads the byte that stands at s[i], escaped or not, and says how
// many bytes it took.
func decodeByte(s string, i int) (c byte, n int) {
	switch s[i] {
	case '+':
		return ' ', 1
	case '%':
		if c, ok := unescape(s, i); ok {
			return c, 3
		}
	}
	return s[i], 1
}
