package uri

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) { // D22
	tests := []struct {
		name, target, canonical string
		same                    bool // Canonical is Received itself
	}{
		{"a plain path stays the very string", "/svc/a/b", "/svc/a/b", true},
		{"the root is a path", "/", "/", true},
		{"reserved escapes stay", "/svc/a%2Fb", "/svc/a%2Fb", true},
		{"double slashes stay", "//svc//a", "//svc//a", true},
		{"params stay", "/svc/a;v=1", "/svc/a;v=1", true},
		{"an escaped percent sign stays", "/svc/%2561", "/svc/%2561", true},
		{"three dots are a name", "/svc/.../a", "/svc/.../a", true},
		{"a dot file is a name", "/svc/.git/..x", "/svc/.git/..x", true},
		{"unreserved escapes are decoded", "/svc/%61dmi%6E", "/svc/admin", false},
		{"a tilde is unreserved", "/svc/%7Eme", "/svc/~me", false},
		{"hex digits go upper case", "/svc/a%2fb", "/svc/a%2Fb", false},
		{"raw high bytes are escaped", "/svc/\xc3\xa4", "/svc/%C3%A4", false},
		{"a dot segment goes", "/svc/./a", "/svc/a", false},
		{"a last dot segment leaves the slash", "/svc/a/.", "/svc/a/", false},
		{"two dots climb", "/svc/x/../admin", "/svc/admin", false},
		{"two last dots climb and leave the slash", "/svc/x/..", "/svc/", false},
		{"nothing climbs above the root", "/../../svc", "/svc", false},
		{"only dots are the root", "/..", "/", false},
		{"escaped dots climb too", "/svc/x/%2e%2E/admin", "/svc/admin", false},
		{"half escaped dots climb too", "/svc/x/.%2e/admin", "/svc/admin", false},
		{"an empty segment is a segment", "/a//../b", "/a/b", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := ParsePath(tt.target+"?q=/../%zz", nil)
			if err != nil || p.Canonical != tt.canonical || p.Received != tt.target || p.Query != "q=/../%zz" {
				t.Fatalf("ParsePath(%q) = %+v, %v, want canonical %q", tt.target, p, err, tt.canonical)
			}
			if (p.Canonical == p.Received) != tt.same {
				t.Errorf("changed is %v, want %v", !tt.same, tt.same)
			}
		})
	}
}

func TestParsePathRefuses(t *testing.T) { // D22: 400 bad_path
	for _, target := range []string{
		"", "*", "svc", "http://h/", "?x", "/a b", "/a\x00", "/a\x1f", "/a\x7f", "/a\tb", "/%00", "/%1f", "/%7F",
		"/%", "/%4", "/%zz", "/a%2", "/a#b", "/a?b#c", "/a?b c", "/a?\x00", "/%?41", "/a%4?1",
	} {
		if p, _, err := ParsePath(target, nil); err == nil {
			t.Errorf("ParsePath(%q) = %+v, want an error", target, p)
		}
	}
}

func TestSegment(t *testing.T) { // D1, D22
	tests := []struct {
		target, name, rest string
		ok                 bool
	}{
		{"/foo/bar/baz", "foo", "/bar/baz", true},
		{"/foo", "foo", "/", true},
		{"/foo/", "foo", "/", true},
		{"/f%6fo/a%2Fb;v=1//c", "foo", "/a%2Fb;v=1//c", true},
		{"/foo//bar", "foo", "//bar", true},
		{"/x/../foo/y", "foo", "/y", true},
		{"/", "", "/", false},
		{"//foo", "", "/foo", false},
		{"/a%2Fb/c", "a%2Fb", "/c", false},
		{"/a;v=1/c", "a;v=1", "/c", false},
		{"/a~b", "a~b", "/", false},
		{"/..;/c", "..;", "/c", false},
		{"/" + strings.Repeat("a", 128), strings.Repeat("a", 128), "/", true},
		{"/" + strings.Repeat("a", 129), strings.Repeat("a", 129), "/", false},
	}
	for _, tt := range tests {
		p, _, err := ParsePath(tt.target, nil)
		name, rest, ok := p.Segment()
		if err != nil || name != tt.name || rest != tt.rest || ok != tt.ok {
			t.Errorf("Segment of %q = %q, %q, %v (%v), want %q, %q, %v", tt.target, name, rest, ok, err, tt.name, tt.rest, tt.ok)
		}
	}
}

// readingsOf returns every reading of a path other than the canonical one.
func readingsOf(p *Path) []string { return new(ReadingSet).Of(p) }

func TestReadings(t *testing.T) { // D22: the servlet reading is among them
	tests := map[string]string{
		"/svc/admin;x=1/y":      "/svc/admin/y",
		"/svc/x/..;/admin":      "/svc/admin",
		`/svc\admin`:            "/svc/admin",
		"/svc%5Cadmin":          "/svc/admin",
		"/svc%2Fadmin":          "/svc/admin",
		"/svc//admin":           "/svc/admin",
		"/svc/x%2F..%2Fadmin":   "/svc/admin",
		"/svc/x/..%3B/admin":    "/svc/admin",
		"/svc/%40me":            "/svc/@me",
		"/svc/a;p=1%2Fb/c":      "/svc/a/c",
		`/svc/x\..\..\..\admin`: "/admin",
		"/svc//..;//..;/admin":  "/svc/admin", // what a backend sees that gets the path without /svc
	}
	for target, want := range tests {
		p, _, err := ParsePath(target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readingsOf(&p); !slices.Contains(got, want) || !p.Odd() {
			t.Errorf("readings of %q are %q, want %q among them", target, got, want)
		}
	}
	for _, target := range []string{"/svc/a", "/svc/a.b~c/", "/svc/%C3%A4", "/svc/%2561", "/svc/%61"} {
		if p, _, _ := ParsePath(target, nil); p.Odd() || len(readingsOf(&p)) > 0 {
			t.Errorf("%q has other readings: %q", target, readingsOf(&p))
		}
	}
}

func TestParsePathDoesNotAllocate(t *testing.T) {
	scratch := make([]byte, 0, 256)
	var p Path
	var r ReadingSet
	for _, target := range []string{"/svc/a/b?x=1", "/svc/%61/../b", "/svc/x/..;/a%2Fb//"} {
		n := testing.AllocsPerRun(100, func() {
			p, scratch, _ = ParsePath(target, scratch)
			_, _, _ = p.Segment()
			r.Reset()
			r.Of(&p)
		})
		if n != 0 {
			t.Errorf("reading %q allocates %v times, want 0", target, n)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/svc/a?x", "/a/../b", "/%2e%2e/x", "/svc/x/..;/admin", "//", "/a%2F..%5c", "/\xff%61"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		p, _, err := ParsePath(target, nil)
		if err != nil {
			return
		}
		again, _, err := ParsePath(p.Canonical, nil)
		if err != nil || again.Canonical != p.Canonical || again.HasQuery {
			t.Fatalf("canonical form %q of %q reads as %q, %v", p.Canonical, target, again.Canonical, err)
		}
		if p.Canonical[0] != '/' || hasDotSegment(p.Canonical) {
			t.Errorf("%q has the canonical form %q", target, p.Canonical)
		}
		for _, s := range readingsOf(&p) {
			if s[0] != '/' || hasDotSegment(s) {
				t.Errorf("%q has the reading %q", target, s)
			}
		}
		if p.Canonical == p.Received {
			return
		}
		if name, rest, _ := p.Segment(); "/"+name+rest != p.Canonical && "/"+name != p.Canonical {
			t.Errorf("%q splits into %q and %q", p.Canonical, name, rest)
		}
	})
}

func hasDotSegment(path string) bool {
	for s := range strings.SplitSeq(path, "/") {
		if s == "." || s == ".." {
			return true
		}
	}
	return false
}
