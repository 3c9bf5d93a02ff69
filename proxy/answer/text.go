package answer

import (
	"encoding/binary"
	"strconv"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"lictor/internal/hexdigits"
)

const hexDigits = "0123456789abcdef"

// AppendHex appends 16 digits for each of the words.
func AppendHex(dst []byte, words ...uint64) []byte {
	for _, w := range words {
		dst = hexdigits.Append(dst, w)
	}
	return dst
}

// plain reports whether s stands in JSON as it is, as nearly everything does.
func plain(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if odd(binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s), 8))) {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// odd reports whether any of eight bytes does not stand in JSON as it is: a line of
// the access log is mostly made of looking for them. Where a subtraction borrows from
// the next byte, the one that it is for was odd.
func odd(w uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	control := w - each*0x20
	quote, slash, del := w^each*'"'-each, w^each*'\\'-each, w^each*0x7f-each
	return (w|control|quote|slash|del)&high != 0
}

// runeAt is the character that s begins with; what is no UTF-8 is none that can
// be printed.
func runeAt(s string) rune {
	r, n := utf8.DecodeRuneInString(s)
	if n < 2 {
		return -1
	}
	return r
}

// maxText bounds a text in a log or an answer, before it is escaped. A path may
// be as long as a head, and each byte of it six in JSON.
const maxText = 2 << 10

// maxName bounds what something is called in a log: a service, a consumer, a rule,
// the client's program. The name of a browser is a quarter of it.
const maxName = 512

// Clip cuts a text that is too long for a log, between two characters, and says
// that it did.
func Clip(s string) string { return clip(s, maxText) }

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "...(" + strconv.Itoa(len(s)) + " bytes)"
}

// AppendJSON appends s, clipped, as a JSON string. What cannot be printed is
// escaped.
func AppendJSON(dst []byte, s string) []byte {
	if len(s) > maxText {
		s = Clip(s)
	}
	return appendWhole(dst, s)
}

// appendWhole is AppendJSON for a text that is not clipped.
func appendWhole(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s) {
		return append(append(dst, s...), '"')
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= utf8.RuneSelf && unicode.IsPrint(runeAt(s[i:])):
			n := utf8.RuneLen(runeAt(s[i:]))
			dst = append(dst, s[i:i+n]...)
			i += n - 1
		case c < 0x20 || c >= 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
