// Package uri reads request targets, hosts and queries exactly once and in one
// way, so that what was decided on is what is forwarded (D22).
//
// A [Path] has one canonical form for routing, rules and logs, and a handful of
// other readings that some backend could make of the same bytes; rules that
// deny look at all of them. Nothing allocates when a path is already canonical,
// nor later, when the caller hands in a buffer to work in.
//
// The package must not import net, net/http or a logger.
package uri

import (
	"errors"
	"strings"
	"unsafe"
)

// ErrBadPath is a request target that is answered with 400 bad_path: a control
// byte, a space, a broken escape, a fragment, or no leading slash.
var ErrBadPath = errors.New("uri: bad path")

// Path is a request path, read once (D22). The zero Path stands for no path at
// all, as in a CONNECT.
//
// Its strings are parts of the target and of the scratch buffer given to
// [ParsePath], valid for as long as those are.
type Path struct {
	Received  string // as received, without the query
	Canonical string // the one form that rules and routing see; the very string Received when normalisation changed nothing
	Query     string // raw, after '?'
	HasQuery  bool   // tells "/a?" from "/a"

	odd oddity // what makes backends disagree about Canonical
}

// oddity is a set of things in a canonical path that backends read in several ways.
type oddity uint8

const (
	oddSemicolon oddity = 1 << iota // ';'
	oddEscSemi                      // %3B
	oddEscSlash                     // %2F
	oddBackslash                    // '\' or %5C
	oddDouble                       // "//"
	oddEscape                       // any other escape of a printable ASCII character
)

// byteClass says what ParsePath has to do about a byte of a path.
type byteClass uint8

const (
	plain    byteClass = iota
	bad                // never in a path
	slash              // a segment ends
	dot                // may begin a dot segment
	percent            // an escape
	high               // 0x80 and above: escaped in the canonical form
	strange            // ';' or '\'
	question           // the query begins
)

var classes = func() (t [256]byteClass) {
	for c := range 256 {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			t[c] = bad
		case c >= 0x80:
			t[c] = high
		}
	}
	t['/'], t['.'], t['%'], t['?'] = slash, dot, percent, question
	t[';'], t['\\'] = strange, strange
	return t
}()

// ParsePath reads an origin-form request target. scratch is where a canonical
// form is built if it differs from what was received; the buffer comes back,
// grown or not, for the next call.
func ParsePath(target string, scratch []byte) (p Path, _ []byte, err error) {
	if target == "" || target[0] != '/' {
		return Path{}, scratch, ErrBadPath
	}
	end, odd, changed := len(target), oddity(0), false
scan:
	for i := 0; i < len(target); i++ {
		switch classes[target[i]] {
		case plain:
		case bad:
			return Path{}, scratch, ErrBadPath
		case slash:
			if i > 0 && target[i-1] == '/' {
				odd |= oddDouble
			}
		case dot:
			changed = changed || target[i-1] == '/' && dotSegment(target[i:])
		case percent:
			c, ok := unescape(target, i)
			if !ok || c < ' ' || c == 0x7f {
				return Path{}, scratch, ErrBadPath
			}
			changed = changed || unreserved(c) || lowerHex(target[i+1]) || lowerHex(target[i+2])
			odd |= escapeOddity(c)
			i += 2
		case high:
			changed = true
		case strange:
			odd |= strangeOddity(target[i])
		case question:
			end = i
			break scan
		}
	}
	p = Path{Received: target[:end], odd: odd}
	if end < len(target) {
		p.Query, p.HasQuery = target[end+1:], true
		if !validQuery(p.Query) {
			return Path{}, scratch, ErrBadPath
		}
	}
	p.Canonical = p.Received
	if changed {
		p.Canonical, scratch = canonical(p.Received, scratch)
	}
	return p, scratch, nil
}

// Clone returns p in memory of its own.
func (p *Path) Clone() Path {
	c := *p
	c.Received, c.Canonical, c.Query = strings.Clone(p.Received), strings.Clone(p.Canonical), strings.Clone(p.Query)
	return c
}

// Segment splits the first canonical segment off (D1). ok reports whether it
// may name a service: [A-Za-z0-9._-]{1,128}, not "." or "..". rest is what goes
// to the backend, "/" at least; it is Received's own bytes when normalisation
// changed nothing.
func (p *Path) Segment() (name, rest string, ok bool) {
	if p.Canonical == "" {
		return "", "/", false
	}
	name, rest = p.Canonical[1:], "/"
	if i := strings.IndexByte(name, '/'); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	return name, rest, IsServiceName(name)
}

// IsServiceName reports whether a path segment may name a service (D22).
func IsServiceName(s string) bool {
	if s == "" || len(s) > 128 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == '~' || !unreserved(c) {
			return false
		}
	}
	return true
}

// canonical builds the canonical form of a path that ParsePath has checked:
// first the bytes, then the dot segments, because some appear only after
// decoding ("/%2e%2e/").
func canonical(path string, buf []byte) (string, []byte) {
	buf = buf[:0]
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			c, _ = unescape(path, i)
			i += 2
			if !unreserved(c) {
				buf = appendEscape(buf, c)
				continue
			}
		} else if c >= 0x80 {
			buf = appendEscape(buf, c)
			continue
		}
		buf = append(buf, c)
	}
	n := removeDots(buf)
	return view(buf[:n]), buf
}

// removeDots resolves "." and ".." segments in place (RFC 3986 5.2.4) and
// returns the new length. path begins with a slash, and so does the result;
// nothing climbs above the root. Empty segments count as segments.
func removeDots(path []byte) int {
	w := 0 // path[:w] is done: empty or whole segments, each with its leading slash
	for r := 0; r < len(path); {
		end := r + 1 // path[r] is a slash, the segment is path[r+1:end]
		for end < len(path) && path[end] != '/' {
			end++
		}
		last := end == len(path)
		switch string(path[r+1 : end]) {
		case "..":
			for w > 0 {
				w--
				if path[w] == '/' {
					break
				}
			}
			fallthrough
		case ".":
			if last {
				path[w] = '/'
				w++
			}
		default:
			w += copy(path[w:], path[r:end])
		}
		r = end
	}
	return w
}

// dotSegment reports whether s begins with a segment "." or "..", as far as
// can be seen without decoding; an escaped dot is a change by itself.
func dotSegment(s string) bool {
	for i := 1; i < 3; i++ {
		if i == len(s) || s[i] == '/' || s[i] == '?' {
			return true
		}
		if s[i] != '.' {
			return false
		}
	}
	return false
}

// unescape decodes the escape at s[i].
func unescape(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
	return hi<<4 | lo&15, hi < 16 && lo < 16
}

// hexValue is the value of a hex digit, 255 for any other byte.
func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func lowerHex(c byte) bool { return c >= 'a' }

// unreserved reports whether c never needs an escape (RFC 3986 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func escapeOddity(c byte) oddity {
	switch {
	case c == '/':
		return oddEscSlash
	case c == '\\':
		return oddBackslash
	case c == ';':
		return oddEscSemi
	case unreserved(c), c >= 0x80, c == '%':
		return 0 // the same in every form
	}
	return oddEscape
}

func strangeOddity(c byte) oddity {
	if c == ';' {
		return oddSemicolon
	}
	return oddBackslash
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}

// view is b as a string without a copy; b must not change while it is in use.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
