//go:build integration

package integration_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// inClient runs a command in the module that makes a client.
func inClient(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "openapi"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// TestAClientMadeOfTheDescription makes a client of /openapi.json, which is
// checked by that, and sets up by it what the gateway then decides by.
func TestAClientMadeOfTheDescription(t *testing.T) {
	together(t)
	backend := startBackend(t, "one")
	p := startLictor(t, lictorConfig{Admin: `token = "secret"`, Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("mockbin", backend.URL)})
	p.Ready(t)
	dir := t.TempDir()
	document, code, overlay := filepath.Join(dir, "openapi.json"), filepath.Join(dir, "client.go"), filepath.Join(dir, "overlay.json")
	text := p.ask(t, "GET", "/openapi.json", "", "X-Admin-Token", "secret").text
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inClient(t, "run", "./valid", document)
	inClient(t, "tool", "oapi-codegen", "-generate", "types,client", "-package", "client", "-o", code, document)
	// The client is nowhere but here: the compiler is told that it stands in the module.
	place, err := filepath.Abs("openapi/client/client.go")
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{place: code}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	inClient(t, "run", "-overlay", overlay, "./gist", "-admin", "http://"+p.Admin, "-token", "secret")
	for _, tt := range []struct {
		method, key string
		status      int
		limit       string
	}{
		{"GET", "", 401, ""},
		{"GET", "thefosk", 200, "10"},
		{"POST", "thefosk", 403, ""},
		{"GET", "sinzone", 200, "1000"},
		{"POST", "sinzone", 200, "1000"},
		{"DELETE", "sinzone", 403, ""},
	} {
		req, err := http.NewRequest(tt.method, "http://"+p.Gateway+"/mockbin/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("apikey", tt.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if limit := resp.Header.Get("X-RateLimit-Limit-Second"); resp.StatusCode != tt.status || limit != tt.limit {
			t.Errorf("%s as %q: got %d with the limit %q, want %d with %q", tt.method, tt.key, resp.StatusCode, limit, tt.status, tt.limit)
		}
	}
}
