package document

import (
	"fmt"
	"strings"
	"testing"

	"lictor/policy"
)

// TestHostileDocumentsAreRefused feeds values as large as Consul takes that once
// ended the process by a stack overflow, or took minutes (X6: one malformed value
// never takes the gateway down). What reading one costs is told by what it
// allocates, which does not depend on the machine.
func TestHostileDocumentsAreRefused(t *testing.T) {
	fill := func(before, unit, after string) string {
		return before + strings.Repeat(unit, (512<<10-len(before)-len(after))/len(unit)) + after
	}
	loops := "[for a in [" + strings.Repeat("1,", 1000) + "1]: "
	for name, text := range map[string]string{
		"parentheses":            fill("api = ", "(", ""),
		"lists in lists":         fill("api = ", "[", ""),
		"lists on lines":         fill("api = ", "[\n", ""),
		"objects in objects":     fill("api = ", "{a=", ""),
		"negations":              fill("api = ", "!", "true"),
		"signs":                  fill("api = ", "-", "1"),
		"templates in templates": fill("api = ", `"${`, ""),
		"heredocs in templates":  fill("api = ", "<<A\n${", ""),
		"conditions":             fill("api = ", "true?1:", "1"),
		"directives":             fill(`api = "`, "%{if true}", `"`),
		"sums":                   fill("api = 1", "+1", ""),
		"calls":                  fill("api = ", "f(", ""),
		"indexes":                fill("api = a", "[0]", ""),
		"indexes in indexes":     fill("api = ", "a[", ""),
		"loops in lists":         fill("api = ", "[for a in ", ""),
		"blocks in blocks":       fill("", "a {\n", ""),
		"JSON in JSON":           fill("", `{"a":`, ""),
		"loops in loops":         "api = \"x\"\ngroups = " + strings.Repeat(loops, 8) + "1" + strings.Repeat("]", 8),
		"loops in parentheses":   "api = \"x\"\ngroups = (" + strings.Repeat(loops, 8) + "1" + strings.Repeat("]", 8) + ")",
		"loops in a template":    "api = \"x\"\ngroups = \"${" + strings.Repeat(loops, 8) + "1" + strings.Repeat("]", 8) + "}\"",
		"loops in a name":        "api = \"x\"\ngroups = {(" + strings.Repeat(loops, 8) + "1" + strings.Repeat("]", 8) + ") = 1}",
		"one field on each line": fill("", "api = \"a\"\n", ""),
		"nonsense on each line":  fill("", "a b c\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			cost := allocated(func() { _, err = Parse(key(policy.KindACLs, "x"), []byte(text)) })
			if err == nil {
				t.Error("it was taken")
			} else if n := len(err.Error()); n > 64<<10 {
				t.Errorf("the problems take %d bytes", n)
			}
			if cost > uint64(most*len(text)) {
				t.Errorf("it took %d bytes", cost)
			}
		})
	}
}

// TestWhatClosesIsReadBehindAnExpression checks that an ACL closes its API
// wherever the field stands that cannot be read (X6).
func TestWhatClosesIsReadBehindAnExpression(t *testing.T) {
	for _, bad := range []string{
		`upper("x")`, `"${a}"`, "[for a in [1]: a]", "(1)", "1 + 1", "true ? 1 : 2", "a.b", "a[0]", "{(a) = 1}", "!true",
	} {
		for _, format := range []string{"api = \"x\"\ngroups = %s\n", "groups = %s\napi = \"x\"\n"} {
			o, err := Parse(key(policy.KindACLs, "1"), fmt.Appendf(nil, format, bad))
			if a, ok := o.(*policy.ACL); err == nil || !ok || a.API != "x" {
				t.Errorf(format+"gives %+v, %v, want the API and an error", bad, o, err)
			}
		}
	}
}
