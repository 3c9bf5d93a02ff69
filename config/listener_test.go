package config

import (
	"strings"
	"testing"
)

func parsedText(text string) (*Config, error) {
	return Parse(OS(), File{Name: "a.hcl", Text: []byte(text)})
}

func TestListenersThatWantTheSameAddressAreAMistake(t *testing.T) { // D28
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{":80", ":80", true},
		{":80", ":81", false},
		{":80", "[::]:80", true},
		{":80", "0.0.0.0:80", true},
		{":80", "127.0.0.1:80", true},
		{":80", "[::1]:80", true},
		{":80", ":080", true},
		{"[::]:80", "0.0.0.0:80", true},
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"0.0.0.0:80", "[::1]:80", false},
		{"127.0.0.1:80", "localhost:80", true},
		{"127.0.0.1:80", "LOCALHOST.:80", true},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"[::1]:80", "[0:0:0:0:0:0:0:1]:80", true},
		{"[fe80::1%a]:80", "[fe80::1%b]:80", false},
		{"a.example:80", "A.example.:80", true},
		{"a.example:80", "b.example:80", false},
		{"a.example:80", ":80", true},
		{":0", ":0", false},
	} {
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			if got := overlap(pair[0], pair[1]); got != c.same {
				t.Errorf("%q: got %v, want %v", pair, got, c.same)
			}
		}
	}
}

func TestAConflictIsToldWithBothPlaces(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"two listeners", "listener \"a\" {\n  address = \":90\"\n}\nlistener \"b\" {\n  address = \"[::1]:90\"\n}",
			`a.hcl:5,13-23: listener "b": the address [::1]:90 is taken: listener "a" listens on :90 (a.hcl:2,13-18)`},
		{"the gateway's default", "listener \"a\" {\n  address = \"127.0.0.1:8000\"\n}",
			`a.hcl:2,13-29: listener "a": the address 127.0.0.1:8000 is taken: gateway listens on :8000 (its default)`},
		{"that of admin", "listener \"a\" {\n  address = \":8001\"\n}", `admin listens on 127.0.0.1:8001 (its default)`},
		{"of a gateway that says nothing of it", "gateway {\n}\nlistener \"a\" {\n  address = \":8000\"\n}", `listener "a": the address :8000 is taken: gateway listens on :8000 (a.hcl:1,1-8)`},
		{"that of egress", "listener \"a\" {\n  address = \":8080\"\n}\negress {\n}", `egress: the address :8080 is taken: listener "a" listens on :8080 (a.hcl:2,13-20)`},
		{"redirects", "gateway {\n  redirect_address = \":80\"\n  tls {\n    cert_dir = \"x\"\n  }\n}\nlistener \"a\" {\n  address = \":80\"\n}",
			`listener "a": the address :80 is taken: gateway: redirect_address listens on :80 (a.hcl:2,22-27)`},
	} {
		if _, err := parsedText(c.text); err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: got %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestAListenerSaysWhatIsWrongWithIt(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no address", `listener "a" {}`, `a.hcl:1,1-13: listener "a": address is needed, where to listen`},
		{"the name of another one", "listener \"admin\" {\n  address = \":90\"\n}", `listener "admin": this is the name of another listener`},
		{"a name that systemd does not take", "listener \"a:b\" {\n  address = \":90\"\n}", `listener "a:b": want a name of at most 63 small letters`},
		{"the same name twice", "listener \"a\" {\n  address = \":90\"\n}\nlistener \"a\" {\n  address = \":91\"\n}", `listener "a": already written at a.hcl:1,1-13`},
		{"no port", "listener \"a\" {\n  address = \"unix:/run/x\"\n}", `want an address such as`},
		{"a PROXY header of nobody", "listener \"a\" {\n  address = \":90\"\n  proxy_protocol = true\n}", `a.hcl:3,20-24: listener "a": proxy_protocol needs trusted_proxies`},
		{"names of nobody", "listener \"a\" {\n  address = \":90\"\n  client_names = [\"x\"]\n}", `listener "a": client_names needs tls { client_ca_file }`},
		{"a star within", "listener \"a\" {\n  address = \":90\"\n  client_names = [\"a*b\"]\n}", `want a name in certificates`},
		{"certificates by ACME", "listener \"a\" {\n  address = \":90\"\n  tls {\n    acme {\n    }\n  }\n}", `acme`},
		{"routes of its own", "listener \"a\" {\n  address = \":90\"\n  hsts = \"1y\"\n}", `hsts`},
	} {
		if _, err := parsedText(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v\nwant %s", c.name, err, c.want)
		}
	}
	cfg, err := parsedText("listener \"b\" {\n  address = \":90\"\n}\nlistener \"a\" {\n  address = \":91\"\n  trusted_proxies = [\"10.0.0.0/8\"]\n}")
	if err != nil || len(cfg.Listeners) != 2 || cfg.Listeners[0].Name != "b" || cfg.Listeners[1].Name != "a" || len(cfg.Listeners[0].TrustedProxies) != 0 {
		t.Errorf("got %v %v", cfg, err)
	}
}

func TestNamesInCertificatesCountAsFarAsTheyMay(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "anybody", true},
		{[]string{"a.example"}, "a.example", true},
		{[]string{"a.example"}, "b.a.example", false},
		{[]string{"*.example"}, "a.example", true},
		{[]string{"*.example"}, "a.example.org", false},
		{[]string{"x", "spiffe://a.example/*"}, "spiffe://a.example/b/c", true},
		{[]string{"spiffe://a.example/*"}, "spiffe://a.example.org/b", false},
		{[]string{"*"}, "anybody", true},
	} {
		if got := MayName(c.patterns, c.name); got != c.want {
			t.Errorf("%q, %s: got %v", c.patterns, c.name, got)
		}
	}
}
