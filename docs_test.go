package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

// Each id that a comment cites ("B11") is a rule of docs/behaviour.md.
func TestEveryCitedRuleStandsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("docs/behaviour.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-FKUX]\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		if rules[m[1]] {
			t.Errorf("%s stands in docs/behaviour.md twice", m[1])
		}
		rules[m[1]] = true
	}
	cited := regexp.MustCompile(`[(/ ]([A-FKUX][1-9]\d?)[),.:; ]`)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for n, line := range strings.Split(string(source), "\n") {
			_, comment, ok := strings.Cut(line, "// ")
			if !ok || strings.Contains(line, `"`) {
				continue
			}
			for _, m := range cited.FindAllStringSubmatch(" "+comment+" ", -1) {
				if !rules[m[1]] {
					t.Errorf("%s:%d cites %s, which docs/behaviour.md does not have", path, n+1, m[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever meets a reason finds what to look at, and no reason of the program is
// missing in the list.
func TestEveryReasonIsExplainedToOperators(t *testing.T) {
	known := column(t, "docs/reference/reasons.md", "An answer of")
	advised := column(t, "docs/operations.md", "## When it refuses")
	for _, reason := range constants(t, "proxy", "policy") {
		if !known[reason] {
			t.Errorf("docs/reference/reasons.md does not have %q", reason)
		}
	}
	rules, err := os.ReadFile("docs/behaviour.md")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := strings.Cut(string(rules), "**Reasons** (X5; a closed set).")
	closed, _, _ = strings.Cut(closed, "\n---")
	for reason := range known {
		if !strings.Contains(closed, "`"+reason+"`") && reason != "client_left" { // which no client gets to see
			t.Errorf("docs/behaviour.md does not have %q among the reasons", reason)
		}
		if !advised[reason] {
			t.Errorf("docs/operations.md says nothing about %q", reason)
		}
	}
	for reason := range advised {
		if !known[reason] {
			t.Errorf("docs/operations.md advises about %q, which is no reason", reason)
		}
	}
}

// column returns the words in backquotes of the first column of the table that
// follows after, in the same section.
func column(t *testing.T, file, after string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), after)
	if !ok {
		t.Fatalf("%s has no %q", file, after)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	words := make(map[string]bool)
	for line := range strings.Lines(rest) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		if !strings.HasPrefix(line, "|") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			words[m[1]] = true
		}
	}
	return words
}

// constants returns the values of the constants of a type Reason below folders.
func constants(t *testing.T, folders ...string) (values []string) {
	t.Helper()
	is := regexp.MustCompile(`(?m)^\s*\w+\s+(?:\w+\.)?Reason\s*=\s*"([a-z_]+)"`)
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range is.FindAllStringSubmatch(string(text), -1) {
				values = append(values, m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(values) < 20 {
		t.Fatalf("only %d reasons were found in the source: %q", len(values), values)
	}
	return values
}

// Every metric of the program has a row, and every row is one of its metrics.
func TestMetricsAreInTheDocs(t *testing.T) {
	told := column(t, "docs/reference/metrics.md", "# Metrics")
	used := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == "integration":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`"(lictor_[a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range used {
		if !told[name] {
			t.Errorf("docs/reference/metrics.md does not have %s", name)
		}
	}
	for name := range told {
		if !used[name] {
			t.Errorf("docs/reference/metrics.md has %s, which is no metric", name)
		}
	}
}

// Each type of plugin has a row in the list, in the order in which they run, and a
// page of its own.
func TestEveryPluginHasAPage(t *testing.T) {
	list, err := os.ReadFile("docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for _, p := range policy.PluginTables() {
		want = append(want, p.Plugin)
		text, err := os.ReadFile("docs/plugins/" + p.Plugin + ".md")
		if err != nil || !strings.HasPrefix(string(text), "# "+p.Plugin+"\n") {
			t.Errorf("the plugin %s has no page: %v", p.Plugin, err)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| \[([a-z-]+)\]\(plugins/([a-z-]+)\.md\) \|`).FindAllStringSubmatch(string(list), -1) {
		if m[1] == m[2] {
			have = append(have, m[1])
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("docs/plugins.md lists %q, want %q, the order in which they run", have, want)
	}
}
