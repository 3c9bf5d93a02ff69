package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each id that a comment cites ("B11") is a rule of docs/behaviour.md.
func TestEveryCitedRuleStandsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("docs/behaviour.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-FX]\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		if rules[m[1]] {
			t.Errorf("%s stands in docs/behaviour.md twice", m[1])
		}
		rules[m[1]] = true
	}
	cited := regexp.MustCompile(`[(/ ]([A-FX][1-9]\d?)[),.:; ]`)
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
