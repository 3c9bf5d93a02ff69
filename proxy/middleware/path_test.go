package middleware

import (
	"strings"
	"testing"

	"lictor/internal/uri"
)

func TestPathsOfOperatorsArePlain(t *testing.T) { // D26
	tests := []struct {
		name, path string
		ok         bool
	}{
		{"a path", "/v2/index.html", true},
		{"the root", "/", true},
		{"the rest behind a path", "/v2{rest}", true},
		{"the rest in the middle", "/v2{rest}/raw", true},
		{"the rest alone", "{rest}", true},
		{"an escape, which some decode before they look", "/a%20b", false},
		{"nothing", "", false},
		{"no slash in front", "v2", false},
		{"none in front of the rest", "v2{rest}", false},
		{"a rest that may stand in front of no slash", "{rest}x", false},
		{"two slashes before the rest", "/v2/{rest}", false},
		{"two slashes", "//evil.example", false},
		{"a backslash", `/\evil.example`, false},
		{"a query", "/v2?x", false},
		{"a fragment", "/v2#x", false},
		{"dot segments", "/a/../b", false},
		{"escaped dot segments", "/a/%2e%2e/b", false},
		{"an escaped slash", "/a%2Fb", false},
		{"parameters", "/a;b", false},
		{"an escape that is none", "/%zz", false},
		{"a control character", "/a\r\nX: y", false},
		{"the rest twice", "/{rest}{rest}", false},
		{"another mark", "/{path}", false},
		{"a longer one than anybody means", "/" + strings.Repeat("x", maxPath), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckPath(tt.path); (err == nil) != tt.ok {
				t.Errorf("%q: %v", tt.path, err)
			}
		})
	}
}

func TestRestOf(t *testing.T) { // D26
	tests := []struct {
		name   string
		paths  []string
		target string
		least  int
		want   string
	}{
		{"behind the prefix", []string{"/shop/v1"}, "/shop/v1/a/b", 1, "/a/b"},
		{"of the prefix itself", []string{"/shop/v1"}, "/shop/v1", 1, ""},
		{"with a slash", []string{"/shop/v1"}, "/shop/v1/", 1, "/"},
		{"a slash at the end of the prefix", []string{"/shop/v1/"}, "/shop/v1/a", 1, "/a"},
		{"the first that fits counts", []string{"/x", "/shop", "/shop/v1"}, "/shop/v1/a", 1, "/v1/a"},
		{"without a prefix it is that of the service", nil, "/shop/v1/a", 1, "/v1/a"},
		{"a prefix within the service's segment", []string{"/"}, "/shop/v1/a", 1, "/v1/a"},
		{"of a host, all", nil, "/a/b", 0, "/a/b"},
		{"of a host, behind the prefix", []string{"/a"}, "/a/b", 0, "/b"},
		{"escapes stay as they came", []string{"/shop/v1"}, "/sh%6Fp/%761/%61/b%2Fc;d", 1, "/%61/b%2Fc;d"},
		{"dot segments are resolved before", []string{"/shop/v1"}, "/x/../shop/./v1/a/../b", 1, "/b"},
		{"empty segments count", []string{"/shop"}, "/shop//a", 1, "//a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := uri.ParsePath(tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			m := Match{Paths: tt.paths}
			if got := m.RestOf(&Request{Path: &p}, p.Target(false), tt.least); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever an operator writes and a client asks for, the outcome is a path or is
// refused, and holds no query.
func FuzzRewrite(f *testing.F) {
	f.Add("/v2{rest}", "/shop/a/b", "/shop")
	f.Add("{rest}", "/shop/..%2fa", "/shop")
	f.Add("{rest}/x", "/shop/a;b", "/shop/a")
	f.Fuzz(func(t *testing.T, path, target, prefix string) {
		p, _, err := uri.ParsePath(target, nil)
		if err != nil || CheckPath(path) != nil {
			return
		}
		m := Match{Paths: []string{prefix}}
		rest := m.RestOf(&Request{Path: &p}, p.Target(false), 1)
		if rest != "" && rest[0] != '/' || len(rest) > len(target) {
			t.Fatalf("the rest of %q behind %q is %q", target, prefix, rest)
		}
		got, _, err := uri.ParsePath(WithRest(path, rest), nil)
		if err != nil || got.HasQuery {
			t.Errorf("%q of %q becomes %q: %v", path, target, WithRest(path, rest), err)
		}
	})
}
