package uri

import "unsafe"

// ReadingSet holds the readings of a path: the ways to understand its canonical
// form that backends differ in. A rule that denies looks at every one, so that no
// spelling slips past it; a rule that grants by path wants all of them to match
// (D22). They are made once for all who look at them: a long and odd path has
// dozens, and there may be many rules.
//
// Backends strip ";params" from each segment, before or after decoding or not
// at all; take %2F for a slash or not; take '\' and %5C for a slash or not;
// merge repeated slashes or not; and they resolve dot segments again
// afterwards, on the whole path or on what is left without its first segment.
// Only the combinations that can make a difference are built.
//
// The zero ReadingSet is ready to use.
type ReadingSet struct {
	of    *Path // whose they are; nil = not made yet
	work  []byte
	bytes []byte
	texts []string
	made  int // how often they were made, for tests
}

// keptReadings is how large a buffer is kept for the next request.
const keptReadings = 16 << 10

// Reset forgets them, as the path at the same place may be another one now.
func (x *ReadingSet) Reset() {
	if x.of == nil {
		return
	}
	x.of, x.texts = nil, x.texts[:0]
	if cap(x.bytes) > keptReadings {
		*x = ReadingSet{}
	}
}

// Of returns the readings of p but the canonical one. They are those of the last
// call if that was about the same p, and live until the next about another one.
func (x *ReadingSet) Of(p *Path) []string {
	if x.of == p {
		return x.texts
	}
	x.of, x.bytes, x.texts = p, x.bytes[:0], x.texts[:0]
	x.made++
	if p.odd == 0 {
		return x.texts
	}
	habits := p.habits()
	for m := range modes {
		if m&^habits != 0 || m&stripRaw != 0 && m&stripDecoded != 0 || m&rest != 0 && m&keepDots != 0 {
			continue
		}
		var path string
		path, x.work = p.read(m, x.work)
		from := len(x.bytes)
		x.bytes = append(x.bytes, path...) // if it grows, earlier texts keep what they point into
		x.texts = append(x.texts, unsafe.String(unsafe.SliceData(x.bytes[from:]), len(path)))
	}
	return x.texts
}

// Assume makes texts the readings of p, until the next Reset.
func (x *ReadingSet) Assume(p *Path, texts []string) {
	x.of, x.texts = p, append(x.texts[:0], texts...)
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
