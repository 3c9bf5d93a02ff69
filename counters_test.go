package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lictor/internal/crash"
	"lictor/internal/limits"
)

// Every place that contains panics, and every bound that is counted, has a series
// from the start: of one that begins with its first event Prometheus sees no increase.
func TestCountersAreThereFromTheStart(t *testing.T) {
	for _, c := range []struct {
		is     string
		pkg    string
		calls  []string
		counts map[string]uint64
	}{
		{"places of panics", "crash", []string{"Contain", "Go", "Tell"}, crash.Counts()},
		{"bounds", "limits", []string{"Hit"}, limits.Counts()},
	} {
		used := firstArguments(t, c.pkg, c.calls)
		if len(used) < 8 {
			t.Errorf("only %d %s were found in the source: %v", len(used), c.is, used)
		}
		if there := slices.Sorted(maps.Keys(c.counts)); !slices.Equal(there, slices.Sorted(maps.Keys(used))) {
			t.Errorf("%s that are counted from the start:\n%q\nand those in the source:\n%q", c.is, there, slices.Sorted(maps.Keys(used)))
		}
		for name, n := range c.counts {
			if n != 0 {
				t.Errorf("%s begins with %d", name, n)
			}
		}
	}
}

// firstArguments returns the texts that the program's calls of functions of a package
// have as their first argument: written out, a constant of the package that calls, or
// a parameter of a function there, for which the calls of that one count.
func firstArguments(t *testing.T, of string, functions []string) map[string]bool {
	t.Helper()
	used := make(map[string]bool)
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return err
		case dir == "integration" || dir == filepath.Join("internal", of) || strings.HasPrefix(d.Name(), ".") && dir != ".":
			return fs.SkipDir
		}
		var files []*ast.File
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		set := token.NewFileSet()
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		p := calls{t: t, set: set, files: files, used: used}
		for _, f := range functions {
			p.of(func(call *ast.CallExpr) bool {
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != f {
					return false
				}
				x, ok := sel.X.(*ast.Ident)
				return ok && x.Name == of
			})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// calls gathers first arguments of calls in one package.
type calls struct {
	t     *testing.T
	set   *token.FileSet
	files []*ast.File
	used  map[string]bool
}

func (p *calls) of(is func(*ast.CallExpr) bool) {
	for _, file := range p.files {
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 && is(call) {
					p.take(call.Args[0], decl)
				}
				return true
			})
		}
	}
}

// take reads an argument of a call that stands in a declaration.
func (p *calls) take(arg ast.Expr, within ast.Decl) {
	if lit, ok := arg.(*ast.BasicLit); ok {
		text, _ := strconv.Unquote(lit.Value)
		p.used[text] = true
		return
	}
	name, ok := arg.(*ast.Ident)
	if !ok {
		p.t.Errorf("%s: want a constant text", p.set.Position(arg.Pos()))
		return
	}
	if f, ok := within.(*ast.FuncDecl); ok && len(f.Type.Params.List) > 0 && f.Type.Params.List[0].Names[0].Name == name.Name {
		p.of(func(call *ast.CallExpr) bool {
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				return fun.Name == f.Name.Name
			case *ast.SelectorExpr:
				return fun.Sel.Name == f.Name.Name
			}
			return false
		})
		return
	}
	for _, file := range p.files {
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, spec := range g.Specs {
					if v := spec.(*ast.ValueSpec); v.Names[0].Name == name.Name && len(v.Values) == 1 {
						p.take(v.Values[0], decl)
						return
					}
				}
			}
		}
	}
	p.t.Errorf("%s: %s is no constant of its package", p.set.Position(arg.Pos()), name.Name)
}
