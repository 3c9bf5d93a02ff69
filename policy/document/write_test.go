package document

import (
	"encoding/json"
	"fmt"
	"strings"

	"lictor/policy"
)

// HCL writes an object as Parse reads it, one field a line.
func HCL(o policy.Object) ([]byte, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	root, problems := parseJSON(data) // for the order of the fields
	if len(problems) > 0 {
		return nil, problems
	}
	var b strings.Builder
	for i := range root.fields {
		b.WriteString(root.fields[i].name + " = ")
		root.fields[i].value.writeHCL(&b)
		b.WriteByte('\n')
	}
	return []byte(b.String()), nil
}

func (v *value) writeHCL(b *strings.Builder) {
	switch v.kind {
	case kindString:
		quoteHCL(b, v.text)
	case kindList:
		b.WriteByte('[')
		for i := range v.list {
			if i > 0 {
				b.WriteString(", ")
			}
			v.list[i].writeHCL(b)
		}
		b.WriteByte(']')
	case kindObject:
		b.WriteByte('{')
		for i := range v.fields {
			if i > 0 {
				b.WriteString(", ")
			}
			quoteHCL(b, v.fields[i].name)
			b.WriteString(" = ")
			v.fields[i].value.writeHCL(b)
		}
		b.WriteByte('}')
	case kindNumber:
		fmt.Fprint(b, v.number)
	case kindBool:
		fmt.Fprint(b, v.truth)
	default:
		b.WriteString("null")
	}
}

// quoteHCL writes a string literal in which nothing is a template.
func quoteHCL(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
