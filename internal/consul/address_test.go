package consul

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// addresses in the forms that consul/api takes, and what they mean.
var addresses = []struct {
	text, scheme string
	want         Address
}{
	{"", "", Address{Scheme: "http", Host: "127.0.0.1:8500"}},
	{"127.0.0.1:8500", "", Address{Scheme: "http", Host: "127.0.0.1:8500"}},
	{"0.0.0.0:8500", "", Address{Scheme: "http", Host: "0.0.0.0:8500"}},
	{"consul.example.com", "", Address{Scheme: "http", Host: "consul.example.com:80"}},
	{"consul.example.com", "https", Address{Scheme: "https", Host: "consul.example.com:443"}},
	{"https://consul.example.com", "", Address{Scheme: "https", Host: "consul.example.com:443"}},
	{"http://consul.example.com", "http", Address{Scheme: "http", Host: "consul.example.com:80"}},
	{"http://consul.example.com", "https", Address{Scheme: "https", Host: "consul.example.com:443"}},
	{"https://consul.example.com:8501/", "", Address{Scheme: "https", Host: "consul.example.com:8501"}},
	{"http://127.0.0.1:8500/", "", Address{Scheme: "http", Host: "127.0.0.1:8500"}},
	{"http://10.1.2.3/foo/bar/consul", "", Address{Scheme: "http", Host: "10.1.2.3:80", Path: "/foo/bar/consul"}},
	{"http://10.1.2.3:8500/foo/bar/", "", Address{Scheme: "http", Host: "10.1.2.3:8500", Path: "/foo/bar"}},
	{"[::1]:8500", "", Address{Scheme: "http", Host: "[::1]:8500"}},
	{"http://[fd00::1]", "", Address{Scheme: "http", Host: "[fd00::1]:80"}},
	{"unix:///run/consul.sock", "", Address{Scheme: "http", Host: "localhost", Socket: "/run/consul.sock"}},
	{"unix://consul.sock", "https", Address{Scheme: "https", Host: "localhost", Socket: "consul.sock"}},
}

func TestEveryAddressThatConsulTakesIsTaken(t *testing.T) {
	for _, tt := range addresses {
		got, err := ParseAddress(tt.text, tt.scheme)
		if err != nil || got != tt.want {
			t.Errorf("ParseAddress(%q, %q) = %+v, %v, want %+v", tt.text, tt.scheme, got, err, tt.want)
		}
		if _, err := New(Config{API: &api.Config{Address: tt.text, Scheme: tt.scheme}}); err != nil {
			t.Errorf("New(%q): %v", tt.text, err)
		}
	}
}

func TestAnAddressThatCannotWorkIsRefusedAndNotRepeated(t *testing.T) {
	for _, text := range []string{
		"unix://", "ftp://10.0.0.1", "tcp://127.0.0.1:8500", "://x", "http://", "https:///x", "http://:8500", ":8500", "127.0.0.1:", "http://h:/x",
		"127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:http", "127.0.0.1:8500/v1", "::1", "::1:8500", "[::1", "http://h:8500/?x=1", "http://h:8500/#x",
		"http://h//x", "http://h/%2f", "http://h/a%2f/b", "http://h/a/../b", "http://h/a/%2e%2e/b", "http://h/%zz", "a b", "http://a b", "http://user:SECRET@h:8500/x", "user:SECRET@h:8500", "10.0.0.300:8500",
	} {
		_, err := ParseAddress(text, "")
		if err == nil {
			t.Errorf("ParseAddress(%q) takes it", text)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("ParseAddress(%q) repeats the password: %v", text, err)
		}
	}
	if _, err := ParseAddress("127.0.0.1:8500", "HTTPS"); err == nil {
		t.Error("a scheme that is none is taken")
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, tt := range addresses {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text, "")
		if err != nil {
			return
		}
		if _, err := New(Config{API: &api.Config{Address: text}}); err != nil {
			t.Errorf("%q is an address and no client can be made: %v", text, err)
		}
		if a.Host == "" || strings.HasSuffix(a.Path, "/") || strings.ContainsAny(a.Host, "/@ ") {
			t.Errorf("%q became %+v", text, a)
		}
	})
}
