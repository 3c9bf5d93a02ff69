package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const example = "../config.hcl.example"

// parseExample returns config.hcl.example as text and as HCL.
func parseExample(t *testing.T) ([]byte, *hclsyntax.Body) {
	t.Helper()
	clean(t)
	t.Setenv("LICTOR_ADMIN_TOKEN", "")
	text, err := readFile(example)
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclsyntax.ParseConfig(text, example, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return text, file.Body.(*hclsyntax.Body)
}

// TestExampleHoldsTheDefaults takes each option out of config.hcl.example
// (X10): without the line the configuration must be the same, unless the option
// is one that must be there.
func TestExampleHoldsTheDefaults(t *testing.T) {
	text, body := parseExample(t)
	whole, err := configured(text)
	if err != nil {
		t.Fatal(err)
	}
	every(body, "", func(name string, attr *hclsyntax.Attribute) {
		switch {
		case strings.HasPrefix(name, "middleware "), strings.HasPrefix(name, "listener ") && strings.HasSuffix(name, ": address"):
			return // shows uses, not defaults
		case name == "policy: store":
			return // has no default of its own, see there
		}
		at := attr.Range()
		rest, err := configured(slices.Concat(text[:at.Start.Byte], text[at.End.Byte:]))
		if err == nil && rest != whole {
			t.Errorf("%s: %s: the example does not show the default", at, name)
		}
	})
}

// configured is what text configures, in a form in which an empty list in the
// file is the same as none.
func configured(text []byte) (string, error) {
	cfg, err := Parse(OS(), File{Name: example, Text: text})
	if err != nil {
		return "", err
	}
	out, err := json.Marshal(cfg)
	return strings.NewReplacer("[]", "null", "{}", "null").Replace(string(out)), err
}

// TestExampleNamesEveryOption compares the names in config.hcl.example with
// those that the code takes.
func TestExampleNamesEveryOption(t *testing.T) {
	_, body := parseExample(t)
	d := &decoder{cfg: Default(), ctx: &hcl.EvalContext{Functions: functions(OS())}}
	d.file(body)
	got := every(body, "", func(string, *hclsyntax.Attribute) {})
	for _, known := range blocks {
		name := known.kind
		if known.label != "" {
			name += " " + strconv.Quote(known.label)
		}
		d.names = append(d.names, name)
	}
	if got, want := plain(got), plain(d.names); !slices.Equal(got, want) {
		t.Errorf("the example names\n%q\nthe code takes\n%q", got, want)
	}
}

// plain sorts names and takes the label away from blocks of any name.
func plain(names []string) []string {
	free := regexp.MustCompile(`(middleware|listener|access|feed) "[^"]*"`)
	for i := range names {
		names[i] = free.ReplaceAllString(names[i], `$1 "*"`)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// every calls f for each option in body, and returns the names of options and
// blocks as problems call them.
func every(body *hclsyntax.Body, within string, f func(string, *hclsyntax.Attribute)) []string {
	var names []string
	for name, attr := range body.Attributes {
		names = append(names, within+name)
		f(within+name, attr)
	}
	for _, b := range body.Blocks {
		name := within + title(b.AsHCLBlock())
		names = append(append(names, name), every(b.Body, name+": ", f)...)
	}
	return names
}
