package uri

import "strings"

// MaxOddPath is how long a path may be that can be read in several ways. Each
// reading is looked at, so that a long one would cost much, and no honest one
// is.
const MaxOddPath = 4 << 10

// TooOdd reports whether a path costs more to read than it is worth.
func (p *Path) TooOdd() bool { return len(p.Canonical) > MaxOddPath && p.habits() != 0 }

// Climbs reports whether some backend would read target, what goes to it of the
// path, as one that leads above the root. Its own dot segments are resolved by
// now; a backend that decodes %2F first, strips ";params" or takes '\\' for a
// slash sees others.
func (p *Path) Climbs(target string) bool {
	if p.odd == 0 || !mayHoldDots(target) {
		return false
	}
	habits := p.habits() &^ rest
	for m := mode(0); m < rest; m++ {
		if m&^habits == 0 && (m&stripRaw == 0 || m&stripDecoded == 0) && climbs(target, m) {
			return true
		}
	}
	return false
}

// mayHoldDots is false for nearly every path, at little cost.
func mayHoldDots(s string) bool {
	return strings.Contains(s, "..") || strings.Contains(s, "%2e") || strings.Contains(s, "%2E")
}

// climbs reports whether the reading of target that m describes has more ".."
// than segments before them. It keeps no text, only how deep it is.
func climbs(target string, m mode) bool {
	depth := 0
	s := segment{}
	params := false
	for i := 1; i < len(target); i++ { // target[0] is a slash
		c, escaped := target[i], false
		if c == '%' {
			c, _ = unescape(target, i)
			escaped = true
			i += 2
		}
		switch {
		case m.separates(c, escaped, params):
			if depth += s.steps(m); depth < 0 {
				return true
			}
			s, params = segment{}, false
		case params:
		case m.beginsParams(c, escaped):
			params = true
		default:
			s.add(c)
		}
	}
	return depth+s.steps(m) < 0
}

// separates reports whether a byte, escaped or not, ends a segment. In ";params"
// that are stripped before anything is decoded only a raw slash does.
func (m mode) separates(c byte, escaped, params bool) bool {
	if c == '/' && !escaped {
		return true
	}
	return !(params && m&stripRaw != 0) && (c == '/' && m&escSlash != 0 || c == '\\' && m&backslash != 0)
}

// beginsParams reports whether what follows a byte is no part of the segment.
func (m mode) beginsParams(c byte, escaped bool) bool {
	return c == ';' && (m&stripDecoded != 0 || m&stripRaw != 0 && !escaped)
}

// segment is as much of a path segment as matters for climbing.
type segment struct {
	dots int
	text bool // it has other characters
}

func (s *segment) add(c byte) {
	if c == '.' {
		s.dots++
	} else {
		s.text = true
	}
}

// steps is how much deeper a segment leads.
func (s *segment) steps(m mode) int {
	switch {
	case s.text || s.dots > 2:
		return 1
	case s.dots == 2:
		return -1
	case s.dots == 1, m&merge != 0:
		return 0
	}
	return 1 // an empty segment is one where slashes are not merged
}
