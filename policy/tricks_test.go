package policy_test

import (
	"net/url"
	"strings"
	"testing"

	"lictor/internal/uri"
	"lictor/policy"
)

func mustPath(s string) *uri.Path {
	p, _, err := uri.ParsePath(s, nil)
	if err != nil {
		panic(err)
	}
	return &p
}

// backend is one of the ways in which servers read the path they get.
type backend struct {
	params    string // ";params" go "before" or "after" decoding; "" = stay
	escSlash  bool   // %2F separates
	backslash bool   // '\' and %5C separate
	merge     bool   // "//" is "/"
}

// reads returns the resource that a backend serves for a path: its segments.
func (b backend) reads(path string) string {
	if b.params == "before" {
		segments := strings.Split(path, "/")
		for i, s := range segments {
			segments[i], _, _ = strings.Cut(s, ";")
		}
		path = strings.Join(segments, "/")
	}
	if !b.escSlash {
		path = strings.ReplaceAll(strings.ReplaceAll(path, "%2F", "%252F"), "%2f", "%252F")
	}
	if !b.backslash {
		path = strings.ReplaceAll(strings.ReplaceAll(path, "%5C", "%255C"), "%5c", "%255C")
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return "/" // it refuses
	}
	if b.backslash {
		path = strings.ReplaceAll(path, `\`, "/")
	}
	if b.params == "after" {
		segments := strings.Split(path, "/")
		for i, s := range segments {
			segments[i], _, _ = strings.Cut(s, ";")
		}
		path = strings.Join(segments, "/")
	}
	var out []string
	for _, s := range strings.Split(path, "/")[1:] {
		switch {
		case s == "." || b.merge && s == "":
		case s == "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

var backends = func() (all []backend) {
	for _, params := range []string{"", "before", "after"} {
		for bits := range 8 {
			all = append(all, backend{params, bits&1 != 0, bits&2 != 0, bits&4 != 0})
		}
	}
	return all
}()

func reaches(forwarded, resource string) *backend {
	for _, b := range backends {
		if got := b.reads(forwarded); got == resource || strings.HasPrefix(got, resource+"/") {
			return &b
		}
	}
	return nil
}

// checkTrick asks for a target with /svc/admin denied, and fails if it passes
// and some backend would serve /admin for it.
func checkTrick(t *testing.T, set *policy.Set, target string) {
	t.Helper()
	p, _, err := uri.ParsePath(target, nil)
	if err != nil {
		return // 400
	}
	r := ask(t, "GET http://x/")
	r.Path = &p
	route := set.Route(r)
	var v policy.Verdict
	if set.Decide(r, &route, &v, nil); !v.Allowed() || route.Service != "svc" {
		return
	}
	if b := reaches(route.Rest, "/admin"); b != nil {
		t.Errorf("%q passes as %q, and %+v serves /admin for it", target, route.Rest, *b)
	}
	if b := reaches(p.Canonical, "/svc/admin"); b != nil { // lictor-strip = false
		t.Errorf("%q passes as %q, and %+v serves /svc/admin for it", target, p.Canonical, *b)
	}
}

// tricks are spellings of /svc/admin that must not pass.
var tricks = []string{
	"/svc/admin", "/svc/admin/", "/svc/admin/x", "/svc/admin?x", "/svc/%61dmin", "/svc/%61%64%6d%69%6E", "/%73vc/admin",
	"/svc/./admin", "/svc/x/../admin", "/svc/x/%2e%2e/admin", "/svc/x/.%2E/admin", "/other/../svc/admin", "/../svc/admin",
	"//../svc/admin", "/svc//admin", "/svc///admin", "/svc/admin//x", "/svc/admin;x", "/svc/admin;x=1/y", "/svc/;x/admin",
	"/svc/x/..;/admin", "/svc/x/..;a=b/admin", "/svc/.;/admin", "/svc/x;/../admin", "/svc%2Fadmin/../../svc/admin", "/svc/x%2F..%2Fadmin",
	"/svc/%2Fadmin", "/svc/%2fadmin", `/svc/\admin`, "/svc/%5Cadmin", "/svc/%5cadmin", `/svc/x\..\admin`, "/svc/x%5C..%5Cadmin",
	"/svc/admin%2Fx", "/svc/admin%5Cx", `/svc/admin\x`, "/svc/admin%3Bx", "/svc/x/..%3B/admin", "/svc/.%3Bx/admin", "/svc/a;%2F../admin",
	"/svc//x/..;/..;/admin", "/svc/..;/..;/admin", "/svc/%2e%2e;/svc/admin", "/svc/x/..;/..;/admin", "/svc/%2F%2e%2e%2Fadmin", "/svc/..%2Fadmin",
	"/svc/..%5Cadmin", `/svc/..\admin`, "/svc/x//..;/admin", "/svc//..;//admin", "/svc/a/b/..;/..;/admin", "/svc/a;/b;/..;/..;/admin;z",
}

// elsewhere are paths that only look alike, and are to pass.
var elsewhere = []string{
	"/svc/administrator", "/svc/Admin", "/svc/ADMIN", "/svc/admin.", "/svc/admin..", "/svc/.admin", "/svc/adm/in", "/svc/x/admin",
	"/svc/%2561dmin", "/svc/admin%20", "/svc/%40admin", "/svc/a%C3%A4", "/SVC/admin", "/svc2/admin", "/svc/x;admin", "/svc/",
}

func TestPathTricks(t *testing.T) { // D22
	_, set := newStore(t, policy.Options{}, "blacklist/b", "/svc/admin")
	for _, target := range tricks {
		if got := try(t, set, "GET http://x"+target); got != "blacklist" {
			t.Errorf("%q: reason %q, want blacklist", target, got)
		}
	}
	for _, target := range elsewhere {
		if got := try(t, set, "GET http://x"+target); got != "" {
			t.Errorf("%q: reason %q, want none", target, got)
		}
	}
	for _, target := range append(tricks, elsewhere...) {
		checkTrick(t, set, target)
	}
	// The same in a rule: a deny that is spelt oddly itself.
	_, set = newStore(t, policy.Options{}, "blacklist/b", "/svc/%61dm%40in;v=1\n/svc/x%2Fy\n/svc/sp%20ace")
	expect{
		"GET http://x/svc/adm@in;v=1":   "blacklist",
		"GET http://x/svc/adm%40in;v=1": "blacklist",
		"GET http://x/svc/adm@in":       "",
		"GET http://x/svc/x/y":          "blacklist", // some backend takes the two for one
		"GET http://x/svc/x%2fy":        "blacklist",
		"GET http://x/svc/x//y":         "blacklist",
		"GET http://x/svc/sp%20ace":     "blacklist",
	}.check(t, set)
}

func TestGrantsWantEveryReading(t *testing.T) { // D22, C26
	_, set := newStore(t, policy.Options{},
		"filters/pub", `{"paths":["/svc/pub"]}`,
		"acls/1", `{"api":"svc","filters":["pub"]}`)
	expect{
		"GET http://x/svc/pub/a":           "",
		"GET http://x/svc/pub/a;v=1":       "",
		"GET http://x/svc/pub/x%2Fy":       "",
		"GET http://x/svc/pubx":            "acl",
		"GET http://x/svc/pub/..;/secret":  "acl",
		"GET http://x/svc/pub%2F../secret": "acl",
		`GET http://x/svc/pub/..\secret`:   "acl",
		"GET http://x/svc//pub":            "acl",
	}.check(t, set)
	// A plugin that demands something is no grant: any reading brings it on.
	_, set = newStore(t, policy.Options{},
		"filters/admin", `{"paths":["/svc/admin"]}`,
		"plugins/k", `{"name":"key-auth"}`,
		"plugin-mappings/m", `{"api":"svc","plugins":["k"],"filters":["admin"]}`)
	expect{
		"GET http://x/svc/admin":       "no_credentials",
		"GET http://x/svc/x/..;/admin": "no_credentials",
		"GET http://x/svc/x":           "",
	}.check(t, set)
}

func FuzzPathTricks(f *testing.F) {
	for _, s := range append(tricks, elsewhere...) {
		f.Add(s)
	}
	_, set := newStore(f, policy.Options{}, "blacklist/b", "/svc/admin")
	f.Fuzz(func(t *testing.T, target string) { checkTrick(t, set, target) })
}
