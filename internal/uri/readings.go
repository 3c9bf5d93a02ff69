package uri

// Readings are the ways to understand one canonical path that backends differ
// in. A rule that denies looks at every one, so that no spelling slips past it;
// a rule that grants by path wants all of them to match (D22).
//
// Backends strip ";params" from each segment, before or after decoding or not
// at all; take %2F for a slash or not; take '\' and %5C for a slash or not;
// merge repeated slashes or not; and they resolve dot segments again
// afterwards, on the whole path or on what is left without its first segment.
// Only the combinations that can make a difference are built.
//
// The zero Readings is ready to use and may be used again for other paths; its
// buffer is kept. The strings live until the next call.
type Readings struct {
	path   Path
	habits mode
	next   mode
	buf    []byte
}

// mode is one way to read a path: a set of the habits below.
type mode uint8

const (
	stripRaw     mode = 1 << iota // ";params" go before escapes are decoded (Tomcat)
	stripDecoded                  // ";params" go after escapes are decoded; takes %3B for ';' too
	escSlash                      // %2F separates segments
	backslash                     // '\' and %5C separate segments
	merge                         // "//" is "/"
	rest                          // the first segment was cut off before: nothing climbs above it
	keepDots                      // dot segments are segments like others
	modes
)

// Odd reports whether some backend could read the path otherwise than in its
// canonical form. All the rest of this file is for odd paths only.
func (p *Path) Odd() bool { return p.odd != 0 }

// Of starts over with the readings of p, other than the canonical one.
func (r *Readings) Of(p *Path) {
	r.path, r.next, r.habits = *p, 0, 0
	if p.odd == 0 {
		r.next = modes
		return
	}
	r.habits = p.habits()
}

// Next returns the next reading, false if there are no more.
func (r *Readings) Next() (path string, ok bool) {
	for ; r.next < modes; r.next++ {
		m := r.next
		if m&^r.habits != 0 || m&stripRaw != 0 && m&stripDecoded != 0 || m&rest != 0 && m&keepDots != 0 {
			continue
		}
		r.next++
		path, r.buf = r.path.read(m, r.buf)
		return path, true
	}
	r.path = Path{}
	return "", false
}

// Any reports whether match is true of some reading of p other than the
// canonical one. arg is handed to match, so that match need not be a closure.
func Any[T any](r *Readings, p *Path, arg T, match func(arg T, path string) bool) bool {
	r.Of(p)
	for path, ok := r.Next(); ok; path, ok = r.Next() {
		if match(arg, path) {
			return true
		}
	}
	return false
}

// Decoded returns a path as a person would write it: escapes of printable ASCII
// decoded, every kind of slash as one slash, ";params" kept. A deny rule whose
// own path is odd is filed under this form too.
func (p *Path) Decoded() string {
	s, _ := p.read(escSlash|backslash|merge, nil)
	return s
}

// habits are the modes that can make a difference to p.
func (p *Path) habits() mode {
	m := mode(0)
	if p.odd&oddSemicolon != 0 {
		m |= stripRaw
	}
	if p.odd&oddEscSemi != 0 || p.odd&oddSemicolon != 0 && p.odd&(oddEscSlash|oddBackslash) != 0 {
		m |= stripDecoded // else it is the same as stripRaw
	}
	if p.odd&oddEscSlash != 0 {
		m |= escSlash
	}
	if p.odd&oddBackslash != 0 {
		m |= backslash
	}
	if p.odd&(oddDouble|oddEscSlash|oddBackslash|oddSemicolon|oddEscSemi) != 0 {
		m |= merge | rest
	}
	if p.odd&oddDots != 0 {
		m |= keepDots
	}
	return m
}

// read builds the reading of the canonical path that mode m describes.
func (p *Path) read(m mode, buf []byte) (string, []byte) {
	buf = buf[:0]
	in := p.Canonical
	if m&keepDots != 0 {
		in = p.dotted
	}
	keep := 0 // what is never climbed above
	if m&rest != 0 {
		name, tail, _ := p.Segment()
		buf = append(append(buf, '/'), name...)
		keep, in = len(buf), tail
	}
	params := false
	for i := 0; i < len(in); i++ {
		c, escaped := in[i], false
		if c == '%' {
			c, _ = unescape(in, i)
			escaped = true
			i += 2
		}
		switch {
		case m.separates(c, escaped, params):
			params = false
			if m&merge == 0 || len(buf) == keep || buf[len(buf)-1] != '/' {
				buf = append(buf, '/')
			}
		case params:
		case m.beginsParams(c, escaped):
			params = true
		case escaped && (c == '/' || c == '\\' || c == '%' || c < ' ' || c >= 0x7f):
			buf = appendEscape(buf, c) // stays escaped, or it would look like what it is not
		default:
			buf = append(buf, c)
		}
	}
	if m&keepDots != 0 {
		return view(buf), buf
	}
	n := keep + removeDots(buf[keep:])
	return view(buf[:n]), buf
}
