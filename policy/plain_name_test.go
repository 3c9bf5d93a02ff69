package policy

import (
	"testing"

	"lictor/internal/uri"
)

// FuzzPlainName holds that what isPlainName takes for a name is read as the same
// name by the long way, and is no address.
func FuzzPlainName(f *testing.F) {
	for _, s := range []string{"a.example", "1.2.3.4", "a.1", "1.a", "0x10", "a.0x10", "xn--bcher-kva.example", "a..b", ".a", "a.", "A.b", "a-.b", "-a.b", "_dmarc.a", "a_b", "::1", "a.-b", "abcd:ef"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlainName(s) {
			return
		}
		if got, err := uri.CompileHost(s); err != nil || got != s {
			t.Errorf("%q is read as %q, %v", s, got, err)
		}
		if p, _, err := parseAddress(s); err == nil {
			t.Errorf("%q is the address %s", s, p)
		}
	})
}

// FuzzRecord holds that an entry is read from its record as it was written, under
// each of its keys.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"a.example", ".a.example", "*.a.example", "A.example:80", "10.0.0.0/8", "10.1.2.3:443", "[fc00::/7]:80", "::ffff:1.2.3.4", "1.2.3.4/0",
		"/shop", "/a//b", "/shop/", "/", "service:shop", " service:shop", "GET /x", "post http://a.example:8080/x%2fy/", "https://[::1]/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEntry(text)
		if err != nil {
			return
		}
		paths := e.paths
		if !e.isPath() {
			paths = []string{""}
		}
		for _, path := range paths {
			var got filed
			record := e.appendRecord(nil, 7, text, path)
			readFiled(record, &got)
			want := filed{entry: e, path: path, list: 7, text: text}
			want.paths = nil
			if got.paths != nil || got.method != want.method || got.service != want.service || got.prefix != want.prefix || got.host != want.host ||
				got.scope != want.scope || got.port != want.port || got.portSaid != want.portSaid || got.path != path || got.text != text || got.list != 7 || formOf(record) != e.form() {
				t.Errorf("%q:\n got %+v\nwant %+v", text, got, want)
			}
		}
	})
}
