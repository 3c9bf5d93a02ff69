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

// Every key of a log line stands in the README's table, and nothing else does.
func TestLogKeysAreInTheREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Log keys\n")
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
			t.Errorf("%s: %q is not in the README", place, key)
		}
	}
	for key := range told {
		if used[key] == "" {
			t.Errorf("the README tells of %q, which no line has", key)
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
			if call, ok := n.(*ast.CallExpr); ok && isLog(call) {
				for i := 1; i < len(call.Args); i += 2 {
					if lit, ok := call.Args[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
						key, _ := strconv.Unquote(lit.Value)
						used[key] = files.Position(lit.Pos()).String()
					}
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

// isLog reports whether a call writes a log line: a constant event, and pairs.
func isLog(call *ast.CallExpr) bool {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name // such as a level that was chosen
	}
	switch name {
	case "Trace", "Debug", "Info", "Warn", "Error", "level":
		return len(call.Args) > 1
	}
	return false
}
