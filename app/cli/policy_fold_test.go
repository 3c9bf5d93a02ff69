package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lictor/admin/api"
	"lictor/policy"
)

// A filter that one ACL alone uses stands inside of it, and any other in a file of
// its own; the directory says the same as the store.
func TestExportWritesAFilterIntoItsACL(t *testing.T) { // R5
	s := running(t)
	s.Write(t, policy.KindFilters, "own", `{"methods":["GET"],"inline":true}`)
	s.Write(t, policy.KindFilters, "reads", `{"methods":["GET"]}`)
	s.Write(t, policy.KindFilters, "two", `{"methods":["GET"]}`)
	s.Write(t, policy.KindFilters, "mapped", `{"methods":["GET"]}`)
	s.Write(t, policy.KindFilters, "routes", `{"hosts":["a.ex"]}`)
	s.Write(t, policy.KindFilters, "nobody", `{"methods":["GET"]}`)
	s.Write(t, policy.KindFilters, "hand", "# ours\nmethods = [\"GET\"]\n")
	s.Write(t, policy.KindFilters, "byhand", `{"methods":["GET"]}`)
	s.Write(t, policy.KindFilters, "twice", `{"methods":["GET"]}`)
	s.Write(t, policy.KindACLs, "a", `{"api":"x","filters":["reads","own","two","mapped","routes","hand","nosuch","twice","twice"]}`)
	s.Write(t, policy.KindACLs, "b", "# ours\napi = \"y\"\nfilters = [\"two\", \"byhand\"]\n")
	s.Write(t, policy.KindPluginMappings, "m", `{"plugins":["p"],"filters":["mapped"]}`)
	s.Write(t, policy.KindPlugins, "p", `{"name":"key-auth"}`)
	s.Write(t, policy.KindAPIs, "z", `{"filters":["routes"]}`)
	dir := tree(t, "filters/own", "an old file", "filters/reads", "another")
	wantPart(t, 0, "Wrote 14 objects", "policy", "export", dir)
	want := `{
  "id": "a",
  "api": "x",
  "mode": "enforce",
  "filters": [
    {
      "name": "reads",
      "methods": [
        "GET"
      ]
    },
    {
      "name": "own",
      "methods": [
        "GET"
      ],
      "inline": true
    },
    "two",
    "mapped",
    "routes",
    "hand",
    "nosuch",
    "twice",
    "twice"
  ]
}
`
	if got := read(t, dir, "acls/a"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	files, err := os.ReadDir(filepath.Join(dir, "filters"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	if want := []string{"byhand", "hand", "mapped", "nobody", "routes", "twice", "two"}; !slices.Equal(names, want) {
		t.Errorf("files of filters: got %q, want %q", names, want)
	}
	wantPart(t, 0, "The policy is valid: 14 objects.", "policy", "check", dir)
	wantPart(t, 0, "0 to make, 0 to change, 0 to delete; 14 are the same.", "policy", "diff", dir)
	wantPart(t, 0, "proof: 0 classes of 0 APIs, complete", "policy", "diff", "-impact", dir)

	flat := t.TempDir()
	wantPart(t, 0, "Wrote 14 objects", "policy", "export", "-flat", flat)
	if got := read(t, flat, "filters/own"); !strings.Contains(got, `"inline": true`) || strings.Contains(read(t, flat, "acls/a"), "methods") {
		t.Errorf("flat: got %s", got)
	}
	wantPart(t, 0, "0 to make, 0 to change, 0 to delete; 14 are the same.", "policy", "diff", flat)
}

// What is changed inside of an ACL is what is applied, and a filter that goes with its
// ACL is deleted with it, even where no other filter has a file.
func TestAFilterInsideAnACLIsApplied(t *testing.T) { // R5
	s := running(t)
	dir := tree(t, "acls/a", "api = \"x\"\nfilters = [{ name = \"own\", inline = true, methods = [\"get\"] }, \"else\"]\n", "filters/else", `{"paths":["/a"]}`)
	wantEnd(t, 0, "3 made, 0 changed, 0 deleted; 0 were the same.\n", "policy", "apply", dir)
	if got := s.Value(policy.KindACLs, "a"); got != `{"id":"a","api":"x","filters":["own","else"],"mode":"enforce"}` {
		t.Errorf("the store has %s", got)
	}
	if got := s.Value(policy.KindFilters, "own"); got != `{"name":"own","methods":["GET"],"inline":true}` {
		t.Errorf("the store has %s", got)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "acls/a"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"api":"x","filters":["else",{"name":"own","methods":["PUT"]}]}`)
	wantPart(t, 0, "~ filters/own\n    inline: true -> (none)\n    methods: [\"GET\"] -> [\"PUT\"]\n", "policy", "apply", dir)
	if err := os.RemoveAll(filepath.Join(dir, "filters")); err != nil {
		t.Fatal(err)
	}
	s.Write(t, policy.KindFilters, "other", `{"methods":["PUT"]}`)
	write(`{"api":"x","filters":["else"]}`)
	wantPart(t, 0, "1 changed, 1 deleted; 0 were the same, 2 without a file stay", "policy", "apply", "-prune", dir)
	if s.Value(policy.KindFilters, "own") != "" || s.Value(policy.KindFilters, "other") == "" || s.Value(policy.KindFilters, "else") == "" {
		t.Error("apply -prune deleted other filters than the one that was inside")
	}
}

// What somebody wrote by hand around a filter inside of an ACL stays, for as long as the
// file says what the store does.
func TestCommentsAroundAFilterInsideAnACLStay(t *testing.T) { // R5
	s := running(t)
	const byHand = "# who may look\napi     = \"shop\"\ngroups  = [\"staff\"]\nfilters = [{ name = \"shop-reads\", methods = [\"GET\"] }] # and nothing else\n"
	dir := tree(t, "acls/shop", byHand)
	text := func() string {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, "acls", "shop"))
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	wantPart(t, 0, "2 made", "policy", "apply", "-yes", dir)
	wantPart(t, 0, "Wrote 2 objects", "policy", "export", "-prune", dir)
	if got := text(); got != byHand {
		t.Errorf("the file is\n%s", got)
	}
	s.Write(t, policy.KindFilters, "shop-reads", `{"methods":["GET","HEAD"]}`)
	wantPart(t, 0, "Wrote 2 objects", "policy", "export", dir)
	if got := text(); !strings.Contains(got, `"HEAD"`) {
		t.Errorf("another filter is not in the file:\n%s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "acls", "shop"), []byte(byHand), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Write(t, policy.KindFilters, "shop-reads", `{"methods":["GET"]}`)
	wantPart(t, 0, "Wrote 2 objects", "policy", "export", "-flat", dir)
	if got := text(); strings.Contains(got, "methods") {
		t.Errorf("with -flat the filter stands in the file:\n%s", got)
	}
}

func TestMistakesInsideAnACLHaveTheirPlace(t *testing.T) { // R5
	for acl, want := range map[string]string{
		"{\"api\":\"x\",\n\"filters\":[\n{\"name\":\"f\",\"methods\":[\"G T\"],\n\"paths\":[1],\"color\":1}]}": "acls/a:3: filters[0].methods[0]: \"G T\" is no method\nDIR/acls/a:4: filters[0].paths[0]: is a number, want a string\nDIR/acls/a:4: filters[0].color: is an unknown field\n",
		"{\"api\":\"x\",\"filters\":[\"g\",\n{\"methods\":[\"GET\"]}]}":                                        "acls/a:2: filters[1]: a filter inside of an ACL needs a name, by which the store has it\n",
		`{"api":"x","filters":[{"name":7,"methods":["GET"]}]}`:                                                 "acls/a:1: filters[0]: a filter inside of an ACL needs a name",
		`{"api":"x","filters":[{"name":"../f","methods":["GET"]}]}`:                                            "acls/a:1: filters[0]: the key's name \"../f\" does not fit",
		`{"api":"x","filters":[{"name":"f"}]}`:                                                                 "acls/a:1: filters[0]: At least one property",
		`{"api":"x","filters":[{"name":"g","methods":["GET"]}]}`:                                               "filters/g: the filter \"g\" is in DIR/acls/a as well",
		`{"api":"x","filters":[{"name":"f","methods":["GET"]},{"name":"f","methods":["PUT"]}]}`:                "acls/a: has the filter \"f\" twice inside",
		`{"api":"x","filters":[[]]}`:                                                                           "acls/a:1: filters[0]: is a list, want a string",
		`{"api":"x","filters":{"name":"f","methods":["GET"]}}`:                                                 "acls/a:1: filters: is an object, want a list",
	} {
		dir := tree(t, "acls/a", acl, "filters/g", `{"methods":["GET"]}`)
		wantPart(t, 2, strings.ReplaceAll(want, "DIR", dir), "policy", "check", dir)
	}
	// A store has no filters inside of ACLs, and says so.
	dir := tree(t, "plugin-mappings/m", `{"plugins":["p"],"filters":[{"name":"f","methods":["GET"]}]}`)
	wantPart(t, 2, "filters[0]: is an object, want the name of a filter: only the files of an exported policy", "policy", "check", dir)
}

// randomPolicy makes documents that refer to few filters, so that some of these are
// one ACL's, and others several objects' or nobody's.
func randomPolicy(r *rand.Rand) (list []api.Object) {
	some := func(n int, of ...string) (names []string) {
		for range r.IntN(n + 1) {
			names = append(names, of[r.IntN(len(of))])
		}
		return names
	}
	pool := []string{"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "none"}
	add := func(kind policy.Kind, name string, o any) {
		value, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		if r.IntN(8) == 0 {
			value = bytes.ReplaceAll(value, []byte(","), []byte(",\n ")) // somebody's own layout
		}
		if x, ok := o.(*policy.Filter); ok && r.IntN(6) == 0 { // by hand
			value = fmt.Appendf(nil, "# why\nmethods = [%q]\n", x.Methods[0])
		}
		list = append(list, api.Object{Key: string(kind) + "/" + name, Value: value, Index: uint64(len(list) + 1)})
	}
	for _, name := range pool[:8] {
		if r.IntN(5) > 0 {
			add(policy.KindFilters, name, &policy.Filter{Name: name, Methods: append([]string{"GET"}, some(2, "PUT", "POST")...), Paths: some(2, "/a<b", "/c&d"), Inline: r.IntN(2) == 0})
		}
	}
	for i := range r.IntN(5) {
		add(policy.KindACLs, fmt.Sprint("a", i), &policy.ACL{API: "x", Groups: []string{"g"}, Filters: some(3, pool...)})
	}
	for i := range r.IntN(2) {
		add(policy.KindPluginMappings, fmt.Sprint("m", i), &policy.PluginMapping{Plugins: []string{"p"}, Filters: some(2, pool...)})
		add(policy.KindAPIs, fmt.Sprint("x", i), &policy.API{Name: fmt.Sprint("x", i), Filters: some(2, pool...)})
	}
	return list
}

// contents are the files of a directory by their names.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		all[name[len(dir):]] = read(t, name)
	}
	return all
}

// TestFilesAreReadAsTheyWereExported holds random policies to it that the files say the
// same as the store: nothing to apply, nothing lost, and what apply would write of them
// is exported as the same files again.
func TestFilesAreReadAsTheyWereExported(t *testing.T) { // R5
	inside, apart := 0, 0
	for seed := range uint64(300) {
		list := randomPolicy(rand.New(rand.NewPCG(seed, 1)))
		slices.SortFunc(list, func(a, b api.Object) int { return strings.Compare(a.Key, b.Key) })
		dir := t.TempDir()
		if _, err := exportAll(dir, list, ownedFilters(list), false); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			continue
		}
		files, _, err := readPolicy(dir)
		if err != nil {
			t.Fatalf("policy %d: %v", seed, err)
		}
		if plan := comparePolicy(files, list, true); len(plan.steps) > 0 || plan.same != len(list) || plan.extra != 0 {
			t.Fatalf("policy %d: %d of %d documents are the same, %d steps", seed, plan.same, len(list), len(plan.steps))
		}
		var applied []api.Object // by a lictor that had nothing
		for _, f := range files {
			applied = append(applied, api.Object{Key: f.key.String()[len("policy/"):], Value: f.value})
			if f.inside {
				inside++
			} else if f.key.Kind == policy.KindFilters {
				apart++
			}
		}
		slices.SortFunc(applied, func(a, b api.Object) int { return strings.Compare(a.Key, b.Key) })
		again := t.TempDir()
		if _, err := exportAll(again, applied, ownedFilters(applied), true); err != nil {
			t.Fatal(err)
		}
		if was, is := contents(t, dir), contents(t, again); !maps.Equal(was, is) {
			t.Fatalf("policy %d: exported\n%v\nand after apply\n%v", seed, was, is)
		}
	}
	if inside < 100 || apart < 100 {
		t.Errorf("only %d filters inside and %d apart: the test proves little", inside, apart)
	}
}
