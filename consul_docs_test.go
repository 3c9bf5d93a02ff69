package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// askers are the packages that send requests to Consul.
var askers = []string{"internal/consul", "internal/consul/presence", "internal/consul/mesh", "resolver/consul", "policy/store/consul"}

// Every request to Consul stands in docs/consul.md, by method and path, and
// nothing else does.
func TestEveryRequestToConsulIsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("docs/consul.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		path, _, _ := strings.Cut(m[2], ":")
		told[m[1]+" "+path] = true
	}
	sent := consulRequests(t)
	if len(sent) < 10 {
		t.Errorf("found only %d requests in the code: %v", len(sent), sent)
	}
	for request, place := range sent {
		if !covered(request, told) {
			t.Errorf("%s: %s is not in docs/consul.md", place, request)
		}
	}
	for request := range told {
		if !covered(request, sent) {
			t.Errorf("docs/consul.md tells of %s, which nobody asks", request)
		}
	}
}

// covered reports whether a request is among others, be it that one of them goes
// on behind a slash with what is not constant.
func covered[V any](request string, among map[string]V) bool {
	for other := range among {
		if request == other || strings.HasSuffix(other, "/") && strings.HasPrefix(request, other) {
			return true
		}
	}
	return false
}

// consulRequests returns methods and paths, up to the first part that is not
// constant, and where each is sent.
func consulRequests(t *testing.T) map[string]string {
	t.Helper()
	sent := make(map[string]string)
	files := token.NewFileSet()
	for _, dir := range askers {
		names, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(names), err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(files, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			calls, paths := 0, 0
			ast.Inspect(file, func(n ast.Node) bool {
				if path := consulPath(n); path != "" {
					paths++
				}
				if call, ok := n.(*ast.CallExpr); ok {
					if request := consulRequest(call); request != "" {
						calls++
						sent[request] = files.Position(call.Pos()).String()
					}
				}
				return true
			})
			if calls != paths {
				t.Errorf("%s: %d paths of Consul's API, but %d calls with one", name, paths, calls)
			}
		}
	}
	return sent
}

// consulPath returns the path of Consul's API that a node is, if it is one.
func consulPath(n ast.Node) string {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	if text, _ := strconv.Unquote(lit.Value); strings.HasPrefix(text, "/v1/") {
		return text
	}
	return ""
}

// consulRequest returns the method and path of a call that has a path of
// Consul's API among its arguments: GET, unless it says another.
func consulRequest(call *ast.CallExpr) string {
	method, path := "GET", ""
	if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "put" {
		method = "PUT"
	}
	for _, arg := range call.Args {
		if f, ok := arg.(*ast.SelectorExpr); ok && strings.HasPrefix(f.Sel.Name, "Method") {
			method = strings.ToUpper(strings.TrimPrefix(f.Sel.Name, "Method"))
		}
		for sum, ok := arg.(*ast.BinaryExpr); ok; sum, ok = arg.(*ast.BinaryExpr) {
			arg = sum.X
		}
		if found := consulPath(arg); found != "" {
			path = found
		}
	}
	if path == "" {
		return ""
	}
	return method + " " + path
}
