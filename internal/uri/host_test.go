package uri

import "testing"

func TestHost(t *testing.T) { // X2
	tests := []struct {
		in, host string
		port     uint16
		ok       bool
	}{
		{"example.org", "example.org", 0, true},
		{"Example.ORG:8000", "example.org", 8000, true},
		{"example.org.", "example.org", 0, true},
		{"example.org.:80", "example.org", 80, true},
		{"example.org:", "example.org", 0, true},
		{"_x.example.org", "_x.example.org", 0, true},
		{"127.0.0.1:8000", "127.0.0.1", 8000, true},
		{"[::1]:8000", "::1", 8000, true},
		{"[2001:DB8::0]", "2001:db8::", 0, true},
		{"[::ffff:10.0.0.1]", "10.0.0.1", 0, true},
		{"", "", 0, true},
		{"a..b", "", 0, false},
		{".a", "", 0, false},
		{"a..", "", 0, false},
		{".", "", 0, false},
		{":80", "", 0, false},
		{"a:65536", "", 0, false},
		{"a:+1", "", 0, false},
		{"a:1:2", "", 0, false},
		{"::1", "", 0, false},
		{"[::1%eth0]", "", 0, false},
		{"[1.2.3.4]", "", 0, false},
		{"[::1", "", 0, false},
		{"[::1]x", "", 0, false},
		{"a/b", "", 0, false},
		{"a b", "", 0, false},
		{"u@h", "", 0, false},
		{"b\xfccher.example", "", 0, false},
	}
	for _, tt := range tests {
		host, port, _, err := Host(tt.in, nil)
		if (err == nil) != tt.ok || host != tt.host || port != tt.port {
			t.Errorf("Host(%q) = %q, %d, %v, want %q, %d, ok %v", tt.in, host, port, err, tt.host, tt.port, tt.ok)
		}
	}
	scratch := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _, scratch, _ = Host("Example.ORG:8000", scratch)
		_, _, scratch, _ = Host("[2001:DB8::1]:80", scratch)
	}); n != 0 {
		t.Errorf("Host allocates %v times, want 0", n)
	}
}

func TestCompileHost(t *testing.T) { // A4
	tests := map[string]string{
		"BÜCHER.example.": "xn--bcher-kva.example",
		"example.org.":    "example.org",
		"A_b.example":     "a_b.example",
		"[::1]":           "::1",
		"::FFFF:1.2.3.4":  "1.2.3.4",
		"localhost":       "localhost",
		"a b":             "",
		"":                "",
		"a..b":            "",
		"a/b":             "",
	}
	for in, want := range tests {
		if got, err := CompileHost(in); got != want || (err == nil) != (want != "") {
			t.Errorf("CompileHost(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"a.b:80", "[::1]:1", "A.", "[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, _, _, err := Host(in, nil)
		if err != nil || host == "" {
			return
		}
		if compiled, err := CompileHost(host); err != nil && len(host) <= 253 || err == nil && compiled != host {
			t.Errorf("Host(%q) = %q, which a rule would call %q, %v", in, host, compiled, err)
		}
	})
}

func TestQuery(t *testing.T) {
	tests := []struct {
		query, name, value string
		count              int
	}{
		{"apikey=1", "apikey", "1", 1},
		{"a=1&apikey=x%20y&b", "apikey", "x%20y", 1},
		{"%61pikey=1&apikey=2", "apikey", "1", 2},
		{"apikey", "apikey", "", 1},
		{"APIKEY=1&apikey2=1&xapikey=2", "apikey", "", 0},
		{"", "apikey", "", 0},
		{"a+b=1", "a b", "1", 1},
	}
	for _, tt := range tests {
		if v, n := Argument(tt.query, tt.name); v != tt.value || n != tt.count {
			t.Errorf("Argument(%q, %q) = %q, %d, want %q, %d", tt.query, tt.name, v, n, tt.value, tt.count)
		}
	}
	if got, _ := DecodeArgument("a%2fb+c%zz%4", nil); got != "a/b c%zz%4" {
		t.Errorf("DecodeArgument gives %q", got)
	}
	names := []string{"apikey", "k"}
	for in, want := range map[string]string{
		"a=1&apikey=2&b=%20": "a=1&b=%20", "%61pikey=2": "", "x=1&&y": "x=1&&y", "k&x": "x", "x&k=": "x",
	} {
		if got, _ := WithoutArguments(in, names, nil); got != want {
			t.Errorf("WithoutArguments(%q) = %q, want %q", in, got, want)
		}
	}
	scratch := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = Argument("a=1&apikey=2", "apikey")
		_, scratch = WithoutArguments("a=1&apikey=2&b", names, scratch)
	}); n != 0 {
		t.Errorf("reading a query allocates %v times, want 0", n)
	}
}
