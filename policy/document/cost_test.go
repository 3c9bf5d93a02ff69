//go:build !race

package document

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"lictor/policy"
)

// shapes make texts of about n bytes, each of which could once cost more than
// its size: one value must never take the gateway down (X6).
var shapes = []struct {
	name string
	kind policy.Kind
	make func(n int) string
}{
	{"a long name above many numbers", policy.KindConsumers, func(n int) string {
		return `{"` + strings.Repeat("a", n/2) + `":[` + strings.Repeat("1,", n/4) + `1]}`
	}},
	{"long names in long names", policy.KindConsumers, func(n int) string {
		return strings.Repeat(`{"`+strings.Repeat("a", n/30)+`":`, 30) + "1" + strings.Repeat("}", 30)
	}},
	{"many settings of a plugin", policy.KindPlugins, func(n int) string {
		return `{"name":"rate-limiting","config":{"minute":1` + numbered(n, `,"a%":1`) + "}}"
	}},
	{"many unknown fields", policy.KindACLs, func(n int) string { return `{"api":"x"` + numbered(n, `,"a%":1`) + "}" }},
	{"numbers where paths are wanted", policy.KindFilters, func(n int) string {
		return `{"paths":[` + strings.Repeat("1,", n/2) + "1]}"
	}},
	{"nonsense where paths are wanted", policy.KindFilters, func(n int) string {
		return `{"paths":[` + strings.Repeat(`"x",`, n/4) + `"x"]}`
	}},
	{"blanks where groups are wanted", policy.KindACLs, func(n int) string {
		return `{"api":"x","groups":[` + strings.Repeat(`"",`, n/3) + `""]}`
	}},
	{"one backend again and again", policy.KindMappings, func(n int) string {
		return `{"backends":[` + strings.Repeat(`"http://a",`, n/11) + `"http://a"]}`
	}},
	{"a heredoc of short lines", policy.KindBlacklist, func(n int) string {
		return "entries = [\"a.example\"]\nreason = <<-E\n" + strings.Repeat(" x\n", n/3) + "E\n"
	}},
	{"a heredoc of templates written twice", policy.KindBlacklist, func(n int) string {
		return "reason = <<-E\n" + strings.Repeat("$${", n/3) + "\nE\n"
	}},
	{"templates written twice", policy.KindBlacklist, func(n int) string { return `reason = "` + strings.Repeat("$${", n/3) + "\"\n" }},
	{"directives written twice", policy.KindBlacklist, func(n int) string { return `reason = "` + strings.Repeat("%%{", n/3) + "\"\n" }},
	{"blocks", policy.KindPlugins, func(n int) string { return numbered(n, "a%{}\n") }},
	{"attributes", policy.KindPlugins, func(n int) string { return numbered(n, "a% = 1\n") }},
	{"an attribute again and again", policy.KindPlugins, func(n int) string { return strings.Repeat("a = 1\n", n/6) }},
	{"fields of an object", policy.KindPlugins, func(n int) string { return "config = {" + numbered(n, "a% = 1\n") + "}\n" }},
	{"fields in a block", policy.KindPlugins, func(n int) string { return "config {\n" + numbered(n, "a% = 1\n") + "}\n" }},
	{"digits", policy.KindPlugins, func(n int) string { return "config = {minute = 1" + strings.Repeat("0", n) + "}\n" }},
	{"digits in JSON", policy.KindPlugins, func(n int) string { return `{"config":{"minute":1` + strings.Repeat("0", n) + "}}" }},
	{"entries in HCL", policy.KindBlacklist, func(n int) string { return "entries = [" + numbered(n, `"a%.example",`) + "]\n" }},
	{"one name with many ports", policy.KindBlacklist, func(n int) string { return numbered(n, "a.example:%\n") }},
	{"one URL with many methods", policy.KindBlacklist, func(n int) string { return numbered(n, "M% http://a.example/\n") }},
	{"entries one a line", policy.KindBlacklist, func(n int) string { return numbered(n, "a%.example\n") }},
	{"nonsense one a line", policy.KindBlacklist, func(n int) string { return numbered(n, "a b%\n") }},
}

// numbered repeats a text with a number in the place of %.
func numbered(n int, unit string) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.ReplaceAll(unit, "%", strconv.Itoa(i)))
	}
	return b.String()
}

// allocated returns how many bytes f allocates in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// most is how many bytes may be allocated for each byte of a text, garbage and
// what the race detector adds included.
const most = 1000

// TestADocumentCostsNoMoreThanItsSize doubles the size of each shape.
func TestADocumentCostsNoMoreThanItsSize(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			for n := 8 << 10; n <= 64<<10; n *= 2 {
				text := []byte(shape.make(n))
				got := allocated(func() {
					c := Change(key(shape.kind, "x.example"), 1, 1, text)
					policy.NewBuilder(policy.Options{}).Apply(1, []policy.Change{c})
				})
				if got > uint64(most*len(text)+1<<20) {
					t.Fatalf("a text of %d bytes takes %d", len(text), got)
				}
			}
		})
	}
}

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
