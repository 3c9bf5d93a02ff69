package policy_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"lictor/policy"
)

var update = flag.Bool("update", false, "write the tables into the documentation")

const (
	page        = "../docs/reference/policy-objects.md"
	tablesBegin = "<!-- The tables are made of policy/tables.go: go test ./policy -run TestReference -update -->\n"
	tablesEnd   = "<!-- End of the tables. -->\n"
)

// TestReferenceTellsEveryField holds the reference against the tables.
func TestReferenceTellsEveryField(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tablesBegin)
	have, after, ends := strings.Cut(rest, tablesEnd)
	if !ok || !ends {
		t.Fatalf("%s has no place for the tables", page)
	}
	want := reference()
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: make docs", page)
	}
	if err := os.WriteFile(page, []byte(before+tablesBegin+want+tablesEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reference returns the tables of all kinds and plugins as Markdown.
func reference() string {
	var b strings.Builder
	for _, kind := range policy.Kinds {
		t := policy.TableOf(kind)
		fmt.Fprintf(&b, "\n## `%s`\n\n%s The name in the key is %s.\n\n", kind, t.Doc, t.Named)
		rows(&b, t.Fields)
	}
	for _, t := range policy.PluginTables() {
		fmt.Fprintf(&b, "\n## `config` of the plugin `%s`\n\n", t.Plugin)
		rows(&b, t.Fields)
	}
	return b.String() + "\n"
}

func rows(b *strings.Builder, fields []policy.Field) {
	b.WriteString("| field | type | without it | what it says | example |\n|---|---|---|---|---|\n")
	for _, f := range fields {
		name, kind := "`"+f.Name+"`", f.Type.String()
		if f.Alias != "" {
			name += " or `" + f.Alias + "`"
		}
		if f.Enum != nil {
			kind = "`" + strings.Join(f.Enum, "`, `") + "`"
		}
		if f.Refers != "" {
			kind += ": `" + string(f.Refers) + "`"
		}
		if f.Type == policy.TypeWhole && f.Least > 0 {
			kind += fmt.Sprintf(" from %d", f.Least)
		}
		without := f.Default
		if without == "" && f.Needed {
			without = "an error"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | `%s` |\n", name, kind, without, f.Doc, f.Example)
	}
}
