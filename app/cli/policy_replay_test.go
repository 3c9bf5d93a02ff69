package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplayCommand(t *testing.T) { // R2
	dir := t.TempDir()
	policy, log := filepath.Join(dir, "policy"), filepath.Join(dir, "decisions")
	const record = `{"v":1,"time":"2026-03-04T05:06:07.000001Z","id":"9f1c","listener":"gateway","method":"GET","host":"","port":80,"path":"/shop/a","client":"10.1.2.3","by":"segment","api":"shop","service":"shop","ran":true,"verdict":"pass","policy":"1","status":200}`
	for name, text := range map[string]string{
		"policy/blacklist/b": `{"entries": ["/shop/a"], "direction": "ingress"}`, "empty/README": "",
		"decisions": `{"v":1,"kind":"head"}` + "\n" + record + "\n", "none": "",
		"a.hcl": "decision_log {\n  path = \"" + log + "\"\n}\n", "b.hcl": "log_level = \"info\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := filepath.Join(dir, "empty")
	for _, tt := range []struct {
		name, want string
		status     int
		args       []string
	}{
		{"a change", "CLOSES", exitDone, []string{"-log", log, policy}},
		{"that fails", "CLOSES", exitFailed, []string{"-log", log, "-fail-on", "opens, closes", policy}},
		{"that does not", "CLOSES", exitDone, []string{"-log", log, "-fail-on", "opens,unknown", policy}},
		{"none", "SAME  1", exitDone, []string{"-log", log, "-fail-on", "opens,closes", empty}},
		{"against another policy", "OPENS", exitDone, []string{"-log", log, "-against", policy, empty}},
		{"as JSON", `"class": "closes"`, exitDone, []string{"-log", log, "-json", policy}},
		{"by the configuration", "CLOSES", exitDone, []string{"-config", filepath.Join(dir, "a.hcl"), policy}},
		{"older decisions", "No decision", exitDone, []string{"-log", log, "-last", "1h", policy}},
		{"an empty log", "says nothing", exitFailed, []string{"-log", filepath.Join(dir, "none"), "-fail-on", "opens", policy}},
		{"that of the running lictor", "CLOSES", exitDone, []string{"-admin", answering(t, 200, `{"decision_log":"`+log+`"}`), "-last", "1000000h", policy}},
		{"of a lictor that keeps none", "keeps no decisions", exitFailed, []string{"-admin", answering(t, 200, `{}`), policy}},
		{"of a lictor that is none", "is no status", exitFailed, []string{"-admin", answering(t, 200, `<html>`), policy}},
		{"no log", "no log: name one", exitFailed, []string{"-admin", "http://127.0.0.1:1", policy}},
		{"a configuration without one", "no decision_log", exitUsage, []string{"-config", filepath.Join(dir, "b.hcl"), policy}},
		{"a wrong class", `"all" is not one of`, exitUsage, []string{"-log", log, "-fail-on", "all", policy}},
		{"a log that is not there", "does not exist", exitFailed, []string{"-log", filepath.Join(dir, "gone"), policy}},
	} {
		var out, errs strings.Builder
		status := Main(append([]string{"policy", "replay"}, tt.args...), &out, &errs)
		if text := out.String() + errs.String(); status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: status %d, want %d, and %q in\n%s", tt.name, status, tt.status, tt.want, text)
		}
	}
}
