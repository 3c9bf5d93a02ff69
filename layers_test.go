package main

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors are the packages of the program, from the roof down. A package imports
// only what stands on a lower line than its own; those of one line do not know
// each other.
var floors = []string{
	"lictor",
	"app/cli",
	"app",
	"admin/access admin/mapping admin/objects admin/ui",
	"admin",
	"admin/edit",
	"app/telemetry proxy/gateway proxy/egress proxy/redirect policy/live",
	"proxy/upstream policy/replay policy/store/consul policy/store/dir policy/store/memory",
	"policy/store/mirror resolver/consul resolver/eureka resolver/static config proxy/http2 proxy/longlived proxy/own policy/document policy/cases policy/impact policy/geoip policy/tokens",
	"proxy/answer proxy/hops",
	"proxy/rabbitmq",
	"proxy/http1 proxy/middleware proxy/egress/dns admin/api policy/feed",
	"policy resolver policy/store", // the core, and what it is kept in
	"proxy/http1/message proxy/socket app/acme internal/consul/mesh internal/consul/presence internal/guarded app/listener app/supervisor app/echo admin/form admin/openapi",
	"internal/consul internal/ring",
	"policy/internal/trie policy/internal/packed internal/pace internal/uri internal/crash internal/durable internal/eventually internal/files internal/secret internal/trace internal/lines internal/limits internal/monotonic internal/descriptors internal/field internal/size internal/version",
	"internal/hexdigits",
}

// pure are the packages that are values alone: they can be read, tested and
// trusted without a network, a logger or a Consul.
var pure = []string{"lictor/policy", "lictor/policy/document", "lictor/policy/cases", "lictor/policy/impact", "lictor/policy/internal/trie", "lictor/policy/internal/packed", "lictor/resolver", "lictor/internal/uri", "lictor/internal/trace", "lictor/internal/size", "lictor/proxy/middleware"}

// impure is what none of them may import, not even by way of others.
var impure = []string{"net", "net/http", "log", "log/slog", "github.com/hashicorp/consul/api", "github.com/hashicorp/go-hclog"}

func TestEveryPackageStandsOnOneFloor(t *testing.T) {
	floor := make(map[string]int)
	for i, line := range floors {
		for name := range strings.FieldsSeq(line) {
			if name = "lictor/" + name; name == "lictor/lictor" {
				name = "lictor"
			}
			if _, twice := floor[name]; twice {
				t.Errorf("%s stands on two floors", name)
			}
			floor[name] = i
		}
	}
	for pkg, imports := range list(t, "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		mine, ok := floor[pkg]
		if !ok {
			if !aside(pkg) {
				t.Errorf("%s stands on no floor: give it one", pkg)
			}
			continue
		}
		delete(floor, pkg)
		for _, dep := range imports {
			theirs, known := floorOf(dep)
			if strings.HasPrefix(dep, "lictor/") && (!known || theirs <= mine) {
				t.Errorf("%s must not import %s, which stands no lower", pkg, dep)
			}
		}
	}
	for name := range floor {
		t.Errorf("%s is on a floor, but there is no such package", name)
	}
}

// floorOf returns the number of the floor that a package stands on.
func floorOf(pkg string) (int, bool) {
	i := slices.IndexFunc(floors, func(line string) bool {
		return slices.Contains(strings.Fields(line), strings.TrimPrefix(pkg, "lictor/"))
	})
	return i, i >= 0
}

// aside reports whether a package is no part of the program, but tests it.
func aside(pkg string) bool {
	return strings.HasPrefix(pkg, "lictor/integration/") || strings.HasSuffix(pkg, "test")
}

func TestTheCoreKnowsNoNetworkAndNoLogger(t *testing.T) {
	for pkg, deps := range list(t, "{{.ImportPath}} {{join .Deps \" \"}}", pure...) {
		for _, bad := range impure {
			if slices.Contains(deps, bad) {
				t.Errorf("%s must not import %s", pkg, bad)
			}
		}
	}
}

func TestTheCoreHasNoClock(t *testing.T) {
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|NewTimer|NewTicker|Tick)\(`)
	for _, pkg := range pure {
		files, err := filepath.Glob(strings.TrimPrefix(pkg, "lictor/") + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pkg, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if found := clock.Find(text); found != nil && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s calls %s: the time is handed in", file, found)
			}
		}
	}
}

func TestTheMapNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(text), "```", 3)
	named := strings.Fields(parts[1])
	for name := range strings.FieldsSeq(strings.Join(floors, " ")) {
		if name != "lictor" && !slices.Contains(named, name+"/") {
			t.Errorf("the map in docs/architecture.md does not say what %s is", name)
		}
	}
}

// mostLines is how many lines of code a package may have, comments and blank lines
// apart: a newcomer can read as much in a day.
const mostLines = 4000

// What is larger has a note that says why, whose title is: `NAME` is one package.
func TestAPackageIsSmallUnlessADecisionSaysWhy(t *testing.T) {
	excused := onePackage(t)
	for pkg, fields := range list(t, "{{.ImportPath}} {{.Dir}} {{join .GoFiles \" \"}}", "./...") {
		lines := 0
		for _, name := range fields[1:] {
			lines += codeLines(t, filepath.Join(fields[0], name))
		}
		name := strings.TrimPrefix(pkg, "lictor/")
		switch large := lines > mostLines; {
		case large && !excused[name]:
			t.Errorf("%s has %d lines of code, more than %d: part it, or write down in docs/decisions why not", name, lines, mostLines)
		case !large && excused[name]:
			t.Errorf("%s has %d lines of code: it needs no decision any more to be one package", name, lines)
		}
		delete(excused, name)
	}
	for name := range excused {
		t.Errorf("a decision is about the package %s, which is not there", name)
	}
}

// onePackage returns the packages that decisions are about.
func onePackage(t *testing.T) map[string]bool {
	t.Helper()
	title := regexp.MustCompile("(?m)\\A# [0-9]+\\. `([a-z0-9/]+)` is one package$")
	notes, err := filepath.Glob("docs/decisions/[0-9]*.md")
	if err != nil || len(notes) == 0 {
		t.Fatalf("%d decisions, %v", len(notes), err)
	}
	names := make(map[string]bool)
	for _, note := range notes {
		text, err := os.ReadFile(note)
		if err != nil {
			t.Fatal(err)
		}
		if found := title.FindSubmatch(text); found != nil {
			names[string(found[1])] = true
		}
	}
	return names
}

// codeLines counts the lines of a file on which there is more than a comment.
func codeLines(t *testing.T, path string) (n int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := token.NewFileSet().AddFile(path, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	last := 0 // line that was counted
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return n
		}
		if tok == token.SEMICOLON && lit == "\n" { // the scanner's own
			continue
		}
		from := file.Line(pos)
		to := from + strings.Count(lit, "\n")
		n += to - max(from-1, last)
		last = to
	}
}

// What is put in its place by hand is not synced, or leaves a file behind when
// it fails: internal/durable does both once.
func TestOnlyDurableRenamesAndLocksFiles(t *testing.T) {
	byHand := regexp.MustCompile(`\b(os\.Rename|syscall\.Flock|unix\.Flock|unix\.Renameat2?)\(`)
	found := false
	for pkg, fields := range list(t, "{{.ImportPath}} {{.Dir}} {{join .GoFiles \" \"}}", "./...") {
		for _, name := range fields[1:] {
			text, err := os.ReadFile(filepath.Join(fields[0], name))
			if err != nil {
				t.Fatal(err)
			}
			switch call := byHand.Find(text); {
			case call == nil || aside(pkg):
			case pkg == "lictor/internal/durable":
				found = true
			default:
				t.Errorf("%s of %s calls %s: internal/durable is for that", name, pkg, call)
			}
		}
	}
	if !found {
		t.Error("internal/durable renames nothing: this test looks for the wrong calls")
	}
}

// What somebody puts in the place of a file may be a pipe, and whoever opens it to read
// waits for who writes to it: for ever, with all locks that are held. internal/files does
// not wait.
func TestOnlyFilesOpensFilesToRead(t *testing.T) {
	waits := regexp.MustCompile(`\b(os\.Open|os\.ReadFile|tls\.LoadX509KeyPair|os\.DirFS|api\.SetupTLSConfig|maxminddb\.Open)\(`)
	mayWait := map[string]int{
		"lictor/internal/durable": 1, // a directory of its own
		"lictor/internal/consul":  1, // of texts, and no files
	}
	for pkg, fields := range list(t, "{{.ImportPath}} {{.Dir}} {{join .GoFiles \" \"}}", "./...") {
		found := 0
		for _, name := range fields[1:] {
			text, err := os.ReadFile(filepath.Join(fields[0], name))
			if err != nil {
				t.Fatal(err)
			}
			found += len(waits.FindAll(text, -1))
		}
		if found != mayWait[pkg] && !aside(pkg) {
			t.Errorf("%s opens files at %d places, want %d: internal/files is for that", pkg, found, mayWait[pkg])
		}
	}
}

// The commands that talk to a running lictor need no part of it, but for the
// values that both know.
func TestTheCommandsKnowNoServer(t *testing.T) {
	for _, dep := range list(t, "{{.ImportPath}} {{join .Imports \" \"}}", "./app/cli")["lictor/app/cli"] {
		if dep != "lictor/admin/api" && (dep == "lictor/admin" || strings.HasPrefix(dep, "lictor/admin/") || strings.HasPrefix(dep, "lictor/proxy/")) {
			t.Errorf("app/cli must not import %s: what both know belongs into admin/api", dep)
		}
	}
}

// list runs go list with a format whose first word is the key.
func list(t *testing.T, format string, packages ...string) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-f", format}, packages...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		all[words[0]] = words[1:]
	}
	return all
}
