//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy/replay"
)

// TestReplayTellsWhatAChangeDoes has requests decided by a policy in Consul, tries a
// change on what was recorded of them, by the command and by the admin API, and makes
// it: real requests fare as was said. The key of what a blacklist refused is recorded
// as well, so that it can be told what becomes of it (R2).
func TestReplayTellsWhatAChangeDoes(t *testing.T) {
	together(t)
	consul := startConsul(t)
	back := startBackend(t, "shop")
	path := filepath.Join(t.TempDir(), "decisions")
	p := startLictor(t, lictorConfig{Rest: fmt.Sprintf("consul {\n  address = %q\n}\ndecision_log {\n  path = %q\n}\n", consul.Addr, path) + staticConfig("shop", "http://"+back.Addr)})
	p.Ready(t)
	p.play(t, []admintest.Step{
		{Method: "POST", Path: "/consumers", Body: `{"name": "ann", "groups": ["staff"]}`, Status: 201},
		{Method: "POST", Path: "/consumers", Body: `{"name": "bob", "groups": ["guests"]}`, Status: 201},
		{Method: "POST", Path: "/consumers/ann/key-auth/", Body: `{"key": "key-of-ann"}`, Status: 201},
		{Method: "POST", Path: "/consumers/bob/key-auth/", Body: `{"key": "key-of-bob"}`, Status: 201},
		{Method: "POST", Path: "/blacklist", Body: `{"name": "ops", "entries": ["/shop/admin"], "direction": "ingress"}`, Status: 201},
	})
	dir := filepath.Join(t.TempDir(), "policy")
	p.command(t, 0, "policy", "export", "-admin", p.Admin, dir)
	former := filepath.Join(t.TempDir(), "former")
	must(t, os.CopyFS(former, os.DirFS(dir)))

	// What is asked, and its status before and after the change.
	requests := []struct {
		path, key     string
		before, after int
	}{
		{"/shop/x", "key-of-ann", 200, 200},
		{"/shop/x", "key-of-bob", 200, 403},
		{"/shop/x", "", 200, 401},
		{"/shop/admin", "key-of-ann", 403, 200},
		{"/shop/admin", "key-of-bob", 403, 403},
		{"/", "", 404, 404},
	}
	ask := func(when string, want func(i int) int) {
		t.Helper()
		for i, r := range requests {
			var header []string
			if r.key != "" {
				header = []string{"apikey", r.key}
			}
			if resp := p.send(t, http.MethodGet, r.path, header...); resp.StatusCode != want(i) {
				t.Errorf("%s: %s with %q is %d, want %d", when, r.path, r.key, resp.StatusCode, want(i))
			}
		}
	}
	ask("before", func(i int) int { return requests[i].before })
	decisionsIn(t, path, len(requests))

	must(t, os.MkdirAll(filepath.Join(dir, "acls"), 0o750))
	must(t, os.WriteFile(filepath.Join(dir, "acls", "shop"), []byte(`{"id": "shop", "api": "shop", "groups": ["staff"]}`), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "blacklist", "ops"), []byte(`{"entries": ["/shop/never"], "direction": "ingress"}`), 0o600))
	for _, against := range [][]string{nil, {"-against", former}} {
		out := p.command(t, 1, append(append([]string{"policy", "replay", "-log", path, "-fail-on", "closes"}, against...), dir)...)
		for _, want := range []string{"6 decisions", "CLOSES  2", "acls/shop", "consumers anonymous, bob", "OPENS   1", "consumer ann", "SAME    3", "blacklist/ops /shop/never"} {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", against, want, out)
			}
		}
	}
	p.command(t, 0, "policy", "replay", "-log", path, "-fail-on", "opens,closes", former)

	acl, list := `{"id": "shop", "api": "shop", "groups": ["staff"]}`, `{"entries": ["/shop/never"], "direction": "ingress"}`
	body, err := json.Marshal(map[string]any{"operations": []map[string]any{
		{"op": "put", "key": "acls/shop", "value": []byte(acl)}, {"op": "put", "key": "blacklist/ops", "value": []byte(list)},
	}})
	must(t, err)
	answer := p.ask(t, "POST", "/policy/replay", string(body), "Content-Type", "application/json")
	var report replay.Report
	if err := json.Unmarshal([]byte(answer.text), &report); err != nil || report.Closes != 2 || report.Opens != 1 || report.Same != 3 || report.Unknown != 0 {
		t.Errorf("the admin API: %v %s", err, answer.text)
	}

	p.command(t, 0, "policy", "apply", "-admin", p.Admin, dir)
	ask("after", func(i int) int { return requests[i].after })
}

// command runs lictor and returns what it printed, of the status that is wanted.
func (p *lictorProcess) command(t *testing.T, status int, args ...string) string {
	t.Helper()
	out, err := exec.Command(p.bin, args...).CombinedOutput()
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != status {
		t.Fatalf("lictor %s: status %d, want %d\n%s", strings.Join(args, " "), code, status, out)
	}
	return string(out)
}
