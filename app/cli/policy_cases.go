package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/policy"
	"lictor/policy/cases"
	"lictor/policy/feed"
	dirstore "lictor/policy/store/dir"
)

// caseMistakes says each mistake with its place.
func caseMistakes(err error) (all []error) {
	diags, ok := errors.AsType[hcl.Diagnostics](err)
	if !ok {
		return []error{err}
	}
	for _, d := range diags {
		all = append(all, fmt.Errorf("%s: %s", d.Subject, d.Detail))
	}
	return all
}

func policyTestCommand(stdout io.Writer) *command {
	c := newCommand("policy test", "Try the cases of a policy kept as files", "[-config PATH] [-fail-under PERCENT] [-junit FILE] DIR",
		"Tries each case of DIR/tests/*.hcl as the gateway would decide it, and tells of\n"+
			"all that went another way. Needs no running lictor, uses up no limit; the\n"+
			"services that paths name are taken to be there. The feeds of a configuration are\n"+
			"in it only if -config names that: a file as it is, of a URL the copy that a lictor\n"+
			"on this machine keeps in data_dir. A case:\n\n"+
			"  case \"staff may export\" {\n"+
			"    request  = \"GET /shop/export\"  # or a URL\n"+
			"    consumer = \"ann\"               # also: host, headers, from, country,\n"+
			"    want     = \"pass\"              # certificate, length, at; want: or a reason\n"+
			"  }\n\n"+policyDirHelp)
	c.takes = "a directory"
	under := c.flags.Int("fail-under", 0, "fail if less than `percent` of the rules spoke in some case")
	var configs paths
	c.flags.Var(&configs, "config", "`path` of a configuration whose feeds are in force as well; may be repeated")
	junit := c.flags.String("junit", "", "write the results to `file` as well, in JUnit's form")
	c.run = func() error {
		if *under < 0 || *under > 100 {
			return &usageError{errors.New("lictor policy test: -fail-under: want a percentage")}
		}
		feeds, err := feedsOf(configs)
		if err != nil {
			return err
		}
		results, coverage, err := tryCases(c.arg, feeds)
		if err != nil {
			return err
		}
		if *junit != "" {
			if err := writeJUnit(*junit, results); err != nil {
				return err
			}
		}
		return printResults(stdout, results, coverage, *under)
	}
	return c
}

// feedsOf are the feeds of a configuration; without one there are none.
func feedsOf(configs paths) ([]*policy.Feed, error) {
	if len(configs) == 0 {
		return nil, nil
	}
	cfg, err := loadConfig(configs)
	if err != nil {
		return nil, err
	}
	feeds, err := feed.Offline(cfg.Feeds, cfg.DataDir)
	if err != nil {
		return nil, &usageError{err}
	}
	return feeds, nil
}

// tryCases runs all cases of a directory, with feeds in force beside its lists.
func tryCases(dir string, feeds []*policy.Feed) ([]*cases.Result, *cases.Coverage, error) {
	files, _, err := readPolicy(dir)
	if err != nil {
		return nil, nil, err
	}
	set, err := compilePolicy(files, feeds...)
	if err != nil {
		return nil, nil, err
	}
	all, err := readCases(dir)
	if err != nil {
		return nil, nil, err
	}
	var rules []policy.Rule
	for i := range files {
		rules = append(rules, cases.Rules(files[i].key, files[i].content)...)
	}
	coverage := cases.NewCoverage(rules)
	results := make([]*cases.Result, len(all))
	now := time.Now()
	for i := range all {
		results[i] = cases.Run(set, &all[i], now)
		coverage.Add(results[i])
	}
	return results, coverage, nil
}

// maxCases bounds a file of cases: it is parsed in memory.
const maxCases = 8 << 20

// readCases reads DIR/tests/*.hcl, through no link out of DIR.
func readCases(dir string) ([]cases.Case, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &usageError{err}
	}
	defer root.Close()
	d := &policyDir{root: root, dir: dir}
	names, err := d.list(dirstore.CasesFolder)
	wrong := []error{err}
	var all []cases.Case
	for _, name := range names {
		rel := filepath.Join(dirstore.CasesFolder, name)
		if filepath.Ext(name) != ".hcl" {
			continue
		}
		text, err := d.readFile(rel)
		if err == nil && len(text) > maxCases {
			err = fmt.Errorf("is larger than %d bytes", maxCases)
		}
		if err != nil {
			wrong = append(wrong, d.unreadable(rel, err))
			continue
		}
		some, err := cases.Parse(filepath.Join(dir, rel), text)
		if err != nil {
			wrong = append(wrong, caseMistakes(err)...)
		}
		all = append(all, some...)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, &usageError{err}
	}
	if len(all) == 0 {
		return nil, &usageError{fmt.Errorf("%s: there is no case", filepath.Join(dir, dirstore.CasesFolder))}
	}
	return all, nil
}

// printResults tells of each case that went another way, and of the rules that no
// case exercised. The error says that there was something to tell.
func printResults(out io.Writer, results []*cases.Result, coverage *cases.Coverage, under int) error {
	failed := 0
	for _, r := range results {
		if !r.Passed() {
			failed++
			fmt.Fprintf(out, "FAILED: %s\n", failure(r))
		}
	}
	silent := coverage.Silent()
	fmt.Fprintf(out, "%d cases, %d failed. %d %% of the rules spoke.\n", len(results), failed, coverage.Percent())
	const most = 50
	for i, rule := range silent {
		if i == most {
			fmt.Fprintf(out, "... and %d more\n", len(silent)-most)
			break
		}
		fmt.Fprintf(out, "No case exercised %s\n", strings.TrimSpace(strings.TrimPrefix(rule.Key, "policy/")+" "+oneLine(rule.Entry)))
	}
	if coverage.Percent() < under {
		fmt.Fprintf(out, "FAILED: want at least %d %%\n", under)
		failed++
	}
	if failed > 0 {
		return errNotWell
	}
	return nil
}

// failure says what a case wanted, what it got, and by which steps.
func failure(r *cases.Result) string {
	var text strings.Builder
	if fmt.Fprintf(&text, "%s: %q", r.Place, r.Name); r.Problem != "" {
		return text.String() + ": " + r.Problem
	}
	fmt.Fprintf(&text, " wants %s, got %s\n", r.Want, r.Got)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if r.Route != nil {
		fmt.Fprintf(w, "  route\tAPI %s, by %s%s\n", oneLine(r.Route.API), r.Route.By, storedAt(r.Route.Rule))
	}
	printSteps(w, r.Recorder.Steps)
	_ = w.Flush() // a builder takes all
	return text.String()
}

// junitSuite is the form that the programs of CI read.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func writeJUnit(path string, results []*cases.Result) error {
	suite := junitSuite{Name: "lictor policy test", Tests: len(results)}
	for _, r := range results {
		c := junitCase{Name: r.Name, Class: r.Place}
		if !r.Passed() {
			suite.Failures++
			c.Failure = &junitFailure{Message: "wants " + r.Want + ", got " + r.Got, Text: failure(r)}
		}
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(xml.Header+string(text)+"\n"), 0o644) //nolint:gosec // it is for CI to read
}
