package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// File is a configuration file.
type File struct {
	Name    string // as problems show it
	Text    []byte // its content; Parse does not keep it
	Foreign bool   // a link out of the directory that was named: no problem repeats its content
}

// Env is what the functions env and file of the configuration read. Both fields are
// required.
type Env struct {
	Lookup   func(name string) (string, bool) // a variable, and whether it is set
	ReadFile func(path string) ([]byte, error)
}

// OS is the environment of the process, and the files that it may read.
func OS() Env {
	return Env{Lookup: os.LookupEnv, ReadFile: readFile}
}

// Load reads the configuration in paths. Each is a file, a pipe, or a directory, of
// which it reads every *.hcl in the order of names, without those that begin with
// a dot, which are an editor's. Together they are one configuration: what is
// written twice is a mistake. It waits for a pipe, 10 s at most.
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
			files = append(files, File{Name: name, Text: text, Foreign: leadsOut(path, name)})
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
		name := filepath.Join(path, e.Name())
		if filepath.Ext(name) != ".hcl" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(name) // of what a link leads to
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			continue
		case !info.Mode().IsRegular(): // a pipe is meant only where it is named itself
			return nil, fmt.Errorf("%s: want a file, it is %s", name, kindOf(info.Mode()))
		}
		names = append(names, name)
		if len(names) > maxFiles {
			return nil, fmt.Errorf("%s: more than %d files", path, maxFiles)
		}
	}
	if names == nil {
		return nil, fmt.Errorf("%s: directory without a *.hcl file", path)
	}
	return names, nil
}

// leadsOut reports whether a file of a directory is a link to one elsewhere.
func leadsOut(dir, name string) bool {
	if dir == name {
		return false
	}
	from, err := filepath.EvalSymlinks(dir)
	to, toErr := filepath.EvalSymlinks(name)
	return err != nil || toErr != nil || !strings.HasPrefix(to, from+string(filepath.Separator))
}

// pipePatience is how long whoever writes to a pipe may take for all of it.
const pipePatience = 10 * time.Second

// readFile reads a regular file, or a pipe, as a shell makes of <(...). A device or
// a socket might never end.
func readFile(path string) ([]byte, error) {
	// Without waiting: a pipe that nobody writes to would be waited for at the opening.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	pipe := info.Mode()&os.ModeNamedPipe != 0
	switch {
	case !pipe && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: want a file or a pipe, it is %s", path, kindOf(info.Mode()))
	case pipe:
		_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // where it cannot be set, nothing waits either
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%s: the pipe did not end within %v", path, pipePatience)
	case err == nil && pipe && len(text) == 0:
		err = fmt.Errorf("%s: nothing came out of the pipe", path)
	case err == nil && len(text) > maxFile:
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeSocket != 0:
		return "a socket"
	case mode&os.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// Parse reads the configuration in files, which together are one. Its error is a
// *multierror.Error of [Problem]s.
func Parse(env Env, files ...File) (*Config, error) {
	d := &decoder{cfg: Default(), env: env, ctx: &hcl.EvalContext{Functions: functions(env)}}
	var bodies []hcl.Body
	size := 0
	for _, f := range files {
		d.order = append(d.order, f.Name)
		if f.Foreign {
			d.foreign = append(d.foreign, f.Name)
		}
		size += len(f.Text)
		if size > maxText {
			d.problems = append(d.problems, &Problem{Text: fmt.Sprintf("%s: the files have more than %d bytes together", f.Name, maxText)})
			continue
		}
		if tooMuch := bounded(f); tooMuch != nil {
			d.problems = append(d.problems, tooMuch)
			continue
		}
		parsed, diags := hclsyntax.ParseConfig(f.Text, f.Name, hcl.InitialPos)
		d.diagnose(diags)
		if parsed != nil && parsed.Body != nil {
			bodies = append(bodies, parsed.Body)
		}
	}
	d.file(hcl.MergeBodies(bodies))
	d.distinct()
	for _, check := range d.afterwards {
		check()
	}
	for _, p := range d.problems {
		if slices.Contains(d.foreign, p.At.Filename) {
			p.Text = "a mistake; the file is a link out of the directory, so that it is not repeated"
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.cfg, nil
}

// decoder collects values into cfg, and every mistake on the way.
type decoder struct {
	cfg      *Config
	env      Env
	ctx      *hcl.EvalContext
	order    []string // names of the files, as they were given
	foreign  []string // names of those of which nothing is repeated
	within   string   // the blocks around the one being decoded, as problems show them
	names    []string // every option and block that could have been given; config.hcl.example must show each
	sockets  []socket // that were asked for
	problems []*Problem

	afterwards []func() // look at what one block needs of another
}

func (d *decoder) wrong(at hcl.Range, format string, args ...any) {
	d.problems = append(d.problems, &Problem{At: at, Text: fmt.Sprintf(format, args...)})
}

// diagnose makes problems of HCL's own, so that a syntax error reads like a wrong value.
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
		switch {
		case !d.mayRepeat(diag.Expression):
			text += ": what comes from another file or the environment is not repeated"
		case diag.Detail != "":
			text += ": " + strings.Join(strings.Fields(diag.Detail), " ")
		}
		d.wrong(at, "%s", text)
	}
}

// mayRepeat reports whether what HCL says of an expression repeats nothing that comes
// from another file or the environment, which it does of the value. A variable and a call
// of a function that does not exist have none.
func (d *decoder) mayRepeat(expr hcl.Expression) bool {
	switch e := expr.(type) {
	case nil, *hclsyntax.ScopeTraversalExpr:
		return true
	case *hclsyntax.FunctionCallExpr:
		_, exists := d.ctx.Functions[e.Name]
		return !exists
	}
	return literal(expr)
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
	told := 0
	for i, p := range d.problems {
		if *p == last {
			continue
		}
		if told++; told > maxProblems {
			errs = multierror.Append(errs, &Problem{Text: fmt.Sprintf("and %d more", len(d.problems)-i)})
			break
		}
		errs = multierror.Append(errs, p)
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
