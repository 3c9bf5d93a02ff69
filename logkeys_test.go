package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every key of a log line stands in docs/reference/log.md, and nothing else does.
func TestLogKeysAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile("docs/reference/log.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "## The access log")
	told := make(map[string]bool)
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z_0-9]+)`").FindAllStringSubmatch(cell, -1) {
			told[m[1]] = true
		}
	}
	used := logKeys(t)
	for key, place := range used {
		if !told[key] {
			t.Errorf("%s: %q is not in docs/reference/log.md", place, key)
		}
	}
	for key := range told {
		if used[key] == "" {
			t.Errorf("docs/reference/log.md tells of %q, which no line has", key)
		}
	}
}

// Every key of a line of the access log stands in docs/reference/log.md, and no other
// does.
func TestKeysOfTheAccessLogAreInTheDocs(t *testing.T) {
	keysAreTold(t, "## The access log", `[`+"`"+` {]"([a-z_]+)": `, "proxy/answer/linejson.go", "proxy/answer/accesslog.go")
}

// The same of the decision log.
func TestKeysOfTheDecisionLogAreInTheDocs(t *testing.T) { // R1
	keysAreTold(t, "## The decision log", `[,{]"([a-z_]+)":`, "proxy/answer/decision.go")
}

// keysAreTold compares the keys that files write with those that a section of log.md
// has.
func keysAreTold(t *testing.T, section, key string, files ...string) {
	t.Helper()
	told := column(t, "docs/reference/log.md", section)
	used := make(map[string]bool)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(key).FindAllStringSubmatch(string(source), -1) {
			used[m[1]] = true
		}
	}
	if len(used) < 28 {
		t.Fatalf("only %d keys were found in the source: %v", len(used), used)
	}
	for key := range used {
		if !told[key] {
			t.Errorf("%s: a line has %q, which docs/reference/log.md does not have", section, key)
		}
	}
	for key := range told {
		if !used[key] {
			t.Errorf("%s: docs/reference/log.md tells of %q, which no line has", section, key)
		}
	}
}

// logKeys returns the keys that log calls of the program have, and a place of each.
func logKeys(t *testing.T) map[string]string {
	t.Helper()
	used := make(map[string]string)
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "integration" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			pairs := logPairs(n)
			for i := 0; i < len(pairs); i += 2 {
				if lit, ok := pairs[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					key, _ := strconv.Unquote(lit.Value)
					used[key] = files.Position(lit.Pos()).String()
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// logPairs returns the keys and values of a log line: behind its constant event,
// or in a slice that it is gathered in.
func logPairs(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.CompositeLit:
		if list, ok := n.Type.(*ast.ArrayType); ok {
			if of, ok := list.Elt.(*ast.Ident); ok && of.Name == "any" {
				return n.Elts
			}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) > 1 {
			switch f.Sel.Name {
			case "Trace", "Debug", "Info", "Warn", "Error":
				return n.Args[1:]
			}
		}
	}
	return nil
}
