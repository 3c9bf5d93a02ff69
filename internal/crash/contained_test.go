package crash_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// served are the trees whose goroutines work for peers.
var served = []string{"../../proxy", "../../app/listener"}

// TestEveryGoroutineIsContained reads the source: what is started on a
// goroutine of its own (by go, a Go method, or AfterFunc of time or context)
// must begin with a deferred crash.Contain, or be a method that does. One that
// does not would end the process with whatever panics in it.
func TestEveryGoroutineIsContained(t *testing.T) {
	found := 0
	for _, root := range served {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() || strings.HasSuffix(d.Name(), "test") {
				return err
			}
			if d.Name() == "rabbitmq" { // its goroutines go through its own keeper
				return fs.SkipDir
			}
			found += checkPackage(t, path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 10 {
		t.Errorf("only %d goroutines were found: does the test still see them?", found)
	}
}

// checkPackage checks the package in dir, and returns how many goroutines it starts.
func checkPackage(t *testing.T, dir string) (found int) {
	files := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	contained := map[string]bool{} // functions of the package, by name
	var all []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				was, twice := contained[fn.Name.Name]
				contained[fn.Name.Name] = contains(fn.Body) && (was || !twice)
			}
		}
	}
	for _, f := range all {
		ast.Inspect(f, func(n ast.Node) bool {
			work := started(n)
			if work == nil {
				return true
			}
			found++
			ok := false
			switch work := work.(type) {
			case *ast.FuncLit:
				ok = contains(work.Body)
			case *ast.SelectorExpr:
				ok = contained[work.Sel.Name]
			case *ast.Ident:
				ok = contained[work.Name]
			}
			if !ok {
				t.Errorf("%s: a goroutine whose panics nobody contains", files.Position(n.Pos()))
			}
			return true
		})
	}
	return found
}

// started returns the function that n starts on a goroutine of its own, nil if none.
func started(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.GoStmt:
		return n.Call.Fun
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case sel.Sel.Name == "Go" && len(n.Args) == 1: // of a sync.WaitGroup or errgroup.Group
			return n.Args[0]
		case sel.Sel.Name == "AfterFunc" && len(n.Args) == 2:
			return n.Args[1]
		}
	}
	return nil
}

// contains reports whether a function begins with a deferred crash.Contain.
func contains(body *ast.BlockStmt) bool {
	if len(body.List) == 0 {
		return false
	}
	d, ok := body.List[0].(*ast.DeferStmt)
	if !ok {
		return false
	}
	sel, ok := d.Call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "crash" && sel.Sel.Name == "Contain"
}
