package ui

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shellWords parts a command line into words as a POSIX shell does, with $'...' of
// bash, which browsers copy. Nothing is expanded.
func shellWords(text string) (words []string, err error) {
	var word strings.Builder
	began := false
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\\\n"); ok { // the line goes on
			text = rest
			continue
		}
		switch text[0] {
		case ' ', '\t', '\n', '\r':
			if began {
				words = append(words, word.String())
				word.Reset()
				began = false
			}
			text = text[1:]
			continue
		case '|', ';', '&', '<', '>', '`':
			return nil, errors.New("the line is more than one command: paste the curl line alone, with its URL in quotes")
		}
		began = true
		if text, err = shellPart(&word, text); err != nil {
			return nil, err
		}
	}
	if began {
		words = append(words, word.String())
	}
	return words, nil
}

// shellPart reads one quoted part or one character of a word, and returns the rest.
func shellPart(word *strings.Builder, text string) (rest string, err error) {
	switch {
	case text[0] == '\'':
		inner, rest, ok := strings.Cut(text[1:], "'")
		word.WriteString(inner)
		return rest, closed(ok)
	case text[0] == '"':
		return doubleQuoted(word, text[1:])
	case strings.HasPrefix(text, "$'"):
		return dollarQuoted(word, text[2:])
	case text[0] == '\\' && len(text) > 1:
		if text[1] != '\n' {
			word.WriteByte(text[1])
		}
		return text[2:], nil
	}
	word.WriteByte(text[0])
	return text[1:], nil
}

func closed(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("a quotation mark of the line is not closed")
}

func doubleQuoted(word *strings.Builder, text string) (rest string, err error) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return text[i+1:], nil
		case text[i] == '\\' && i+1 < len(text) && strings.IndexByte("\"\\$`\n", text[i+1]) >= 0:
			i++
			if text[i] != '\n' {
				word.WriteByte(text[i])
			}
		default:
			word.WriteByte(text[i])
		}
	}
	return "", closed(false)
}

// dollarQuoted reads the inside of $'...'.
func dollarQuoted(word *strings.Builder, text string) (rest string, err error) {
	for text != "" {
		if text[0] == '\'' {
			return text[1:], nil
		}
		if strings.HasPrefix(text, `\'`) || strings.HasPrefix(text, `\"`) {
			word.WriteByte(text[1])
			text = text[2:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(text, 0)
		if err != nil {
			return "", errors.New("an escape in $'...' is not understood")
		}
		if r < utf8.RuneSelf || !multibyte {
			word.WriteByte(byte(r))
		} else {
			word.WriteRune(r)
		}
		text = tail
	}
	return "", closed(false)
}
