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
// objects. Expressions know no variables and no functions.
func parseHCL(data []byte) (*value, policy.Problems) {
	file, diags := hclsyntax.ParseConfig(data, "", hcl.InitialPos)
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

func problems(diags hcl.Diagnostics) (list policy.Problems) {
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
			key, d := item.KeyExpr.Value(nil)
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
	result, d := e.Value(nil)
	*diags = append(*diags, d...)
	if !d.HasErrors() {
		scalar(&v, result)
	}
	return v
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
