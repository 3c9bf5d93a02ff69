//go:build integration

package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhoChangesThePolicyIsKnown has a pipeline, a tenant and Consul's own tools change
// the policy of a lictor, each by what it may, and reads the audit.
func TestWhoChangesThePolicyIsKnown(t *testing.T) { // R5, R6
	together(t)
	c := startConsul(t)
	dir := t.TempDir()
	tokens, audit := filepath.Join(dir, "ci-token"), filepath.Join(dir, "audit.log")
	write(t, tokens, "ci-one\n")
	p := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(c, ""), Admin: fmt.Sprintf(`
  token = "all"
  audit_log = %q
  access "ci" {
    token_file = %q
    may = ["policy"]
  }
  access "acme" {
    token = "acme"
    may = ["mapping:acme"]
  }
  access "prometheus" {
    token = "prom"
    may = ["metrics"]
  }
`, audit, tokens)})
	admin := "http://" + p.Admin
	ask := func(method, path, token, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, admin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Admin-Token", token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, tt := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/metrics", "prom", 200}, {"GET", "/status", "prom", 403}, {"GET", "/policy/objects", "acme", 403}, {"GET", "/v1/acme/mapping", "acme", 200},
		{"GET", "/v1/evil/mapping", "acme", 403}, {"PUT", "/v1/evil/mapping", "acme", 403}, {"DELETE", "/blacklist/x", "acme", 403}, {"POST", "/explain", "ci-one", 403},
		{"GET", "/v1/..%2fevil/mapping", "acme", 403}, {"GET", "/v1/acme/../evil/mapping", "acme", 404}, {"GET", "/status", "ci-one", 200}, {"GET", "/status", "ci-two", 403},
	} {
		if got, text := ask(tt.method, tt.path, tt.token, ""); got != tt.want {
			t.Errorf("%s %s with %s: got %d %s, want %d", tt.method, tt.path, tt.token, got, text, tt.want)
		}
	}

	policy := filepath.Join(dir, "policy")
	write(t, filepath.Join(policy, "blacklist/ops"), "/admin\n")
	write(t, filepath.Join(policy, "consumers/ann"), `{"id": "c-1"}`)
	write(t, filepath.Join(policy, "acls/shop"), `{"api": "shop", "consumers": ["ann"]}`)
	if status, out, said := runLictor(t, "policy", "apply", "-admin", admin, "-token", "ci-one", policy); status != 0 {
		t.Fatalf("apply: %d %s%s", status, out, said)
	}
	if got, text := ask("PUT", "/v1/acme/mapping", "acme", `{"domain":"a.example","backends":["http://127.0.0.1:1"]}`); got/100 != 2 {
		t.Fatalf("got %d %s", got, text)
	}
	kvPut(t, c, "lictor/policy/blacklist/ops", `{"entries":["/admin","/hidden"]}`)
	kvPut(t, c, "lictor/policy/groups/bad", `{"plugins":7}`)
	var changes struct {
		Changes []struct {
			By, From, Key, Verb, Outcome, Before, After string
			Fields                                      []string
		}
	}
	eventually(t, soon, "what Consul was given is told", func() error {
		_, text := ask("GET", "/policy/changes", "ci-one", "")
		if err := json.Unmarshal([]byte(text), &changes); err != nil {
			return err
		}
		if n := len(changes.Changes); n != 6 {
			return fmt.Errorf("%d changes: %s", n, text)
		}
		return nil
	})
	got := map[string]string{}
	for _, e := range changes.Changes {
		got[e.Key+" "+e.Verb] = e.By + " " + e.Outcome
		if e.By != "consul" && !strings.HasPrefix(e.From, "127.0.0.1:") || len(e.After) != 64 {
			t.Errorf("got %+v", e)
		}
		if e.Key == "blacklist/ops" && e.Verb == "change" && (len(e.Fields) != 1 || e.Fields[0] != `entries: +"/hidden"` || len(e.Before) != 64) {
			t.Errorf("got %+v", e)
		}
	}
	for what, want := range map[string]string{
		"blacklist/ops create": "ci in force", "consumers/ann create": "ci in force", "acls/shop create": "ci in force", "mappings/a.example create": "acme in force",
		"blacklist/ops change": "consul in force", "groups/bad create": "consul not in force",
	} {
		if !strings.HasPrefix(got[what], want) {
			t.Errorf("%s: got %q, want %q", what, got[what], want)
		}
	}
	eventually(t, soon, "the file has a line for each", func() error {
		text, err := os.ReadFile(audit)
		if n := strings.Count(string(text), "\n"); n != 6 || !strings.Contains(string(text), `(none) -> \"both\"`) {
			return fmt.Errorf("%d lines, %v: %s", n, err, text)
		}
		return nil
	})
	if info, err := os.Stat(audit); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the audit is %v, %v", info, err)
	}

	// The files that export writes are as apply left them, and say ann.
	out := filepath.Join(dir, "export")
	if status, text, said := runLictor(t, "policy", "export", "-admin", admin, "-token", "ci-one", out); status != 0 {
		t.Fatalf("export: %d %s%s", status, text, said)
	}
	if text, err := os.ReadFile(filepath.Join(out, "acls/shop")); err != nil || !strings.Contains(string(text), "\n    \"ann\"\n") {
		t.Errorf("got %s, %v", text, err)
	}

	kvDelete(t, c, "lictor/policy/groups/bad") // what cannot be read proves nothing
	eventually(t, soon, "it is gone", func() error {
		if _, text := ask("GET", "/policy/changes", "ci-one", ""); !strings.Contains(text, `"delete"`) {
			return errors.New(text)
		}
		return nil
	})
	pipeline(t, admin, "ci-one", out)

	// Another token in the file counts, and the former one no more.
	write(t, tokens, "ci-two\n")
	eventually(t, soon, "the new token counts", func() error {
		if got, _ := ask("GET", "/status", "ci-two", ""); got != 200 {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
	if got, _ := ask("GET", "/status", "ci-one", ""); got/100 != 4 {
		t.Errorf("the former token gives %d", got)
	}
}

// pipeline runs the steps of deploy/ci as a pipeline does.
func pipeline(t *testing.T, admin, token, dir string) {
	t.Helper()
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	step := func(name string, args ...string) (string, error) {
		cmd := exec.Command("../deploy/ci/"+name, args...)
		cmd.Env = append(os.Environ(), "LICTOR_ADMIN_ADDR="+admin, "LICTOR_ADMIN_TOKEN="+token, "FAIL_UNDER=100", "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	change := func(name, text string) {
		t.Helper()
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Remove(filepath.Join(dir, "groups/bad")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "acls")); err != nil { // of a service that is not there
		t.Fatal(err)
	}
	change("tests/all.hcl", "case \"hidden\" {\n  request = \"GET /hidden/x\"\n  want = \"blacklist\"\n}\n"+
		"case \"admin\" {\n  request = \"GET /admin\"\n  want = \"blacklist\"\n}\n"+
		"case \"a tenant\" {\n  request = \"GET http://a.example/\"\n  want = \"pass\"\n}\n")
	change("blacklist/ops", "/admin\n/hidden/x\n")
	reports := t.TempDir()
	out, err := step("check", dir, reports)
	if err != nil || !strings.Contains(out, "OPENS   blacklist/ops /hidden") || !strings.Contains(out, "complete") {
		t.Fatalf("check: %v\n%s", err, out)
	}
	for _, name := range []string{"policy.xml", "impact.txt"} {
		if _, err := os.Stat(filepath.Join(reports, name)); err != nil {
			t.Error(err)
		}
	}
	change("blacklist/more", "/admin/x\n") // makes no difference
	if out, err := step("check", dir, reports); err == nil || !strings.Contains(out, "can never make a difference") {
		t.Errorf("check of what makes no difference: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, "blacklist/more")); err != nil {
		t.Fatal(err)
	}
	if out, err := step("apply", dir); err != nil || !strings.Contains(out, "0 made, 1 changed") {
		t.Errorf("apply: %v\n%s", err, out)
	}
	if text, err := os.ReadFile(filepath.Join(dir+".before", "blacklist/ops")); err != nil || strings.Contains(string(text), "/hidden/x") {
		t.Errorf("the policy before is %s, %v", text, err)
	}
}
