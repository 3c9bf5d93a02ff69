package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lictor/admin/admintest"
	"lictor/admin/api"
	"lictor/policy"
)

// running starts an admin listener with a policy in memory.
func running(t *testing.T) *admintest.Server {
	t.Helper()
	s := admintest.Memory(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("LICTOR_ADMIN_ADDR", server.URL)
	return s
}

// read returns a file of a directory.
func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What export writes is for a git: a line for each field, names of people, the same
// again after apply; and apply has nothing to do.
func TestExportIsAFixedPoint(t *testing.T) { // R5
	s := running(t)
	s.Write(t, policy.KindConsumers, "ann", `{"id":"c-1","groups":["staff"]}`)
	s.Write(t, policy.KindConsumers, "bob", `{"id":"c-2"}`)
	s.Write(t, policy.KindConsumers, "cyd", `{"id":"c-2"}`)                            // the id is no name of one
	s.Write(t, policy.KindConsumers, "eve", `{"id":"c-5"}`)                            // the name is somebody's id
	s.Write(t, policy.KindConsumers, "fay", `{"id":"eve"}`)                            // who is this one
	s.Write(t, policy.KindCredentials, strings.Repeat("ab", 32), `{"consumer":"c-1"}`) // never the key
	s.Write(t, policy.KindACLs, "shop", `{"api":"shop","consumers":["c-1","c-2","c-5","eve","n<b"],"groups":["staff"]}`)
	s.Write(t, policy.KindBlacklist, "hand", "# ours\n10.0.0.0/8 # because\n/admin")
	s.Write(t, policy.KindGroups, "staff", "# HCL\nplugins = []\n")
	s.Write(t, policy.KindACLs, "bad", `{"api":"x","nonsense":1}`)

	out := t.TempDir()
	wantRun(t, 0, "Wrote 10 objects to "+out+".\n", "policy", "export", out)
	for file, want := range map[string]string{
		"acls/shop": "{\n  \"id\": \"shop\",\n  \"api\": \"shop\",\n  \"consumers\": [\n    \"ann\",\n    \"c-2\",\n    \"c-5\",\n    \"fay\",\n    \"n<b\"\n  ],\n" +
			"  \"groups\": [\n    \"staff\"\n  ],\n  \"mode\": \"enforce\"\n}\n",
		"credentials/" + strings.Repeat("ab", 32): "{\n  \"consumer\": \"ann\"\n}\n",
		"blacklist/hand": "# ours\n10.0.0.0/8 # because\n/admin\n",
		"groups/staff":   "# HCL\nplugins = []\n",
		"acls/bad":       `{"api":"x","nonsense":1}`,
	} {
		if got := read(t, out, file); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
	if err := os.Remove(filepath.Join(out, "acls/bad")); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, 0, "0 made, 0 changed, 0 deleted; 9 were the same, 1 without a file stay.\n", "policy", "apply", out)
	if got := s.Value(policy.KindACLs, "shop"); !strings.Contains(got, "c-1") {
		t.Errorf("apply wrote what meant the same: %s", got)
	}
	again := t.TempDir()
	lictor("policy", "export", again)
	for _, file := range []string{"acls/shop", "blacklist/hand", "consumers/ann"} {
		if read(t, out, file) != read(t, again, file) {
			t.Errorf("%s is another one", file)
		}
	}

	// A lictor that had nothing decides the same by the files.
	other := running(t)
	wantPart(t, 0, "9 made", "policy", "apply", out)
	third := t.TempDir()
	lictor("policy", "export", third)
	if read(t, out, "acls/shop") != read(t, third, "acls/shop") {
		t.Errorf("written elsewhere and exported, it is %s", other.Value(policy.KindACLs, "shop"))
	}
	wantPart(t, 0, "9 are the same", "policy", "diff", out)
}

// wantPart wants a part of what a command line writes.
func wantPart(t *testing.T, status int, want string, args ...string) {
	t.Helper()
	if got, out := lictor(args...); got != status || !strings.Contains(out, want) {
		t.Errorf("lictor %s: got %d\n%s\nwant %d and %q", strings.Join(args, " "), got, out, status, want)
	}
}

// A file that gives somebody another id changes who the ids elsewhere are.
func TestANameIsNoIdOnceTheIdIsAnother(t *testing.T) { // R5
	s := running(t)
	s.Write(t, policy.KindConsumers, "ann", `{"id":"c-1"}`)
	s.Write(t, policy.KindACLs, "a", `{"api":"x","consumers":["c-1"]}`)
	dir := tree(t, "consumers/ann", `{"id":"c-9"}`, "acls/a", `{"api":"x","consumers":["ann"]}`)
	wantPart(t, 0, "~ acls/a", "policy", "diff", dir)
	dir = tree(t, "consumers/ann", `{"id":"c-1"}`, "consumers/fay", `{"id":"ann"}`, "acls/a", `{"api":"x","consumers":["ann"]}`)
	wantPart(t, 0, "~ acls/a", "policy", "diff", dir)
	dir = tree(t, "acls/a", `{"api":"x","consumers":["ann"],"mode":"report"}`)
	wantRun(t, 0, "~ acls/a\n    mode: \"enforce\" -> \"report\"\n0 to make, 1 to change, 0 to delete; 0 are the same, 1 without a file stay.\n", "policy", "diff", dir)
}

func TestExportPrunesWhatIsGone(t *testing.T) { // R5
	s := running(t)
	s.Write(t, policy.KindGroups, "g", "{}")
	dir := tree(t, "groups/old", "{}", "groups/g", "{}", "acls/x", "{}", "acls/.keep", "", "groups/old~", "", "tests/shop.hcl", "", "README.md", "x", "groups/d/e", "")
	wantRun(t, 0, "Wrote 1 objects to "+dir+".\n", "policy", "export", dir)
	if read(t, dir, "groups/old") != "{}" {
		t.Error("export changed another file")
	}
	wantRun(t, 0, "- acls/x\n- groups/old\nWrote 1 objects to "+dir+". Removed 2 files of objects that are gone.\n", "policy", "export", "-prune", dir)
	for _, stays := range []string{"acls/.keep", "groups/old~", "tests/shop.hcl", "README.md", "groups/d/e", "groups/g"} {
		if _, err := os.Stat(filepath.Join(dir, stays)); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckTellsWhatMakesNoDifferenceAndWhatIsMeant(t *testing.T) { // R5
	dir := tree(t, "blacklist/b", "/shop\n/shop/admin\n", "acls/a", `{"api":"shop","groups":["staff"]}`, "consumers/ann", `{"groups":["staff"]}`)
	note := "Note: blacklist/b: line 2: entries[1]: \"/shop/admin\" can never make a difference, because \"/shop\" of blacklist/b covers it\n"
	wantRun(t, 0, "The policy is valid: 3 objects.\n"+note, "policy", "check", dir)
	wantRun(t, 1, "The policy is valid: 3 objects.\n"+note, "policy", "check", "-exit-code", dir)
	wantRun(t, 0, "The policy is valid: 3 objects.\nNote: acls/a: api: \"shop\": no service, domain or API of this name is known\n"+note, "policy", "check", "-services", "chat, cart", dir)
	wantRun(t, 0, "The policy is valid: 3 objects.\n"+note, "policy", "check", "-services", "chat,shop", dir)
	wantRun(t, 0, "The policy is valid: 3 objects.\n"+note+`acls/a
    Lets members of staff use shop, and closes it to all whom no ACL of it lets in.
blacklist/b
    /shop refuses at the gateway requests below /shop.
    /shop/admin refuses at the gateway requests below /shop/admin.
consumers/ann
    Is known by the keys and tokens that name ann, and is a member of staff.
`, "policy", "check", "-explain", dir)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Services: []api.ServiceStatus{{Name: "chat"}}})
	}))
	defer server.Close()
	wantPart(t, 0, `"shop": no service, domain or API`, "policy", "check", "-admin", server.URL, dir)
	wantPart(t, 1, "is no status", "policy", "check", "-admin", answering(t, 200, "<html>"), dir)
	long := tree(t, "blacklist/b", "10.0.0.1:80\n", "blacklist/c", entries(60))
	wantPart(t, 0, "    and 10 entries more\n", "policy", "check", "-explain", long)
}

// entries is a list of n entries.
func entries(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("/p" + strings.Repeat("x", i) + "\n")
	}
	return b.String()
}

// What apply opens and closes is said before it is done, and only yes is yes.
func TestApplySaysFirstWhatItOpensAndCloses(t *testing.T) { // R5
	s := running(t)
	s.Write(t, policy.KindConsumers, "ann", `{}`)
	dir := tree(t, "acls/shop", `{"api":"shop","consumers":["ann"]}`)
	_, out := lictor("policy", "apply", dir)
	plan, proof, done := strings.Index(out, "+ acls/shop"), strings.Index(out, "CLOSES  acls/shop"), strings.LastIndex(out, "+ acls/shop")
	if plan < 0 || proof < plan || done < proof || !strings.Contains(out, "complete") {
		t.Errorf("got %s", out)
	}
	for text, want := range map[string]bool{"y\n": true, "YES\n": true, " y": true, "": false, "\n": false, "n\n": false, "yesterday\n": false, "yeah": false} {
		var said strings.Builder
		if got := confirmed(&said, strings.NewReader(text)); got != want || said.String() != "Write this? [y/N] " {
			t.Errorf("%q: got %v, %q", text, got, &said)
		}
	}
}

// A comparison tells that a secret is another one, and not which.
func TestADifferenceTellsNoSecret(t *testing.T) { // R5
	s := running(t)
	jwt := func(secret, more string) string {
		return `{"name":"jwt","config":{"secrets":["` + strings.Repeat(secret, 40) + `"]` + more + `}}`
	}
	s.Write(t, policy.KindPlugins, "login", jwt("a", ""))
	wantPart(t, 0, "~ plugins/login\n    config: a secret in it is another one\n", "policy", "diff", tree(t, "plugins/login", jwt("b", "")))
	_, out := lictor("policy", "diff", tree(t, "plugins/login", jwt("b", `,"issuer":"i"`)))
	if strings.Contains(out, "aaaa") || strings.Contains(out, "bbbb") || !strings.Contains(out, `"issuer":"i"`) {
		t.Errorf("got %s", out)
	}
}
