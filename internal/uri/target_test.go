package uri

import (
	"strings"
	"testing"
)

// What goes to a backend is what came (RFC 9110 7.7), but for dot segments.
func TestTarget(t *testing.T) {
	tests := []struct{ name, received, whole, stripped string }{
		{"nothing to change", "/svc/a/b", "/svc/a/b", "/a/b"},
		{"lower hex digits stay", "/svc/a%2fb%c3%a9", "/svc/a%2fb%c3%a9", "/a%2fb%c3%a9"},
		{"needless escapes stay", "/svc/%7Euser/%61", "/svc/%7Euser/%61", "/%7Euser/%61"},
		{"raw bytes stay", "/svc/caf\xc3\xa9", "/svc/caf\xc3\xa9", "/caf\xc3\xa9"},
		{"slashes, params and backslashes stay", `/svc//a;v=1\%5c`, `/svc//a;v=1\%5c`, `//a;v=1\%5c`},
		{"a segment with escapes is stripped as a whole", "/%73vc/%61", "/%73vc/%61", "/%61"},
		{"a bare segment", "/%73vc", "/%73vc", "/"},
		{"dot segments are resolved, the rest stays", "/svc/x/%2e%2E/a%2fb/./%7e", "/svc/a%2fb/%7e", "/a%2fb/%7e"},
		{"dots before the service", "/../a/../%73vc/b%2fc", "/%73vc/b%2fc", "/b%2fc"},
		{"dots at the end leave the slash", "/svc/%61/b/..", "/svc/%61/", "/%61/"},
		{"dots in a name are none", "/svc/a%2eb/...", "/svc/a%2eb/...", "/a%2eb/..."},
		{"the root", "/", "/", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := ParsePath(tt.received+"?q=%7e", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Target(false); got != tt.whole {
				t.Errorf("whole: got %q, want %q", got, tt.whole)
			}
			if got := p.Target(true); got != tt.stripped {
				t.Errorf("stripped: got %q, want %q", got, tt.stripped)
			}
			if p.Query != "q=%7e" {
				t.Errorf("the query is %q", p.Query)
			}
		})
	}
}

func TestClimbs(t *testing.T) {
	tests := []struct {
		name, target string
		want         bool
	}{
		{"an escaped slash", "/svc/..%2fx", true},
		{"escaped dots and slash", "/svc/%2e%2e%2fx", true},
		{"a backslash", `/svc/..\x`, true},
		{"an escaped backslash", "/svc/..%5Cx", true},
		{"params behind dots", "/svc/..;/x", true},
		{"params behind dots at the end", "/svc/..;v=1", true},
		{"escaped params", "/svc/..%3bv/x", true},
		{"params that hold a slash", "/svc/..;a%2fb/x", true},
		{"more dots than segments", "/svc/a/..%2f..%2fx", true},
		{"slashes that are merged", "/svc//..%2fx", true},
		{"params make an empty segment", "/svc/;v/..%2fx", true},
		{"deep down", "/svc/a/b%2f..%2f..%2f..%2fx", true},
		{"one up from one down", "/svc/a/..%2fx", false},
		{"three dots", "/svc/...%2fx", false},
		{"dots in a name", "/svc/a..%2fx", false},
		{"dots behind params", "/svc/a;..%2f/x", false},
		{"no dots", "/svc/a%2fb;c//d", false},
		{"plain dots were resolved", "/svc/a/../b", false},
		{"dots in the query", "/svc/a;b?/../..%2f", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := ParsePath(tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Climbs(p.Target(true)); got != tt.want {
				t.Errorf("Climbs(%q) = %v", p.Target(true), got)
			}
		})
	}
	p, _, _ := ParsePath("/svc/..%2fx", nil)
	if p.Climbs(p.Target(false)) {
		t.Error("with its segment it does not climb above the root")
	}
}

// climbsBySteps says the same as Climbs, one step after the other.
func climbsBySteps(target string) bool {
	for m := range 3 * 8 {
		params, flags := m%3, m/3
		s := target
		if params == 1 {
			s = cutParams(s)
		}
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			c, escaped := s[i], false
			if c == '%' {
				c, _ = unescape(s, i)
				escaped = true
				i += 2
			}
			switch {
			case c == '/' && escaped && flags&1 == 0, c == '\\' && flags&2 == 0, c == ';' && params != 2:
				c = 'x'
			case c == '\\':
				c = '/'
			}
			b.WriteByte(c)
		}
		s = b.String()
		if params == 2 {
			s = cutParams(s)
		}
		depth := 0
		for seg := range strings.SplitSeq(s[1:], "/") {
			switch {
			case seg == "..":
				depth--
			case seg == "." || seg == "" && flags&4 != 0:
			default:
				depth++
			}
			if depth < 0 {
				return true
			}
		}
	}
	return false
}

func cutParams(s string) string {
	segments := strings.Split(s, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

// FuzzTarget: what is sent has the canonical form that was decided on, differs
// from what came only by dot segments, and climbs in no reading if it is said so.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/svc/a%2fb", "/%73vc/../x/%2E./y", "/svc/..%2fx", `/svc/;\..%5c..;/x`, "/svc//..%2f", "/a/%2e", "/\xff/..;%2f..", "/a;/..%3b%2f.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, _, err := ParsePath(s, nil)
		if err != nil || p.HasQuery {
			return
		}
		sent := p.Target(false)
		again, _, err := ParsePath(sent, nil)
		if err != nil || again.Canonical != p.Canonical || again.Target(false) != sent {
			t.Fatalf("%q is sent as %q, which reads as %q (%v), want %q", s, sent, again.Canonical, err, p.Canonical)
		}
		if p.dotted == "" && sent != s {
			t.Fatalf("%q has no dot segments and is sent as %q", s, sent)
		}
		for _, stripped := range []bool{false, true} {
			target := p.Target(stripped)
			if got, want := p.Climbs(target), climbsBySteps(target); got != want {
				t.Fatalf("Climbs(%q) = %v, want %v", target, got, want)
			}
		}
		kept, _, err := ParseLenient(s, nil)
		if err != nil || kept.Received != s || kept.Canonical != p.Canonical {
			t.Fatalf("%q is read as %q, leniently as %q (%v)", s, p.Canonical, kept.Canonical, err)
		}
	})
}

func TestParseLenient(t *testing.T) {
	tests := []struct {
		name, target, canonical string
		reading                 string // that is among the others; "" = none wanted
	}{
		{"a lone percent sign stands for itself", "/100%", "/100%25", ""},
		{"so it does before anything", "/%zz%4", "/%25zz%254", ""},
		{"before an escape", "/%%41", "/%25A", ""},
		{"control characters", "/a%0Ab", "/a%0Ab", ""},
		{"dot segments may be left as they are", "/a/../b", "/b", "/a/../b"},
		{"however they are written", "/a/%2e%2E/b", "/b", "/a/../b"},
		{"together with the rest", "/a/..%2f./b", "/a/..%2F./b", "/b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := ParseLenient(tt.target, nil)
			if err != nil || p.Canonical != tt.canonical || p.Received != tt.target {
				t.Fatalf("got %q (%v), want %q", p.Canonical, err, tt.canonical)
			}
			found := tt.reading == ""
			for _, r := range new(ReadingSet).Of(&p) {
				found = found || r == tt.reading
			}
			if !found {
				t.Errorf("readings are %q, want %q", new(ReadingSet).Of(&p), tt.reading)
			}
		})
	}
	for _, bad := range []string{"", "x", "/a%00", "/a b", "/a\x01", "/a#b"} {
		if _, _, err := ParseLenient(bad, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Odd paths are bounded, others are not; readings are made once for all who look.
func TestOddPathsAreBounded(t *testing.T) {
	long := strings.Repeat("/a%20b", MaxOddPath)
	for target, want := range map[string]bool{long: false, long + ";": true, "/" + strings.Repeat(";", MaxOddPath-1): false, "/" + strings.Repeat(";", MaxOddPath): true} {
		if p, _, err := ParsePath(target, nil); err != nil || p.TooOdd() != want {
			t.Errorf("a path of %d bytes: %v, want %v", len(target), p.TooOdd(), want)
		}
	}
	p, _, _ := ParsePath("/a;b//c%2f", nil)
	var x ReadingSet
	for range 3 {
		x.Of(&p)
	}
	if x.made != 1 {
		t.Errorf("readings were made %d times", x.made)
	}
	if x.Reset(); len(x.Of(&p)) < 4 || x.made != 2 {
		t.Errorf("after a reset they were made %d times", x.made)
	}
}

func BenchmarkOddPath(b *testing.B) {
	target := ("/open" + strings.Repeat(`/a;b%2F%3B\//%5C..`, MaxOddPath))[:MaxOddPath-2]
	scratch := make([]byte, 0, 4*MaxOddPath)
	var x ReadingSet
	for b.Loop() {
		p, s, err := ParsePath(target, scratch)
		if err != nil {
			b.Fatal(err)
		}
		scratch = s
		x.Reset()
		x.Of(&p)
		p.Climbs(p.Target(true))
	}
}
