package cli

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// casesDir is a policy of one ACL and a list, with cases.
func casesDir(t *testing.T, tests string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"consumers/ann": `{"name": "ann", "groups": ["staff"]}`, "consumers/bob": `{"name": "bob"}`,
		"acls/shop": `{"api": "shop", "groups": ["staff"]}`, "blacklist/b": "/admin\n", "tests/shop.hcl": tests, "tests/notes.txt": "not read",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	staffPasses = "case \"staff may export\" {\n  request  = \"GET /shop/export\"\n  consumer = \"ann\"\n  want     = \"pass\"\n}\n"
	bobPasses   = "case \"bob may export\" {\n  request  = \"GET /shop/export\"\n  consumer = \"bob\"\n  want     = \"pass\"\n}\n"
	nobodyKnows = "case \"eve\" {\n  request  = \"GET /shop/export\"\n  consumer = \"eve\"\n  want     = \"acl\"\n}\n"
)

func TestPolicyTestTellsWhatWentAnotherWay(t *testing.T) { // R4
	tests := []struct {
		name   string
		cases  string
		flags  []string
		status int
		stdout []string
		stderr string
	}{
		{"all as wanted", staffPasses, nil, 0, []string{"1 cases, 0 failed. 50 % of the rules spoke.", "No case exercised blacklist/b /admin"}, ""},
		{"one is not", staffPasses + bobPasses, nil, 1,
			[]string{`shop.hcl:6: "bob may export" wants pass, got acl`, "acl        deny", "policy/acls/shop", "2 cases, 1 failed"}, ""},
		{"a consumer who is not there", nobodyKnows, nil, 1, []string{`there is no consumer "eve"`}, ""},
		{"too little is covered", staffPasses, []string{"-fail-under", "51"}, 1, []string{"FAILED: want at least 51 %"}, ""},
		{"enough is", staffPasses, []string{"-fail-under", "50"}, 0, nil, ""},
		{"a share that is none", staffPasses, []string{"-fail-under", "101"}, 2, nil, "want a percentage"},
		{"a case that cannot be read", "case \"x\" {\n  request = \"GET /a\"\n  want = \"yes\"\n}\n", nil, 2, nil, "shop.hcl:3,10-15: want: is \"yes\""},
		{"no case", "", nil, 2, nil, "there is no case"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := casesDir(t, tt.cases)
			var stdout, stderr bytes.Buffer
			if got := Main(append([]string{"policy", "test", dir}, tt.flags...), &stdout, &stderr); got != tt.status {
				t.Errorf("got %d, want %d", got, tt.status)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("%q is not in\n%s", want, &stdout)
				}
			}
			if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("got %q, want %q", &stderr, tt.stderr)
			}
		})
	}
}

func TestResultsForCI(t *testing.T) {
	dir := casesDir(t, staffPasses+bobPasses)
	file := filepath.Join(t.TempDir(), "results.xml")
	var stdout, stderr bytes.Buffer
	if got := Main([]string{"policy", "test", "-junit", file, dir}, &stdout, &stderr); got != 1 {
		t.Errorf("got %d: %s", got, &stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(text, &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 2 || suite.Failures != 1 || len(suite.Cases) != 2 || suite.Cases[0].Failure != nil || suite.Cases[1].Failure.Message != "wants pass, got acl" {
		t.Errorf("got %s", text)
	}
}

// The cases are no objects of the policy: whatever else reads the directory leaves
// them alone.
func TestCasesAreNoPartOfThePolicy(t *testing.T) {
	dir := casesDir(t, staffPasses)
	var stdout, stderr bytes.Buffer
	if got := Main([]string{"policy", "check", dir}, &stdout, &stderr); got != 0 || !strings.Contains(stdout.String(), "4 objects") {
		t.Errorf("check: got %d %s %s", got, &stdout, &stderr)
	}
	address := answering(t, 200, `{"objects":[]}`)
	stdout.Reset()
	if got := Main([]string{"policy", "diff", "-admin", address, dir}, &stdout, &stderr); got != 0 || strings.Contains(stdout.String(), "tests") {
		t.Errorf("diff: got %d %s %s", got, &stdout, &stderr)
	}
}
