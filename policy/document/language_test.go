package document

import (
	"math/big"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// byLanguage reads a document with the parser of HCL itself, which is too costly
// for texts of strangers. ok is false for what is no data.
func byLanguage(data []byte) (v *value, ok bool) {
	file, diags := hclsyntax.ParseConfig(data, "", hcl.InitialPos)
	body, isBody := file.Body.(*hclsyntax.Body)
	if diags.HasErrors() || !isBody {
		return nil, false
	}
	return bodyByLanguage(body)
}

func bodyByLanguage(body *hclsyntax.Body) (*value, bool) {
	v := &value{kind: kindObject}
	for name, a := range body.Attributes {
		c, diags := a.Expr.Value(nil)
		one, ok := valueByLanguage(c)
		if diags.HasErrors() || !ok {
			return nil, false
		}
		v.fields = append(v.fields, field{name: name, value: *one})
	}
	for _, b := range body.Blocks {
		inner, ok := bodyByLanguage(b.Body)
		if !ok || len(b.Labels) > 0 || v.field(b.Type) != nil {
			return nil, false
		}
		v.fields = append(v.fields, field{name: b.Type, value: *inner})
	}
	return v, true
}

func valueByLanguage(c cty.Value) (*value, bool) {
	v := &value{}
	t := c.Type()
	switch {
	case !c.IsKnown():
		return nil, false
	case c.IsNull():
	case t == cty.String:
		v.kind, v.text = kindString, c.AsString()
	case t == cty.Bool:
		v.kind, v.truth = kindBool, c.True()
	case t == cty.Number:
		v.kind = kindNumber
		if n, accuracy := c.AsBigFloat().Int64(); accuracy == big.Exact {
			v.number = n
		} else {
			v.number, _ = c.AsBigFloat().Float64()
		}
	case t.IsTupleType():
		v.kind = kindList
		for _, one := range c.AsValueSlice() {
			inner, ok := valueByLanguage(one)
			if !ok {
				return nil, false
			}
			v.list = append(v.list, *inner)
		}
	case t.IsObjectType():
		v.kind = kindObject
		for name, one := range c.AsValueMap() {
			inner, ok := valueByLanguage(one)
			if !ok {
				return nil, false
			}
			v.fields = append(v.fields, field{name: name, value: *inner})
		}
	default:
		return nil, false
	}
	return v, true
}
