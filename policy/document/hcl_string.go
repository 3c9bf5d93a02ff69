package document

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// quoted reads a string behind its opening quote.
func (r *hclReader) quoted(to *string) error {
	return r.literal(to, hclsyntax.TokenCQuote)
}

// literal reads the parts of a string up to end. A template in it is an error: a
// document is data.
func (r *hclReader) literal(to *string, end hclsyntax.TokenType) error {
	var b strings.Builder
	for {
		switch t := r.next(); t.Type {
		case end:
			*to = b.String()
			return nil
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit:
			part, diags := hclsyntax.ParseStringLiteralToken(*t)
			if len(diags) > 0 {
				return errors.New(diags[0].Summary + ": " + diags[0].Detail)
			}
			b.WriteString(part)
		case hclsyntax.TokenEOF, hclsyntax.TokenQuotedNewline:
			return errors.New("a string is not closed on its line")
		default:
			return errNotData
		}
	}
}

// heredoc reads a text behind its first line. In the form <<- the indentation
// that all lines have is taken off.
func (r *hclReader) heredoc(to *string, flush bool) error {
	err := r.literal(to, hclsyntax.TokenCHeredoc)
	if err == nil && flush {
		lines := strings.SplitAfter(*to, "\n")
		outdent(lines)
		*to = strings.Join(lines, "")
	}
	return err
}

// outdent removes the blanks that all lines begin with. Lines of nothing but blanks
// do not count.
func outdent(lines []string) {
	least := -1
	for _, line := range lines {
		if n := indent(line); n >= 0 && (least < 0 || n < least) {
			least = n
		}
	}
	for i, line := range lines {
		if indent(line) < 0 {
			continue
		}
		for range least {
			_, size := utf8.DecodeRuneInString(line)
			line = line[size:]
		}
		lines[i] = line
	}
}

// indent counts the blanks at the beginning of a line, -1 if there is nothing
// else on it.
func indent(line string) int {
	rest := strings.TrimLeftFunc(line, unicode.IsSpace)
	if rest == "" {
		return -1
	}
	return utf8.RuneCountInString(line[:len(line)-len(rest)])
}
