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

	resolved string // Received without its dot segments, which are resolved; the very string Received without any
	dotted   string // Canonical before its dot segments were resolved; "" without any
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
	oddDots                         // dot segments, of a path that is passed on with them
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
func ParsePath(target string, scratch []byte) (Path, []byte, error) {
	return parse(target, scratch, false)
}

func parse(target string, scratch []byte, lenient bool) (p Path, _ []byte, err error) {
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
			if lenient && !ok {
				changed = true // into an escaped '%'
				continue
			}
			if !ok || c == 0 || (c < ' ' || c == 0x7f) && !lenient {
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
	p.Canonical, p.resolved = p.Received, p.Received
	if changed {
		scratch = p.canonical(scratch[:0])
	}
	return p, scratch, nil
}

// ParseLenient is ParsePath for a proxy that passes paths on as they came, to
// servers that it does not know: a '%' that begins no escape stands for itself,
// and escaped control characters are taken. NUL is not: half of the world
// would see the end of the path there. As such a server gets the dot segments,
// too, and may leave them as they are, that is one more reading.
func ParseLenient(target string, scratch []byte) (Path, []byte, error) {
	p, scratch, err := parse(target, scratch, true)
	if p.dotted != "" {
		p.odd |= oddDots
	}
	return p, scratch, err
}

// Clone returns p in memory of its own.
func (p *Path) Clone() Path {
	c := *p
	c.Received, c.Canonical, c.Query = strings.Clone(p.Received), strings.Clone(p.Canonical), strings.Clone(p.Query)
	c.resolved, c.dotted = strings.Clone(p.resolved), strings.Clone(p.dotted)
	return c
}

// Target is what goes to a backend: byte for byte as received (RFC 9110 7.7, for
// a signature may be made over it), but for dot segments, which are resolved as
// they are in Canonical. With stripped it is what follows the first segment,
// "/" at least.
func (p *Path) Target(stripped bool) string {
	if !stripped {
		return p.resolved
	}
	if p.resolved != "" {
		if i := strings.IndexByte(p.resolved[1:], '/'); i >= 0 {
			return p.resolved[1+i:]
		}
	}
	return "/"
}

// Segment splits the first canonical segment off (D1). ok reports whether it
// may name a service: [A-Za-z0-9._-]{1,128}, not "." or "..". rest is what
// follows it, "/" at least.
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

// canonical builds the canonical form of a path that was checked: first the
// bytes, then the dot segments, because some appear only after decoding
// ("/%2e%2e/"). resolved is the path's own bytes without its dot segments.
func (p *Path) canonical(buf []byte) []byte {
	buf = appendCanonical(buf, p.Received)
	n := len(buf)
	buf = append(buf, buf...)
	c := removeDots(buf[n:])
	if c == n { // there are no dot segments: each takes something away
		p.Canonical = view(buf[:n])
		return buf
	}
	p.dotted, p.Canonical = view(buf[:n]), view(buf[n:n+c])
	m := n + c
	buf = append(buf[:m], p.Received...)
	p.resolved = view(buf[m : m+removeDots(buf[m:])])
	return buf
}

// appendCanonical appends a path with its escapes in their one form.
func appendCanonical(buf []byte, path string) []byte {
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], path[i] >= 0x80
		if c == '%' {
			escaped = true
			if decoded, ok := unescape(path, i); ok { // else it stands for itself
				c = decoded
				i += 2
			}
		}
		if escaped && !unreserved(c) {
			buf = appendEscape(buf, c)
		} else {
			buf = append(buf, c)
		}
	}
	return buf
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
		switch dots(path[r+1 : end]) {
		case 2:
			for w > 0 {
				w--
				if path[w] == '/' {
					break
				}
			}
			fallthrough
		case 1:
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

// dots is 1 for the segment "." and 2 for "..", however its dots are written,
// else 0.
func dots(segment []byte) (n int) {
	for len(segment) > 0 {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[0] == '%' && segment[1] == '2' && segment[2]|0x20 == 'e':
			segment = segment[3:]
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
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
