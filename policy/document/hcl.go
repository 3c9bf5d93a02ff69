package document

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"lictor/policy"
)

// maxHCL bounds a document in HCL, to what Consul takes for a value; see maxTokens,
// too. A longer list can be written in JSON or with one entry a line.
const maxHCL = 512 << 10

// hclReader reads the part of HCL that is data: attributes, blocks without
// labels, which are objects, and plain values. The language's own parser is for
// expressions: it takes the square of the text's size for strings of many parts,
// ends the process where brackets nest too deep, and composes characters (NFC),
// so that one path in HCL and in JSON would be two. Its lexer does none of that.
type hclReader struct {
	tokens   hclsyntax.Tokens // without comments
	at       int
	depth    int
	problems policy.Problems
	budget
}

// parseHCL reads a body. What is wrong with a value does not keep the others
// from being read.
func parseHCL(data []byte) (*value, policy.Problems) {
	if len(data) > maxHCL {
		return nil, policy.Problems{{Line: 1, Text: fmt.Sprintf("has more than %d bytes, which is too much for HCL: write it in JSON", maxHCL)}}
	}
	if mostTokens(data) > maxTokens {
		return nil, policy.Problems{{Line: 1, Text: "has too many parts for HCL: write it in JSON"}}
	}
	tokens, diags := hclsyntax.LexConfig(data, "", hcl.InitialPos)
	r := &hclReader{tokens: withoutComments(tokens)}
	for _, d := range diags {
		r.wrong(d.Subject.Start.Line, d.Summary+": "+d.Detail)
	}
	root := value{kind: kindObject, line: 1}
	r.body(&root, hclsyntax.TokenEOF)
	return &root, r.problems
}

// withoutComments drops comments, but not the end of the line that one of them
// may have swallowed.
func withoutComments(tokens hclsyntax.Tokens) hclsyntax.Tokens {
	kept := tokens[:0]
	for _, t := range tokens {
		switch {
		case t.Type != hclsyntax.TokenComment:
			kept = append(kept, t)
		case bytes.HasSuffix(t.Bytes, []byte("\n")):
			t.Type = hclsyntax.TokenNewline
			kept = append(kept, t)
		}
	}
	return kept
}

func (r *hclReader) wrong(line int, text string) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, policy.Problem{Line: line, Text: text})
	}
}

func (r *hclReader) peek() *hclsyntax.Token { return &r.tokens[r.at] } // the last one is always EOF

func (r *hclReader) is(t hclsyntax.TokenType) bool { return r.tokens[r.at].Type == t }

// next returns the next token and goes on to the one after it, but not past the
// end.
func (r *hclReader) next() *hclsyntax.Token {
	t := r.peek()
	if t.Type != hclsyntax.TokenEOF {
		r.at++
	}
	return t
}

func (r *hclReader) skipLines() {
	for r.is(hclsyntax.TokenNewline) {
		r.at++
	}
}

// body reads attributes and blocks up to end.
func (r *hclReader) body(v *value, end hclsyntax.TokenType) {
	names := names{}
	for r.skipLines(); !r.is(end); r.skipLines() {
		if r.is(hclsyntax.TokenEOF) {
			r.wrong(r.peek().Range.Start.Line, "a block is not closed")
			return
		}
		name := r.next()
		f := field{name: string(name.Bytes), line: name.Range.Start.Line}
		var err error
		switch {
		case name.Type != hclsyntax.TokenIdent:
			err = errors.New("want a field, such as name = \"x\"")
		case r.is(hclsyntax.TokenEqual):
			r.at++
			err = r.attribute(&f)
		case r.is(hclsyntax.TokenOBrace):
			err = r.block(&f)
		case r.is(hclsyntax.TokenIdent), r.is(hclsyntax.TokenOQuote):
			err = fmt.Errorf("%.100s: want one block without label", f.name)
		default:
			err = fmt.Errorf("%.100s: want = and a value", f.name)
		}
		if errors.Is(err, errTooMuch) {
			r.wrong(f.line, err.Error())
			r.at = len(r.tokens) - 1
			return
		}
		if err == nil {
			err = r.spend(f.name)
		}
		if err == nil && names.enter(v, f) != nil {
			err = fmt.Errorf("Attribute redefined: %.100s is given twice", f.name)
		}
		if err != nil {
			r.wrong(f.line, err.Error())
			r.skipField()
		}
	}
	r.next()
}

// attribute reads the value of a field and the end of its line.
func (r *hclReader) attribute(f *field) error {
	from := r.at
	err := r.value(&f.value)
	if err == nil && !r.is(hclsyntax.TokenNewline) && !r.is(hclsyntax.TokenEOF) && !r.is(hclsyntax.TokenCBrace) {
		err = errNotData
	}
	if err != nil && !errors.Is(err, errTooMuch) {
		r.at = from // so that skipField sees every bracket
	}
	return err
}

func (r *hclReader) block(f *field) error {
	brace := r.next()
	f.value = value{kind: kindObject, line: brace.Range.Start.Line}
	if r.depth++; r.depth > maxDepth {
		return errDepth
	}
	r.body(&f.value, hclsyntax.TokenCBrace)
	r.depth--
	return nil
}

// skipField skips the rest of a field after a mistake in it: up to the end of the
// line on which every bracket is closed again.
func (r *hclReader) skipField() {
	for open := 0; !r.is(hclsyntax.TokenEOF); r.at++ {
		switch r.peek().Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			open++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			open--
		case hclsyntax.TokenNewline:
			if open <= 0 {
				return
			}
		}
	}
}

var (
	errTooMuch = errors.New("too much for a document") // ends the reading, which would cost too much
	errDepth   = fmt.Errorf("nested too deep: %w", errTooMuch)
	errNotData = errors.New("want a value, not an expression")
)

// value reads a value that is plain data.
func (r *hclReader) value(v *value) error {
	t := r.next()
	v.line = t.Range.Start.Line
	switch t.Type {
	case hclsyntax.TokenOQuote:
		v.kind = kindString
		return r.quoted(&v.text)
	case hclsyntax.TokenOHeredoc:
		v.kind = kindString
		return r.heredoc(&v.text, strings.HasPrefix(string(t.Bytes), "<<-"))
	case hclsyntax.TokenNumberLit:
		return v.setNumber(string(t.Bytes))
	case hclsyntax.TokenMinus:
		if n := r.next(); n.Type == hclsyntax.TokenNumberLit {
			return v.setNumber("-" + string(n.Bytes))
		}
	case hclsyntax.TokenIdent:
		return v.setWord(string(t.Bytes))
	case hclsyntax.TokenOBrack, hclsyntax.TokenOBrace:
		if r.depth++; r.depth > maxDepth {
			return errDepth
		}
		defer func() { r.depth-- }()
		if t.Type == hclsyntax.TokenOBrack {
			return r.list(v)
		}
		return r.object(v)
	}
	return errNotData
}

func (v *value) setWord(word string) error {
	switch word {
	case "true", "false":
		v.kind, v.truth = kindBool, word == "true"
	case "null":
		v.kind = kindNull
	default:
		return errors.New("Variables not allowed: a document is data") // as the language words it
	}
	return nil
}

func (r *hclReader) list(v *value) error {
	v.kind = kindList
	for r.skipLines(); !r.is(hclsyntax.TokenCBrack); r.skipLines() {
		var one value
		if err := r.value(&one); err != nil {
			return err
		}
		v.list = append(v.list, one)
		if r.skipLines(); r.is(hclsyntax.TokenCBrack) {
			break
		}
		if r.next().Type != hclsyntax.TokenComma {
			return errors.New("want a comma between the elements of a list")
		}
	}
	r.next()
	return nil
}

// object reads { name = value, ... }. A comma or the end of a line stands between
// two fields, = or : between a name and its value.
func (r *hclReader) object(v *value) error {
	v.kind = kindObject
	names := names{}
	for r.skipLines(); !r.is(hclsyntax.TokenCBrace); r.skipLines() {
		t := r.next()
		f := field{name: string(t.Bytes), line: t.Range.Start.Line}
		switch t.Type {
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit:
		case hclsyntax.TokenOQuote:
			f.name = ""
			if err := r.quoted(&f.name); err != nil {
				return err
			}
		default:
			return errors.New("want a name, not an expression")
		}
		if sep := r.next().Type; sep != hclsyntax.TokenEqual && sep != hclsyntax.TokenColon {
			return errors.New("want = between a name and its value")
		}
		if err := r.value(&f.value); err != nil {
			return err
		}
		if err := r.spend(f.name); err != nil {
			return err
		}
		if err := names.enter(v, f); err != nil {
			return err
		}
		if r.is(hclsyntax.TokenCBrace) {
			break
		}
		if sep := r.next().Type; sep != hclsyntax.TokenComma && sep != hclsyntax.TokenNewline {
			return errors.New("want a comma or a new line between the fields of an object")
		}
	}
	r.next()
	return nil
}
