package document

import (
	"bytes"
	"unicode/utf8"
)

// maxTokens bounds what the lexer makes of a document in HCL: a token takes a
// hundred times the byte that it may be of.
const maxTokens = 128 << 10

// mostTokens returns no fewer tokens than the lexer makes of a text. In documents
// that are data it is not many more; behind a template, a heredoc or what is no
// ASCII, which the lexer knows better, it counts all that may be one.
func mostTokens(text []byte) int {
	n := 2 // the end, and what is wrong with it
	quoted, known := false, utf8.Valid(text)
	for i := 0; i < len(text); i++ {
		b, rest := text[i], text[i:]
		has := func(prefix string) bool { return bytes.HasPrefix(rest, []byte(prefix)) }
		switch {
		case known && quoted && b != '"':
			switch {
			case has("${"), has("%{"):
				known = false
				n += 2
			case b == '\\', has("$${"), has("%%{"):
				i++
				n += 3
			case b == '$' || b == '%' || b < ' ' || b >= utf8.RuneSelf:
				n += 2
			}
		case known && b == '"':
			quoted = !quoted
			n += 2
		case known && (b == '#' || has("//")):
			i += len(line(rest)) - 1
			n++
		case b == ' ', b == '\t':
		case isWord(b):
			n += 2 // a number and the name behind it, 1a
			for i+1 < len(text) && isWord(text[i+1]) {
				i++
			}
		default:
			known = known && b < utf8.RuneSelf && !has("/*") && !has("<<")
			n += 2
		}
	}
	return n
}

// line is the first line of a text, with its end.
func line(text []byte) []byte {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return text[:i+1]
	}
	return text
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}
