package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"lictor/proxy/http1/message"
)

// parse reads a request line as the listener would.
func parse(t testing.TB, line string) (target, error) {
	t.Helper()
	var req message.RequestHead
	if err := req.Parse([]byte(line + " HTTP/1.1\r\nHost: other.example\r\n\r\n")); err != nil {
		return target{}, err
	}
	var s scratch
	return parseTarget(&req, &s)
}

func TestTarget(t *testing.T) {
	tests := []struct{ name, line, host, rest string }{
		{"absolute form", "GET http://shop.example/a?b", "shop.example:80", "/a"},
		{"a port", "GET http://shop.example:8080/a", "shop.example:8080", "/a"},
		{"https has its own port", "GET https://shop.example/a", "shop.example:443", "/a"},
		{"no path", "GET http://shop.example", "shop.example:80", "/"},
		{"no path but a query", "GET http://shop.example?b=/c", "shop.example:80", "/"},
		{"OPTIONS of a whole server", "OPTIONS http://shop.example", "shop.example:80", "*"},
		{"a host in any case, with a dot", "GET http://SHOP.Example./", "shop.example:80", "/"},
		{"dots in the path stay", "GET http://shop.example/a/%2e%2e/./b", "shop.example:80", "/a/%2e%2e/./b"},
		{"a percent sign that begins no escape stays", "GET http://shop.example/100%", "shop.example:80", "/100%"},
		{"escapes stay in their spelling", "GET http://shop.example/a%7Eb%2fc%c3%a9%61", "shop.example:80", "/a%7Eb%2fc%c3%a9%61"},
		{"other escapes stay", "GET http://shop.example/a%2Fb", "shop.example:80", "/a%2Fb"},
		{"a tunnel", "CONNECT shop.example:443", "shop.example:443", ""},
		{"IPv4", "GET http://192.0.2.1/", "192.0.2.1:80", "/"},
		{"IPv6", "GET http://[2001:DB8:0::1]:81/", "2001:db8::1:81", "/"},
		{"mapped IPv4", "CONNECT [::ffff:192.0.2.1]:443", "192.0.2.1:443", ""},
		{"a name that only looks hexadecimal", "GET http://deadbeef.example/", "deadbeef.example:80", "/"},
		{"a name with digits in front", "GET http://127.0.0.1.example/", "127.0.0.1.example:80", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t, tt.line)
			if err != nil {
				t.Fatal(err)
			}
			if host := got.host + ":" + itoa(got.port); host != tt.host || got.rest != tt.rest {
				t.Errorf("got %q %q, want %q %q", host, got.rest, tt.host, tt.rest)
			}
		})
	}
}

func itoa(p uint16) string {
	return strings.TrimPrefix(netip.AddrPortFrom(netip.IPv4Unspecified(), p).String(), "0.0.0.0:")
}

// TestBadTargets: whatever could be read in two ways is refused (A1, A8).
func TestBadTargets(t *testing.T) {
	for _, line := range []string{
		"GET /", "GET /http://shop.example/", "OPTIONS *", // origin form
		"GET http://127.1/", "GET http://2130706433/", "GET http://0x7f.0.0.1/", "GET http://0x7f000001/",
		"GET http://0177.0.0.1/", "GET http://127.0.0.01/", "GET http://127.0.1/", "GET http://1.2.3.4.5/",
		"GET http://256.0.0.1/", "GET http://shop.example.1/", "GET http://0x/", "GET http://0X7F.1/",
		"GET http://127.0.0.0x1/", "CONNECT 2130706433:443", "CONNECT 127.1:443", "CONNECT 0x7f.1:443",
		"GET http://shop.example:0/", "CONNECT shop.example:0", "CONNECT shop.example:", "CONNECT shop.example",
		"CONNECT http://shop.example:443/", "CONNECT /", "GET shop.example:80", "GET http:/shop.example/",
		"GET http:///path", "GET http://:80/", "GET http://user@shop.example/", "GET http://user:pw@127.0.0.1/",
		"GET http://shop.example:99999/", "GET http://shop.example:80:81/", "GET http://shop.example:+80/",
		"GET http://[fe80::1%25eth0]/", "GET http://[::1/", "GET http://::1/", "GET http://[127.0.0.1]/", "GET http://[::1]x/",
		"GET http://.shop.example/", "GET http://shop..example/", "GET http://shop.example../",
		"GET http://shop%2eexample/", "GET http://shop.example\\@evil.example/", "GET http://①②⑦.⓪.⓪.①/",
		"GET http://bücher.example/", "GET ftp://shop.example/", "GET ws://shop.example/", "GET file:///etc/passwd",
		"GET http://shop.example/a#b", "GET http://shop.example/%00", "GET http://shop.example/a\x01b",
		"GET http://" + strings.Repeat("a.", 130) + "example/",
	} {
		if got, err := parse(t, line); err == nil {
			t.Errorf("%q was read as host %q, port %d", line, got.host, got.port)
		}
	}
}

// FuzzTarget: what is read as the host is what any other reader of the URL sees.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		"http://shop.example/a?b", "https://[::1]:8443/%2e%2e/x", "http://127.1/", "http://a@b/", "http://A.b.:0/",
		"shop.example:443", "[::ffff:1.2.3.4]:443", "http://x?y", "http://0x7f.1/", "/origin",
	} {
		f.Add("GET", s)
		f.Add("CONNECT", s)
	}
	f.Fuzz(func(t *testing.T, method, text string) {
		if strings.ContainsAny(method+text, "\r\n") {
			return
		}
		got, err := parse(t, method+" "+text)
		if err != nil {
			return
		}
		if got.port == 0 || got.host == "" || got.tunnel != (method == "CONNECT") {
			t.Fatalf("%q %q: %+v", method, text, got)
		}
		if a, err := netip.ParseAddr(got.host); (err == nil) != got.addr.IsValid() || err == nil && a.Unmap() != got.addr {
			t.Errorf("host %q has the address %v", got.host, got.addr)
		}
		if got.name() != "" && oddAddress(got.host) {
			t.Errorf("an odd address passes as a name: %q", got.host)
		}
		if !got.tunnel && got.rest != "*" && !strings.HasPrefix(got.rest, "/") {
			t.Errorf("%q would send the target %q", text, got.rest)
		}
		if got.tunnel {
			text = "http://" + text
		}
		if u, err := url.Parse(text); err == nil {
			other := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
			if a, err := netip.ParseAddr(other); err == nil {
				other = a.Unmap().String()
			}
			if other != got.host {
				t.Errorf("%q: host is %q here and %q elsewhere", text, got.host, other)
			}
		}
	})
}
