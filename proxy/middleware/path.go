package middleware

import (
	"errors"
	"strings"

	"lictor/internal/uri"
)

// restMark stands in a path for what follows the prefix that matched.
const restMark = "{rest}"

// maxPath is the most bytes of a path as an operator writes it.
const maxPath = 1 << 10

var errPath = errors.New(`want a plain path such as "/v2/index" or "/v2{rest}", where {rest} is what follows the matched prefix`)

// CheckPath returns what is wrong with the path of an [Effect], nil if nothing is.
// It must be a path that can be read in one way only, whatever the rest is.
func CheckPath(path string) error {
	if len(path) > maxPath || path == "" || strings.Count(path, restMark) > 1 || strings.ContainsAny(strings.Replace(path, restMark, "", 1), "{}") {
		return errPath
	}
	for _, rest := range []string{"", "/x"} {
		p, _, err := uri.ParsePath(WithRest(path, rest), nil)
		if err != nil || p.HasQuery || p.Odd() || p.Canonical != p.Received {
			return errPath
		}
	}
	return nil
}

// WithRest returns the path with what follows the prefix that matched: "" or what
// begins with a slash.
func WithRest(path, rest string) string {
	if path = strings.Replace(path, restMark, rest, 1); path == "" {
		return "/"
	}
	return path
}

// RestOf returns what follows, in the path of r, the prefix of it that a rule is for. It
// is cut off by whole segments: text is the path as it is to go on, whose segments are
// those of the canonical one in another spelling. At least so many segments go.
func (m *Match) RestOf(r *Request, text string, least int) string {
	for _, p := range m.Paths {
		if below(r.Path.Canonical, p, r.Named) {
			least = max(least, strings.Count(strings.TrimSuffix(p, "/"), "/"))
			break
		}
	}
	for range least {
		i := strings.IndexByte(text[min(1, len(text)):], '/')
		if i < 0 {
			return ""
		}
		text = text[1+i:]
	}
	return text
}
