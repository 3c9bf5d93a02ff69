//go:build integration

package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicyTestDecidesAsTheRunningGateway tries requests by policy test, from the
// files alone, and by explain, of a gateway that serves by the same files.
func TestPolicyTestDecidesAsTheRunningGateway(t *testing.T) { // R4
	together(t)
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("consumers/ann", `{"name": "ann", "groups": ["staff"]}`)
	write("acls/shop", `{"api": "shop", "groups": ["staff"]}`)
	write("plugins/key", `{"id": "key", "name": "key-auth"}`)
	write("plugin-mappings/key", `{"api": "shop", "plugins": ["key"]}`)
	write("apis/exports", `{"name": "exports", "service": "shop", "filters": ["exports"]}`)
	write("filters/exports", `{"name": "exports", "paths": ["/shop/export"]}`)
	write("acls/exports", `{"api": "exports", "consumers": ["bob"]}`)
	write("blacklist/b", "/admin\nDELETE /cart/x\nevil.example\n10.9.0.0/16\n")
	tests := []struct{ method, url, from, want string }{
		{"GET", "/shop/a", "", "no_credentials"},
		{"GET", "/shop/export", "", "no_credentials"},
		{"GET", "/shop/%65xport", "", "no_credentials"},
		{"GET", "/cart/..%2fadmin", "", "blacklist"},
		{"GET", "/cart/x", "", "pass"},
		{"DELETE", "/cart/x", "", "blacklist"},
		{"GET", "http://evil.example/cart/x", "", "blacklist"},
		{"GET", "/cart/x", "10.9.1.2", "blacklist"},
		{"GET", "/cart/x", "10.8.1.2", "pass"},
		{"GET", "/", "", "no_service"},
	}
	text := ""
	for i, tt := range tests {
		from := ""
		if tt.from != "" {
			from = fmt.Sprintf(" from = %q\n", tt.from)
		}
		text += fmt.Sprintf("case \"%d\" {\n request = %q\n%s want = %q\n}\n", i, tt.method+" "+tt.url, from, tt.want)
	}
	write("tests/all.hcl", text)
	if status, out, said := runLictor(t, "policy", "test", dir); status != 0 {
		t.Errorf("policy test: %d\n%s%s", status, out, said)
	}
	p := startLictor(t, lictorConfig{Rest: fmt.Sprintf("policy {\n  store = \"file\"\n  dir = %q\n}\n", dir) +
		"resolver \"static\" {\n  services = { shop = [\"http://127.0.0.1:1\"], cart = [\"http://127.0.0.1:1\"] }\n}\n"})
	if said := p.output.String(); strings.Contains(said, "tests") {
		t.Errorf("the cases are taken for objects:\n%s", said)
	}
	for _, tt := range tests {
		args := []string{"explain", "-admin", "http://" + p.Admin, "-X", tt.method, tt.url}
		if tt.from != "" {
			args = append(args, "-from", tt.from)
		}
		want := "REFUSED: "
		if tt.want == "pass" {
			want = "ALLOWED"
		}
		first, _, _ := strings.Cut(third(runLictor(t, args...)), "\n")
		if !strings.HasPrefix(first, want) || tt.want != "pass" && !strings.HasSuffix(first, " "+tt.want) {
			t.Errorf("%s %s: explain says %q, policy test %s", tt.method, tt.url, first, tt.want)
		}
	}
}

// third is the output of a command that succeeded or not.
func third(_ int, out, _ string) string { return out }
