package replay

import (
	"strings"
	"time"
	"unicode/utf8"
)

// string reads a string. An escape of a byte that is no character is that byte.
func (s *scanner) string() string {
	s.want('"')
	if s.bad {
		return ""
	}
	rest := s.text[s.at:]
	end := strings.IndexByte(rest, '"')
	if end < 0 {
		s.bad = true
		return ""
	}
	if text := rest[:end]; strings.IndexByte(text, '\\') < 0 {
		s.at += end + 1
		return text
	}
	return s.escaped()
}

// escaped reads the rest of a string that has escapes.
func (s *scanner) escaped() string {
	var text strings.Builder
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return text.String()
		case c != '\\':
			text.WriteByte(c)
		case !s.escape(&text):
			s.bad = true
			return ""
		}
	}
	s.bad = true
	return ""
}

// escape reads what follows a backslash.
func (s *scanner) escape(to *strings.Builder) bool {
	if s.at >= len(s.text) {
		return false
	}
	c := s.text[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
		to.WriteByte(c)
	case 'n':
		to.WriteByte('\n')
	case 't':
		to.WriteByte('\t')
	case 'r':
		to.WriteByte('\r')
	case 'b':
		to.WriteByte('\b')
	case 'f':
		to.WriteByte('\f')
	case 'u':
		var r rune
		for range 4 {
			d := rune(-1)
			if s.at < len(s.text) {
				d = digitOf(s.text[s.at])
			}
			if d < 0 {
				return false
			}
			r = r<<4 | d
			s.at++
		}
		if r < 0x100 { // the log writes characters as they are, and so escapes bytes alone
			to.WriteByte(byte(r))
			return true
		}
		var buf [utf8.UTFMax]byte
		to.Write(buf[:utf8.EncodeRune(buf[:], r)])
	default:
		return false
	}
	return true
}

func digitOf(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

// time reads a time in UTC with microseconds, as the log writes it, or any other of
// RFC 3339.
func (s *scanner) time() time.Time {
	text := s.string()
	const form = "2006-01-02T15:04:05.000000Z"
	if len(text) == len(form) && text[len(form)-1] == 'Z' && text[10] == 'T' && text[19] == '.' {
		var n [7]int
		ok := true
		for i, at := range [...][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}, {20, 26}} {
			for _, c := range []byte(text[at[0]:at[1]]) {
				ok = ok && '0' <= c && c <= '9'
				n[i] = n[i]*10 + int(c-'0')
			}
		}
		if ok {
			return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC)
		}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		s.bad = true
	}
	return at
}
