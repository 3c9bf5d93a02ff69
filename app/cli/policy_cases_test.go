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

// What a feed refuses is refused in a case as well, where the configuration is named.
func TestCasesKnowTheFeedsOfAConfiguration(t *testing.T) { // R4, A18
	const fromElsewhere = "case \"a bad network\" {\n  request  = \"GET /shop/export\"\n  consumer = \"ann\"\n  from     = \"203.0.113.7\"\n  want     = \"blacklist\"\n}\n"
	dir, etc := casesDir(t, fromElsewhere), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(etc, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	list := write("drop.txt", "203.0.113.0/24\n")
	const static = "resolver \"static\" {\n  services = { shop = [\"http://127.0.0.1:1\"] }\n}\n"
	file := write("file.hcl", static+"feed \"drop\" {\n  path   = \""+list+"\"\n  format = \"cidr\"\n}\n")
	url := write("url.hcl", static+"data_dir = \""+etc+"\"\nfeed \"drop\" {\n  url    = \"https://lists.example.org/drop\"\n  format = \"cidr\"\n}\n")
	for _, tt := range []struct {
		name   string
		flags  []string
		status int
		says   string
	}{
		{"without it", nil, 1, "wants blacklist, got pass"},
		{"with it", []string{"-config", file}, 0, "1 cases, 0 failed"},
		{"with one whose list was never fetched here", []string{"-config", url}, 2, `feed "drop": it is fetched, and data_dir has no copy of it yet`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := Main(append([]string{"policy", "test", dir}, tt.flags...), &out, &out); got != tt.status || !strings.Contains(out.String(), tt.says) {
				t.Errorf("got %d, want %d and %q:\n%s", got, tt.status, tt.says, &out)
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
