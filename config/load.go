package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile bounds what is read of one file, configuration or file("...").
const maxFile = 4 << 20

// File is a configuration file: its name, as problems show it, and its content.
type File struct {
	Name string
	Text []byte
}

// Env is what the functions of the language reach outside. Both fields are required.
type Env struct {
	Lookup   func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
}

// OS is the environment of the process.
func OS() Env {
	return Env{Lookup: os.LookupEnv, ReadFile: readFile}
}

// Load reads the configuration in paths, each a file or a directory of which
// every *.hcl is read in the order of their names, those that begin with a dot
// left out: they are an editor's. Together they are one
// configuration: what is written twice is a mistake.
func Load(paths ...string) (*Config, error) {
	var files []File
	var errs *multierror.Error
	for _, path := range paths {
		names, err := filesIn(path)
		if err != nil {
			errs = multierror.Append(errs, &Problem{Text: err.Error()})
		}
		for _, name := range names {
			text, err := readFile(name)
			if err != nil {
				errs = multierror.Append(errs, &Problem{Text: err.Error()})
				continue
			}
			files = append(files, File{Name: name, Text: text})
		}
	}
	if err := report(errs); err != nil {
		return nil, err
	}
	return Parse(OS(), files...)
}

// filesIn returns path itself, or the *.hcl in it if it is a directory.
func filesIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".hcl" && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if names == nil {
		return nil, fmt.Errorf("%s: directory without a *.hcl file", path)
	}
	return names, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return text, err
}

// Parse reads the configuration in files, which together are one.
func Parse(env Env, files ...File) (*Config, error) {
	d := &decoder{cfg: Default(), ctx: &hcl.EvalContext{Functions: functions(env)}}
	var bodies []hcl.Body
	for _, f := range files {
		d.order = append(d.order, f.Name)
		parsed, diags := hclsyntax.ParseConfig(f.Text, f.Name, hcl.InitialPos)
		d.diagnose(diags)
		if parsed != nil && parsed.Body != nil {
			bodies = append(bodies, parsed.Body)
		}
	}
	d.file(hcl.MergeBodies(bodies))
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.cfg, nil
}

// decoder collects values into cfg, and every mistake on the way.
type decoder struct {
	cfg      *Config
	ctx      *hcl.EvalContext
	order    []string // of the files
	within   string   // the blocks around what is being decoded, as problems show them
	names    []string // of what the blocks in the files may hold; config.hcl.example must show each
	problems []*Problem
}

func (d *decoder) wrong(at hcl.Range, format string, args ...any) {
	d.problems = append(d.problems, &Problem{At: at, Text: fmt.Sprintf(format, args...)})
}

// diagnose takes over HCL's own findings, so that a syntax error reads like a wrong value.
func (d *decoder) diagnose(diags hcl.Diagnostics) {
	for _, diag := range diags {
		if diag.Severity != hcl.DiagError {
			continue
		}
		var at hcl.Range
		if diag.Subject != nil {
			at = *diag.Subject
		}
		text := strings.ToLower(diag.Summary[:1]) + diag.Summary[1:]
		if diag.Detail != "" {
			text += ": " + strings.Join(strings.Fields(diag.Detail), " ")
		}
		d.wrong(at, "%s", text)
	}
}

// err returns the problems in the order in which they stand in the files, each once.
func (d *decoder) err() error {
	slices.SortStableFunc(d.problems, func(a, b *Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(d.order, a.At.Filename), slices.Index(d.order, b.At.Filename)),
			cmp.Compare(a.At.Start.Byte, b.At.Start.Byte),
		)
	})
	var errs *multierror.Error
	var last Problem
	for _, p := range d.problems {
		if *p != last {
			errs = multierror.Append(errs, p)
		}
		last = *p
	}
	return report(errs)
}

// report returns errs as an error that prints one problem a line, nil if there is none.
func report(errs *multierror.Error) error {
	if errs == nil {
		return nil
	}
	errs.ErrorFormat = func(errs []error) string {
		lines := make([]string, len(errs))
		for i, err := range errs {
			lines[i] = err.Error()
		}
		return strings.Join(lines, "\n")
	}
	return errs.ErrorOrNil()
}
