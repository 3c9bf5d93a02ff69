package openapi

import (
	"fmt"
	"slices"
	"strings"
)

// Tables returns the paths as Markdown: a table of requests for each chapter,
// and one of fields for each kind of object that is written.
func Tables(paths []Path) string {
	var b strings.Builder
	var tags []string
	for _, p := range paths {
		if p.Operation != nil && !slices.Contains(tags, p.Operation.Tag) {
			tags = append(tags, p.Operation.Tag)
		}
	}
	for _, tag := range tags {
		fmt.Fprintf(&b, "#### %s\n\n| request | what it does | answers |\n|---|---|---|\n", tag)
		var bodies []*Schema
		for _, p := range paths {
			if p.Operation == nil || p.Operation.Tag != tag {
				continue
			}
			fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", p.Method, p.Path, p.Operation.Summary, p.answers())
			if body := p.Operation.Body; body != nil && body.Name != "" && !slices.Contains(bodies, body) {
				bodies = append(bodies, body)
			}
		}
		for _, body := range bodies {
			fmt.Fprintf(&b, "\n| field of `%s` | type | what it is |\n|---|---|---|\n", body.Name)
			for _, f := range body.Fields {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Schema.typeText(), f.Schema.About)
			}
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (p *Path) answers() string {
	var all []string
	for _, a := range p.Operation.Answers {
		all = append(all, fmt.Sprint(a.Status))
	}
	for _, status := range p.Operation.Refuses {
		all = append(all, fmt.Sprint(status))
	}
	return strings.Join(all, " ")
}

func (s *Schema) typeText() string {
	switch {
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Type == "array":
		return "list of " + s.Items.typeText() + "s"
	case s.Format == "date-time":
		return "time"
	case s.Type == "":
		return "any"
	}
	return s.Type
}
