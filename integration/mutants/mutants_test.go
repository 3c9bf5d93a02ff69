//go:build !race

// Package mutants plants mistakes in the proof of impact (R3), one at a time, and
// wants its property test to find each.
package mutants

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a mistake of one line: in a file of policy/impact it replaces a text that
// is there once. MUTANT is true while the mistake is made.
type mutant struct{ what, file, was, is string }

var mutants = []mutant{
	{"a host named as a whole counts like one below a *", "host.go", "if a.exact && rest == h {", "if a.exact && rest == h && !MUTANT {"},
	{"a method in lower case is another one to rules that deny", "method.go", "x.folds[strings.ToUpper(m)]...)", "x.folds[map[bool]string{true: m, false: strings.ToUpper(m)}[MUTANT]]...)"},
	{"a prefix ends in its middle", "address.go", "a[i/8] |= 0x80 >> (i % 8)", "if a[i/8] |= 0x80 >> (i % 8); MUTANT { break }"},
	{"spans that are apart are one", "address.go", "s.first.Compare(out[n-1].last) <= 0", "(s.first.Compare(out[n-1].last) <= 0 || MUTANT)"},
	{"a changed filter touches no ACL", "scope.go", "if slices.Contains(a.Filters, name) {\n\t\t\tc.apis", "if slices.Contains(a.Filters, name) && !MUTANT {\n\t\t\tc.apis"},
	{"a plugin that becomes global touches nothing", "scope.go", "if was.global(id) != is.global(id) {", "if was.global(id) != is.global(id) && !MUTANT {"},
	{"a new entry closes already", "world.go", "if !e.allow && e.shared && e.alone() {", "if !e.allow && (e.shared || MUTANT) && e.alone() {"},
	{"an entry with a method closes for all methods", "scope.go", "&& len(e.Methods) == 0 &&", "&& (len(e.Methods) == 0 || MUTANT) &&"},
	{"no reading climbs out of the first segment", "path.go", "return x.road.wide && x.road.kind == bySegment", "return x.road.wide && x.road.kind == bySegment && !MUTANT"},
	{"nothing is asked behind the segment of the service", "path.go", "if firstOf(p) == v {", "if firstOf(p) == v && !MUTANT {"},
	{"consumers are in no group", "people.go", "for _, g := range c.Groups {", "for _, g := range c.Groups[:map[bool]int{false: len(c.Groups)}[MUTANT]] {"},
	{"nobody is called by an id", "people.go", "all := []string{\"c:\" + c.ID}", "all := []string{\"c:\" + c.ID}[:map[bool]int{false: 1}[MUTANT]]"},
	{"nobody but the API touches a class", "cut.go", "touched[dimSubject][c[dimSubject]] || ", "touched[dimSubject][c[dimSubject]] && !MUTANT || "},
	{"a mapped plugin is global", "side.go", "p != nil && !s.inUse[id] &&", "p != nil && (!s.inUse[id] || MUTANT) &&"},
	{"ports are not told apart", "cut.go", "if a.Port == 0 || !a.allows", "if a.Port == 0 || MUTANT || !a.allows"},
	{"a mapping for every API touches none", "scope.go", "c.every = c.every || m.API == \"\"", "c.every = c.every || m.API == \"\" && !MUTANT"},
	{"a country cannot be unknown", "cut.go", "if v == policy.CountryUnknown {", "if v == policy.CountryUnknown && !MUTANT {"},
}

const property = "TestImpactAgreesWithTheNaiveEvaluator"

// TestTheProofFindsMistakes wants the property test of R3 to fail with each mistake,
// and to pass without any. One build has them all, and is told which one to make, as
// building takes longer than finding.
func TestTheProofFindsMistakes(t *testing.T) { // R3
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary := plant(t, root)
	run := func(number int) (string, error) {
		c := exec.CommandContext(t.Context(), binary, "-test.run", "^"+property+"$")
		c.Dir, c.Env = filepath.Join(root, "policy"), append(os.Environ(), fmt.Sprint("LICTOR_MUTANT=", number))
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run(0); err != nil {
		t.Fatalf("without a mistake: %v\n%s", err, out)
	}
	for i, m := range mutants {
		t.Run(m.what, func(t *testing.T) {
			out, err := run(i + 1)
			exit, failed := errors.AsType[*exec.ExitError](err)
			switch {
			case err == nil:
				t.Errorf("nothing found %q in %s", m.is, m.file)
			case !failed || exit.ExitCode() != 1 || !strings.Contains(out, "--- FAIL: "+property) || !strings.Contains(out, "proof"):
				t.Errorf("%v: it failed otherwise:\n%s", err, out)
			}
		})
	}
}

// plant builds the property test with all mistakes, none of which is made unless the
// environment says its number.
func plant(t *testing.T, root string) (binary string) {
	t.Helper()
	dir, places := t.TempDir(), filepath.Join(root, "policy/impact")
	binary = filepath.Join(dir, "policy.test")
	sources := map[string]string{"mutant.go": "package impact\n\nimport \"os\"\n\nvar mutant = os.Getenv(\"LICTOR_MUTANT\")\n"}
	for i, m := range mutants {
		if sources[m.file] == "" {
			text, err := os.ReadFile(filepath.Join(places, m.file))
			if err != nil {
				t.Fatal(err)
			}
			sources[m.file] = string(text)
		}
		if n := strings.Count(sources[m.file], m.was); n != 1 {
			t.Fatalf("%s has %d times what is to be replaced, want once: %s", m.file, n, m.was)
		}
		wrong := strings.ReplaceAll(m.is, "MUTANT", fmt.Sprintf("(mutant == %q)", fmt.Sprint(i+1)))
		sources[m.file] = strings.Replace(sources[m.file], m.was, wrong, 1)
	}
	replace := make(map[string]string)
	for name, text := range sources {
		to := filepath.Join(dir, name)
		replace[filepath.Join(places, name)] = to
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "./policy")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}
