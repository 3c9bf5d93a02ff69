package openapitest

import (
	"fmt"
	"slices"
	"strings"

	"lictor/admin/openapi"
)

// Tables returns the paths as Markdown: a table of paths for each chapter, and
// one of fields for each kind of object that is written.
func Tables(paths []openapi.Path) string {
	var b strings.Builder
	var tags []string
	for _, p := range paths {
		if p.Operation != nil && !slices.Contains(tags, p.Operation.Tag) {
			tags = append(tags, p.Operation.Tag)
		}
	}
	for _, tag := range tags {
		var chapter []openapi.Path
		for _, p := range paths {
			if p.Operation != nil && p.Operation.Tag == tag {
				chapter = append(chapter, p)
			}
		}
		fmt.Fprintf(&b, "## %s\n\n", tag)
		pathTable(&b, chapter)
		fieldTables(&b, chapter)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// pathTable writes a row for each path, with all its methods.
func pathTable(b *strings.Builder, chapter []openapi.Path) {
	b.WriteString("| path | requests |\n|---|---|\n")
	for i := 0; i < len(chapter); {
		path := chapter[i].Path
		fmt.Fprintf(b, "| `%s` |", path)
		for ; i < len(chapter) && chapter[i].Path == path; i++ {
			p := &chapter[i]
			fmt.Fprintf(b, " **%s** %s (%s).", p.Method, p.Operation.Summary, answers(p))
		}
		b.WriteString(" |\n")
	}
	b.WriteByte('\n')
}

func answers(p *openapi.Path) string {
	var all []string
	for _, a := range p.Operation.Answers {
		all = append(all, fmt.Sprint(a.Status))
	}
	return strings.Join(all, ", ")
}

func fieldTables(b *strings.Builder, chapter []openapi.Path) {
	var written []string
	var table func(s *openapi.Schema)
	table = func(s *openapi.Schema) {
		if s == nil || s.Name == "" || slices.Contains(written, s.Name) {
			return
		}
		written = append(written, s.Name)
		fieldTable(b, s)
		for _, f := range s.Fields {
			table(f.Schema)
		}
	}
	for _, p := range chapter {
		table(p.Operation.Body)
	}
}

func fieldTable(b *strings.Builder, s *openapi.Schema) {
	fmt.Fprintf(b, "| field of %s | type | what it is |\n|---|---|---|\n", s.Name)
	for _, f := range s.Fields {
		if f.Name != "error" && f.Name != "held" && f.Name != "warnings" { // the same everywhere
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, typeText(f.Schema), f.Schema.About)
		}
	}
	b.WriteByte('\n')
}

func typeText(s *openapi.Schema) string {
	switch {
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Type == "array":
		return "list of " + typeText(s.Items) + "s"
	case s.Format == "date-time":
		return "time"
	case s.Type == "":
		return "any"
	}
	return s.Type
}
