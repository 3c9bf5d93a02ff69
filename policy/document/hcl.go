package document

import (
	"cmp"
	"math/big"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"lictor/policy"
)

// parseHCL reads an HCL body: attributes, and blocks without labels, which are
// objects. Expressions know no variables, functions and templates: a document
// is data.
func parseHCL(data []byte) (*value, policy.Problems) {
	data, tooMuch := parsable(data)
	file, diags := hclsyntax.ParseConfig(data, "", hcl.InitialPos)
	if tooMuch != nil {
		diags = hcl.Diagnostics{tooMuch} // the rest follows from the cut
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, problems(diags)
	}
	root := hclBody(body, &diags)
	if diags.HasErrors() {
		return &root, problems(diags)
	}
	return &root, nil
}

// maxOperators bounds the operators and templates of a document. It wants none
// but the sign of a number.
const maxOperators = 64

// parsable returns what of a document can be handed to the parser, which
// descends for every bracket, operator and template: a value of half a megabyte
// of them would end the process by a stack overflow, which nothing can catch.
func parsable(data []byte) ([]byte, *hcl.Diagnostic) {
	tokens, _ := hclsyntax.LexConfig(data, "", hcl.InitialPos)
	depth, operators := 0, 0
	for i := range tokens {
		t := &tokens[i]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
			if t.Type != hclsyntax.TokenOBrace && t.Type != hclsyntax.TokenOBrack || i > 0 && tokens[i-1].Type == hclsyntax.TokenCBrack {
				operators++
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		default:
			if !plainToken(t.Type) {
				operators++
			}
		}
		if depth > maxDepth || operators > maxOperators {
			return data[:t.Range.Start.Byte], &hcl.Diagnostic{Severity: hcl.DiagError, Subject: t.Range.Ptr(), Summary: "nested too deep"}
		}
	}
	return data, nil
}

// plainToken reports whether a token is part of plain data, however much of it
// there is.
func plainToken(t hclsyntax.TokenType) bool {
	switch t {
	case hclsyntax.TokenOQuote, hclsyntax.TokenCQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit,
		hclsyntax.TokenOHeredoc, hclsyntax.TokenCHeredoc, hclsyntax.TokenNumberLit, hclsyntax.TokenIdent,
		hclsyntax.TokenEqual, hclsyntax.TokenComma, hclsyntax.TokenColon,
		hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF:
		return true
	}
	return false
}

func problems(diags hcl.Diagnostics) (list policy.Problems) {
	if len(diags) > maxProblems {
		diags = diags[:maxProblems]
	}
	for _, d := range diags {
		p := policy.Problem{Text: d.Summary}
		if d.Detail != "" {
			p.Text += ": " + d.Detail
		}
		if d.Subject != nil {
			p.Line = d.Subject.Start.Line
		}
		list = append(list, p)
	}
	return list
}

func hclBody(body *hclsyntax.Body, diags *hcl.Diagnostics) value {
	v := value{kind: kindObject, line: body.SrcRange.Start.Line}
	for name, a := range body.Attributes {
		v.fields = append(v.fields, field{name: name, line: a.NameRange.Start.Line, value: hclExpr(a.Expr, diags)})
	}
	for _, b := range body.Blocks {
		twice := slices.ContainsFunc(v.fields, func(f field) bool { return f.name == b.Type })
		if twice || len(b.Labels) > 0 {
			*diags = diags.Append(&hcl.Diagnostic{Severity: hcl.DiagError, Subject: b.TypeRange.Ptr(),
				Summary: b.Type + ": want one block without label"})
			continue
		}
		v.fields = append(v.fields, field{name: b.Type, line: b.TypeRange.Start.Line, value: hclBody(b.Body, diags)})
	}
	slices.SortFunc(v.fields, func(a, b field) int { return cmp.Or(a.line-b.line, cmp.Compare(a.name, b.name)) })
	return v
}

// hclExpr evaluates an expression, going into lists and objects itself, so that
// every element has its line.
func hclExpr(e hclsyntax.Expression, diags *hcl.Diagnostics) value {
	v := value{line: e.Range().Start.Line}
	switch e := e.(type) {
	case *hclsyntax.TupleConsExpr:
		v.kind = kindList
		for _, one := range e.Exprs {
			v.list = append(v.list, hclExpr(one, diags))
		}
		return v
	case *hclsyntax.ObjectConsExpr:
		v.kind = kindObject
		for _, item := range e.Items {
			key, d := hclKey(item.KeyExpr)
			*diags = append(*diags, d...)
			if d.HasErrors() || key.IsNull() || key.Type() != cty.String {
				continue
			}
			name := key.AsString()
			if slices.ContainsFunc(v.fields, func(f field) bool { return f.name == name }) {
				*diags = diags.Append(&hcl.Diagnostic{Severity: hcl.DiagError, Subject: item.KeyExpr.Range().Ptr(),
					Summary: name + " is given twice"})
			}
			v.fields = append(v.fields, field{name: name, line: item.KeyExpr.Range().Start.Line, value: hclExpr(item.ValueExpr, diags)})
		}
		return v
	}
	if !isData(e) {
		*diags = diags.Append(&hcl.Diagnostic{Severity: hcl.DiagError, Subject: e.Range().Ptr(), Summary: "want a value, not an expression"})
		return v
	}
	result, d := e.Value(nil)
	*diags = append(*diags, d...)
	if !d.HasErrors() {
		scalar(&v, result)
	}
	return v
}

// hclKey evaluates the name of an object's field.
func hclKey(e hclsyntax.Expression) (cty.Value, hcl.Diagnostics) {
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); !ok || k.ForceNonLiteral || !isData(k.Wrapped) {
		return cty.NilVal, hcl.Diagnostics{{Severity: hcl.DiagError, Subject: e.Range().Ptr(), Summary: "want a name, not an expression"}}
	}
	return e.Value(nil)
}

// isData reports whether an expression is a value that costs nothing to
// evaluate. Whatever computes could go on for hours, with loops in loops.
func isData(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr, *hclsyntax.ScopeTraversalExpr: // a variable, which is told by name
		return true
	case *hclsyntax.UnaryOpExpr: // the sign of a number
		_, ok := e.Val.(*hclsyntax.LiteralValueExpr)
		return ok
	case *hclsyntax.TemplateExpr:
		return !slices.ContainsFunc(e.Parts, func(part hclsyntax.Expression) bool {
			_, ok := part.(*hclsyntax.LiteralValueExpr)
			return !ok
		})
	}
	return false
}

func scalar(v *value, c cty.Value) {
	switch {
	case c.IsNull() || !c.IsKnown():
	case c.Type() == cty.String:
		v.kind, v.text = kindString, c.AsString()
	case c.Type() == cty.Bool:
		v.kind, v.truth = kindBool, c.True()
	case c.Type() == cty.Number:
		v.kind = kindNumber
		if n, accuracy := c.AsBigFloat().Int64(); accuracy == big.Exact {
			v.number = n
		} else {
			v.number, _ = c.AsBigFloat().Float64()
		}
	default:
		v.kind = kindObject // the result of an expression that the schema wants nowhere
	}
}
