package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const example = "../config.hcl.example"

// TestExampleHoldsTheDefaults loads config.hcl.example (X10): whoever takes a
// line out of it must get the same.
func TestExampleHoldsTheDefaults(t *testing.T) {
	clean(t)
	t.Setenv("LICTOR_ADMIN_TOKEN", "")
	got, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	var heads []string // every block of the example, but empty
	for _, known := range blocks {
		head := known.kind
		if known.label != "" {
			head += ` "` + known.label + `"`
		}
		heads = append(heads, head+" {\n}\n")
	}
	want, err := Parse(OS(), File{Name: "empty.hcl", Text: []byte(strings.Join(heads, ""))})
	if err != nil {
		t.Fatal(err)
	}
	// An empty list in the file is no list in the code.
	got.Gateway.TrustedProxies, got.Gateway.TrustedNetworks, got.Gateway.ProtectedHeaders = nil, nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestExampleNamesEveryOption compares the names in config.hcl.example with
// what the code takes: HCL says which arguments and blocks a body could hold.
func TestExampleNamesEveryOption(t *testing.T) {
	text, err := readFile(example)
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclsyntax.ParseConfig(text, example, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	d := &decoder{cfg: Default(), ctx: &hcl.EvalContext{Functions: functions(OS())}}
	d.file(file.Body)
	got, seen := names(file.Body.(*hclsyntax.Body), "")
	slices.Sort(got)
	slices.Sort(d.options)
	if !slices.Equal(got, d.options) {
		t.Errorf("the example names\n%q\nthe code takes\n%q", got, d.options)
	}
	for _, known := range blocks {
		name := known.kind
		if known.label != "" {
			name += " " + strconv.Quote(known.label)
		}
		if !slices.Contains(seen, name) {
			t.Errorf("the example has no block %s", name)
		}
	}
}

// names returns what stands in body, options and blocks, as problems call them.
func names(body *hclsyntax.Body, within string) (options, blocks []string) {
	for name := range body.Attributes {
		options = append(options, within+name)
	}
	for _, b := range body.Blocks {
		name := within + title(b.AsHCLBlock())
		o, inner := names(b.Body, name+": ")
		options, blocks = append(options, o...), append(append(blocks, name), inner...)
	}
	return options, blocks
}
