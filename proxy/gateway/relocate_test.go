package gateway

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"lictor/resolver"
)

func TestLocationsArePutRight(t *testing.T) { // D25
	p := &prefix{client: "/shop", told: "/SHOP", hosts: [2]string{"example.org:8000", "www.example.org"}}
	same := "" // stays as it is
	tests := []struct{ name, ref, want string }{
		{"a path", "/login", "/shop/login"},
		{"the root", "/", "/shop/"},
		{"a query and a fragment stay", "/login?to=/account#top", "/shop/login?to=/account#top"},
		{"a query behind the root", "/?a=b", "/shop/?a=b"},
		{"a URL in the query is none", "/?to=http://example.org:8000/", "/shop/?to=http://example.org:8000/"},
		{"dot segments stay dot segments", "/a/../b", "/shop/a/../b"},
		{"one that has the prefix", "/shop/login", same},
		{"the prefix alone", "/shop", same},
		{"with a query", "/shop?x", same},
		{"with a fragment", "/shop#x", same},
		{"as the service is told it", "/SHOP/login", same},
		{"one that begins alike", "/shopping", "/shop/shopping"},
		{"relative to the path", "login", same},
		{"up from the path", "../login", same},
		{"a query alone", "?x", same},
		{"a fragment alone", "#x", same},
		{"nothing", "", same},
		{"the own host", "http://example.org:8000/login", "http://example.org:8000/shop/login"},
		{"in another case and by https", "HTTPS://EXAMPLE.ORG.:8000/login", "HTTPS://EXAMPLE.ORG.:8000/shop/login"},
		{"as the proxy in front calls it", "https://www.example.org/login", "https://www.example.org/shop/login"},
		{"with the port that https has", "https://www.example.org:443/login", "https://www.example.org:443/shop/login"},
		{"by http, for it does not know of TLS", "http://www.example.org/login", "http://www.example.org/shop/login"},
		{"with the prefix", "http://example.org:8000/shop/login", same},
		{"without a path", "http://example.org:8000", "http://example.org:8000/shop"},
		{"without a path, with a query", "http://example.org:8000?x", "http://example.org:8000/shop?x"},
		{"without a path, with a fragment", "http://example.org:8000#x", "http://example.org:8000/shop#x"},
		{"two slashes behind the host", "http://example.org:8000//x", "http://example.org:8000/shop//x"},
		{"without a scheme", "//example.org:8000/login", "//example.org:8000/shop/login"},
		{"another host", "http://example.com/login", same},
		{"another port", "http://example.org:9000/login", same},
		{"no port, where the own host has one", "http://example.org/login", same},
		{"a part of the own host", "http://org/login", same},
		{"another host without a scheme", "//example.com/login", same},
		{"three slashes", "///login", same},
		{"a backslash in place of the second slash", `/\example.com/login`, same},
		{"two backslashes", `\\example.com/login`, same},
		{"a backslash further on", `/a\b`, `/shop/a\b`},
		{"a backslash behind the own host", `http://example.org:8000\@example.com/`, same},
		{"the own host as a user", "http://example.org:8000@example.com/", same},
		{"a user of the own host", "http://me@example.org:8000/", same},
		{"no host", "http:///login", same},
		{"one slash", "http:/login", same},
		{"another scheme", "ftp://example.org:8000/login", same},
		{"a scheme without slashes", "mailto:me@example.org", same},
		{"a tab that browsers drop", "/\t/example.com", same},
		{"a blank", "/a b", same},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == same {
				want = tt.ref
			}
			got := p.location(tt.ref)
			if got != want {
				t.Errorf("%q becomes %q, want %q", tt.ref, got, want)
			}
			if again := p.location(got); again != got {
				t.Errorf("%q becomes %q when it is done again", got, again)
			}
		})
	}
}

func TestPathsOfCookiesArePutRight(t *testing.T) { // D25
	p := &prefix{client: "/shop", told: "/SHOP"}
	same := ""
	tests := []struct{ name, cookie, want string }{
		{"the root", "a=b; Path=/", "a=b; Path=/shop"},
		{"a path", "a=b; Path=/account; Secure", "a=b; Path=/shop/account; Secure"},
		{"in any case, with blanks", "a=b;pAtH \t= /account ;HttpOnly", "a=b;pAtH \t= /shop/account ;HttpOnly"},
		{"in quotes", `a=b; Path="/"; Secure`, `a=b; Path="/shop"; Secure`},
		{"in quotes, a path", `a=b; Path="/x"`, `a=b; Path="/shop/x"`},
		{"every one, for the last one counts", "a=b; Path=/x; Path=/", "a=b; Path=/shop/x; Path=/shop"},
		{"with the prefix", "a=b; Path=/shop", same},
		{"below it", "a=b; Path=/shop/x", same},
		{"with the prefix as the service is told it", "a=b; Path=/SHOP/x", "a=b; Path=/shop/x"},
		{"one that begins alike", "a=b; Path=/shopping", "a=b; Path=/shop/shopping"},
		{"no path", "a=b; Secure", same},
		{"an empty one, for which that of the request stands", "a=b; Path=; Secure", same},
		{"without a value", "a=b; Path", same},
		{"one that browsers do not take", "a=b; Path=x", same},
		{"a value that looks like one", "Path=/; Secure", same},
		{"a value with one", "a=Path=/", same},
		{"another attribute", "a=b; XPath=/; Domain=/", same},
		{"a cookie for the root only", "__Host-a=b; Path=/; Secure", same},
		{"in another case", " __hOST-a=b; Path=/; Secure", same},
		{"for TLS only", "__Secure-a=b; Path=/; Secure", "__Secure-a=b; Path=/shop; Secure"},
		{"a semicolon at the end", "a=b; Path=/;", "a=b; Path=/shop;"},
		{"nothing", "", same},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == same {
				want = tt.cookie
			}
			if got := p.cookie(tt.cookie); got != want {
				t.Errorf("%q becomes %q, want %q", tt.cookie, got, want)
			}
		})
	}
}

// What is put right leads to the host that it led to, and for the own host below
// the prefix; net/url is the second reader.
func FuzzLocation(f *testing.F) {
	for _, ref := range []string{"/", "//x/y", `/\x`, "http://example.org:8000?x", "http://example.org:8000@x/", "/%2e%2e/x", "https://www.example.org:443", "a:b", "/shop/../x"} {
		f.Add(ref)
	}
	p := &prefix{client: "/shop", told: "/shop", hosts: [2]string{"example.org:8000", "www.example.org"}}
	base, err := url.Parse("http://example.org:8000/shop/page")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		got := p.location(ref)
		if got == ref {
			return
		}
		if p.location(got) != got {
			t.Errorf("%q becomes %q, and that another one", ref, got)
		}
		before, err := base.Parse(ref)
		if err != nil {
			return
		}
		after, err := base.Parse(got)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", ref, got, err)
		}
		if before.Host != after.Host || before.Scheme != after.Scheme || before.User != nil || before.RawQuery != after.RawQuery || before.Fragment != after.Fragment {
			t.Errorf("%q becomes %q, which leads elsewhere", ref, got)
		}
		if !strings.Contains(got, "/shop") {
			t.Errorf("%q becomes %q, which has no prefix", ref, got)
		}
	})
}

func TestAnswersUnderAPrefixArePutRight(t *testing.T) { // D25
	tests := []struct {
		name    string
		target  string
		options resolver.Options
		edit    func(*Settings)
		fields  []string
		want    []string // Location, Content-Location, cookies
	}{
		{"by default", "/svc/x", resolver.Options{}, nil, nil, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
		{"as the client spells the segment", "/%73vc/x", resolver.Options{}, nil, nil, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
		{"not where the segment stays", "/svc/x", resolver.Options{KeepSegment: true}, nil, nil, []string{"/a", "/b", "a=b; Path=/"}},
		{"not where the service says so", "/svc/x", resolver.Options{RewriteLocation: resolver.No}, nil, nil, []string{"/a", "/b", "a=b; Path=/"}},
		{"not where the operator says so", "/svc/x", resolver.Options{}, func(s *Settings) { s.RewriteLocation = false }, nil, []string{"/a", "/b", "a=b; Path=/"}},
		{"but the service knows better", "/svc/x", resolver.Options{RewriteLocation: resolver.Yes}, func(s *Settings) { s.RewriteLocation = false }, nil, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
		{"behind what a trusted proxy took off", "/svc/x", resolver.Options{}, func(s *Settings) { s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
			[]string{"X-Forwarded-Prefix: /api/"}, []string{"/api/svc/a", "/api/svc/b", "a=b; Path=/api/svc"}},
		{"which a client cannot say", "/svc/x", resolver.Options{}, nil, []string{"X-Forwarded-Prefix: /api/"}, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
		{"and not if it is no path", "/svc/x", resolver.Options{}, func(s *Settings) { s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
			[]string{"X-Forwarded-Prefix: evil.example"}, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
		{"nor if it names a host", "/svc/x", resolver.Options{}, func(s *Settings) { s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
			[]string{"X-Forwarded-Prefix: //evil.example"}, []string{"/svc/a", "/svc/b", "a=b; Path=/svc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(s *Settings) {
				s.RewriteLocation = true
				if tt.edit != nil {
					tt.edit(s)
				}
			})
			b := r.backend(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Location", "/a")
				w.Header().Set("Content-Location", "/b")
				w.Header().Set("Set-Cookie", "a=b; Path=/")
				w.WriteHeader(http.StatusFound)
			})
			r.src.set(tt.options, b.Listener.Addr().String())
			c := r.dial()
			c.send("GET " + tt.target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(tt.fields, ""), "\r\n") + "\r\n")
			resp, _ := c.answer("GET")
			got := append([]string{resp.Header.Get("Location"), resp.Header.Get("Content-Location")}, resp.Header.Values("Set-Cookie")...)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
