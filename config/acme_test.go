package config

import (
	"strings"
	"testing"
)

// What a block acme needs of others is told wherever they stand, and by validate.
func TestACMESaysWhatItNeedsOfOthers(t *testing.T) { // P8
	block := func(more string) string {
		return "gateway {\n  tls {\n    acme {\n      hosts = [\"a.example\"]\n" + more + "    }\n  }\n}\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"a place in data_dir", block("") + "data_dir = \"\"\n", `a.hcl:3,5-9: gateway: tls: acme: storage = "file" needs data_dir`},
		{"a Consul", block("storage = \"consul\"\n"), `a.hcl:5,11-19: gateway: tls: acme: storage = "consul" needs a block consul`},
		{"a key for what lies in Consul", block("storage = \"consul\"\n") + "consul {}\ndata_dir = \"\"\n", `needs key_file, or data_dir for a key of its own`},
		{"where the authority comes to", block("challenges = [\"http-01\"]\n"), `a.hcl:5,14-25: gateway: tls: acme: the challenge "http-01" needs gateway { redirect_address }`},
		{"nothing, in data_dir", block(""), ""},
		{"nothing, in a Consul behind it", block("storage = \"consul\"\n") + "consul {}\n", ""},
		{"nothing, in a Consul with a key", block("storage = \"consul\"\nkey_file = \"x\"\n") + "consul {}\ndata_dir = \"\"\n", ""},
		{"nothing, with either challenge", block("challenges = [\"http-01\", \"tls-alpn-01\"]\n"), ""},
	} {
		_, err := Parse(OS(), File{Name: "a.hcl", Text: []byte(c.text)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
