package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lictor/admin/admintest"
	"lictor/policy"
)

// tree writes files (kind/name and text in turn) into a new directory.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lictor runs a command line and returns its status and all that it wrote.
func lictor(args ...string) (int, string) {
	var out bytes.Buffer
	status := Main(args, &out, &out)
	return status, out.String()
}

// wantRun runs a command line and checks what it wrote.
func wantRun(t *testing.T, status int, want string, args ...string) {
	t.Helper()
	if got, out := lictor(args...); got != status || out != want {
		t.Errorf("lictor %s: got %d\n%s\nwant %d\n%s", strings.Join(args, " "), got, out, status, want)
	}
}

// wantEnd is wantRun for what is written last.
func wantEnd(t *testing.T, status int, want string, args ...string) {
	t.Helper()
	if got, out := lictor(args...); got != status || !strings.HasSuffix("\n"+out, "\n"+want) {
		t.Errorf("lictor %s: got %d\n%s\nwant %d and at its end\n%s", strings.Join(args, " "), got, out, status, want)
	}
}

func TestPolicyCheck(t *testing.T) { // contract 1
	good := tree(t, "acls/a", `{"api":"x","groups":["g"]}`, "groups/g", "{}", "blacklist/b", "10.0.0.1\n/admin\n", "README.md", "# text", ".git/config", "x", "acls/.keep", "")
	wantRun(t, 0, "The policy is valid: 3 objects.\n", "policy", "check", good)
	odd := tree(t, "acls/a", `{"api":"x","groups":["g"],"consumers":["ghost"]}`, "consumers/ann", `{"groups":["g"]}`, "blacklist/b", "/admin/*\n",
		"plugin-mappings/m", `{"plugins":["auht"]}`, "whitelist/w", "")
	wantRun(t, 0, `The policy is valid: 5 objects.
Note: acls/a: consumers[0]: "ghost": no consumer has this id or name
Note: blacklist/b: line 1: entries[0]: "/admin/*": a * in a path stands for itself; a path covers all below it
Note: plugin-mappings/m: plugins[0]: "auht": there is no such plugin
Note: whitelist/w: entries: the whitelist has no entry, so it restricts nothing
`, "policy", "check", odd)
	bad := tree(t,
		"acls/a", "api = \"x\"\ngroups = [\"g\"]\nnonsense = 1\nmode = \"maybe\"\n", "blacklist/b", "10.0.0.1\nnot an entry\n",
		"nonsense/c", "{}", "groups/d/e", "{}", "consumers/f", `{"name":"g"}`)
	wantRun(t, 2, strings.ReplaceAll(`DIR/acls/a:3: nonsense: is an unknown field
DIR/acls/a:4: mode: is "maybe", want "enforce" or "report"
DIR/blacklist/b:2: entries[1]: "not" is no method
DIR/consumers/f:1: name: is "g", want the key's own name "f"
DIR/groups/d: is a directory, want a file for each object
DIR/nonsense: not one of the kinds [blacklist whitelist consumers credentials groups filters plugins acls plugin-mappings apis mappings]
`, "DIR", bad), "policy", "check", bad)
	wantRun(t, 2, "open /nowhere/at/all: no such file or directory\n", "policy", "check", "/nowhere/at/all")
	wantRun(t, 2, "lictor policy check: want a directory\nTry: lictor policy check -h\n", "policy", "check")
}

func TestPolicyApply(t *testing.T) { // contract 1
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("LICTOR_ADMIN_ADDR", server.URL)
	s.Want(t, 201, "POST", "/apis/x/acls", `groups=mine`)
	s.Want(t, 201, "POST", "/blacklist", `name=other&entries=/other`)

	dir := tree(t, "blacklist/ops", "# by hand\n/admin\n", "mappings/a.x", `{"domain":"a.x","tenant":"t","backends":["http://h"]}`)
	wantEnd(t, 0, "Would do transaction 1 of 1:\n+ blacklist/ops\n+ mappings/a.x\n2 to make, 0 to change, 0 to delete; 0 are the same, 3 without a file stay.\n",
		"policy", "apply", "-dry-run", dir)
	if got := s.Value(policy.KindBlacklist, "ops"); got != "" {
		t.Errorf("the dry run wrote %q", got)
	}
	wantEnd(t, 0, "+ blacklist/ops\n+ mappings/a.x\n2 made, 0 changed, 0 deleted; 0 were the same, 3 without a file stay.\n", "policy", "apply", dir)
	if got := s.Value(policy.KindBlacklist, "ops"); got != "# by hand\n/admin\n" {
		t.Errorf("got %q, want the file as it is", got)
	}
	wantEnd(t, 0, "0 made, 0 changed, 0 deleted; 2 were the same, 3 without a file stay.\n", "policy", "apply", dir)

	// What means the same is the same.
	s.Write(t, policy.KindBlacklist, "ops", `{"entries":["/admin"]}`)
	wantRun(t, 0, "- blacklist/other\n0 to make, 0 to change, 1 to delete; 2 are the same, 2 without a file stay.\n", "policy", "diff", dir)
	s.Write(t, policy.KindBlacklist, "ops", `{"entries":["/a","/<b>"],"reason":"because"}`)
	wantRun(t, 0, `~ blacklist/ops
    entries: ["/a","/<b>"] -> ["/admin"]
    reason: "because" -> (none)
- blacklist/other
0 to make, 1 to change, 1 to delete; 1 are the same, 2 without a file stay.
`, "policy", "diff", dir)
	wantEnd(t, 0, "~ blacklist/ops\n- blacklist/other\n0 made, 1 changed, 1 deleted; 1 were the same, 2 without a file stay.\n", "policy", "apply", "-prune", dir)
	s.Want(t, 404, "GET", "/blacklist/other", "")
	s.WantDecisions(t, map[string]int{"GET /admin": 403, "GET /x/y": 401})

	out := t.TempDir()
	wantRun(t, 0, fmt.Sprintf("Wrote 4 objects to %s.\n", out), "policy", "export", out)
	wantRun(t, 0, "The policy is valid: 4 objects.\n", "policy", "check", out)
	wantRun(t, 0, "0 to make, 0 to change, 0 to delete; 4 are the same.\n", "policy", "diff", out)
}

func TestPolicyApplyIsWholeOrNot(t *testing.T) { // contract 1
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	defer server.Close()
	var client adminClient
	client.address = server.URL
	dir := tree(t, "groups/a", "plugins = []", "groups/b", "plugins = []")
	plan, err := planApply(&client, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Write(t, policy.KindGroups, "b", "") // somebody else was faster
	var out strings.Builder
	if err := plan.apply(&client, &out, false); err == nil || !strings.Contains(err.Error(), "groups/b already exists") {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := s.Value(policy.KindGroups, "a"); got != "" {
		t.Errorf("half of it was written: %q", got)
	}
	if plan, err = planApply(&client, dir, false); err != nil {
		t.Fatal(err)
	}
	s.Write(t, policy.KindGroups, "a", "plugins = [\"x\"]")
	if err := plan.apply(&client, &out, false); err == nil {
		t.Error("what was made meanwhile was overwritten")
	}
}

func TestPolicyTransactions(t *testing.T) { // contract 1
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("LICTOR_ADMIN_ADDR", server.URL)
	var files []string
	for i := range 150 {
		files = append(files, fmt.Sprintf("mappings/m%03d.x", i), `{"tenant":"t","backends":["http://h"]}`)
	}
	files = append(files, "plugins/p", `{"name":"key-auth"}`, "plugin-mappings/m", `{"api":"m000.x","plugins":["p"]}`,
		"acls/a", `{"api":"m000.x","groups":["g"]}`, "credentials/"+strings.Repeat("0", 64), `{"consumer":"c"}`, "consumers/c", `{}`)
	status, out := lictor("policy", "apply", tree(t, files...))
	if status != 0 {
		t.Fatalf("got %d %s", status, out)
	}
	var order []string
	_, done, _ := strings.Cut(out, "\nproof: ")
	for line := range strings.Lines(done) {
		if kind, _, ok := strings.Cut(strings.TrimPrefix(line, "+ "), "/"); ok && (len(order) == 0 || order[len(order)-1] != kind) {
			order = append(order, kind)
		}
		if rest, ok := strings.CutPrefix(line, "Transaction "); ok {
			order = append(order, strings.TrimSpace(rest))
		}
	}
	// What closes comes before what opens.
	if got := strings.Join(order, " "); got != "1 of 3: acls plugin-mappings plugins consumers credentials mappings 2 of 3: mappings 3 of 3: mappings" {
		t.Errorf("got %s\n%s", got, out)
	}
	// And what opened goes before what closed it.
	status, out = lictor("policy", "apply", "-prune", tree(t, "mappings/z.x", `{"backends":["http://h"]}`, "acls/z", `{"api":"z","groups":["g"]}`))
	if status != 0 || !strings.Contains(out, "1 of 3:\n+ acls/z\n+ mappings/z.x\n- mappings/m000.x\n") || !strings.Contains(out, "- mappings/m149.x\n- acls/a\n2 made, 0 changed, 151 deleted") {
		t.Errorf("got %d %s", status, out)
	}
}

// A directory may be anybody's: what lies outside of it is not told, and nothing
// in it makes check wait or fill the memory.
func TestPolicyCheckOfAHostileDirectory(t *testing.T) {
	outside := tree(t, "secret", "TOKEN=hunter2-and-more\nsecond line\n", "kind/x", "hunter2")
	for _, test := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"a link to a file outside", func(d string) error {
			return os.Symlink(filepath.Join(outside, "secret"), filepath.Join(d, "blacklist/x"))
		}, "out of the directory"},
		{"a relative link to a file outside", func(d string) error {
			rel, err := filepath.Rel(filepath.Join(d, "blacklist"), filepath.Join(outside, "secret"))
			return errors.Join(err, os.Symlink(rel, filepath.Join(d, "blacklist/x")))
		}, "out of the directory"},
		{"a kind that leads outside", func(d string) error { return os.Symlink(filepath.Join(outside, "kind"), filepath.Join(d, "whitelist")) }, "out of the directory"},
		{"the environment", func(d string) error { return os.Symlink("/proc/self/environ", filepath.Join(d, "blacklist/x")) }, "out of the directory"},
		{"a device without an end", func(d string) error { return os.Symlink("/dev/zero", filepath.Join(d, "blacklist/x")) }, "out of the directory"},
		{"a link that leads nowhere", func(d string) error { return os.Symlink("none", filepath.Join(d, "blacklist/x")) }, "leads nowhere"},
		{"a pipe", func(d string) error { return syscall.Mkfifo(filepath.Join(d, "blacklist/x"), 0o600) }, "is no regular file"},
		{"a file without an end", func(d string) error {
			f, err := os.Create(filepath.Join(d, "blacklist/x"))
			return errors.Join(err, f.Truncate(1<<40), f.Close())
		}, "is larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := tree(t, "blacklist/ops", "10.0.0.1\n")
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			status, out := lictor("policy", "check", dir)
			if status != 2 || !strings.Contains(out, test.want) || strings.Contains(out, "hunter2") || strings.Contains(out, "TOKEN") {
				t.Errorf("got %d %s", status, out)
			}
		})
	}
}

func TestPolicyCheckOfLinksInsideAndLeftovers(t *testing.T) {
	dir := tree(t, "..v1/blacklist/ops", "10.0.0.1\n", "whitelist/w", "10.0.0.2\n", "whitelist/w~", "not an entry\n", "whitelist/#w#", "x")
	for link, to := range map[string]string{"..data": "..v1", "blacklist": "..data/blacklist"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	wantRun(t, 0, "Not read, as it looks like a copy that an editor left: whitelist/#w#\n"+
		"Not read, as it looks like a copy that an editor left: whitelist/w~\nThe policy is valid: 2 objects.\n", "policy", "check", dir)
}

func TestPolicyExportFollowsNoLinkOut(t *testing.T) {
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("LICTOR_ADMIN_ADDR", server.URL)
	s.Want(t, 201, "POST", "/blacklist", `name=ops&entries=/other`)
	precious := filepath.Join(tree(t, "precious", "as it was"), "precious")
	dir := tree(t, "blacklist/other", "x")
	if err := os.Symlink(precious, filepath.Join(dir, "blacklist/ops")); err != nil {
		t.Fatal(err)
	}
	if status, out := lictor("policy", "export", dir); status != 1 || !strings.Contains(out, "escapes") {
		t.Errorf("got %d %s", status, out)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "as it was" {
		t.Errorf("a file outside is %q, %v", text, err)
	}
}
