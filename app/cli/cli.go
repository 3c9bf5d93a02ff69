// Package cli is lictor's command line: a file for each command, each of which
// asks package app or the admin listener, and prints.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"

	"lictor/internal/lines"
	"lictor/internal/version"
)

// Exit statuses (contract 1).
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong
)

// Main runs one command line and returns its exit status. It blocks until the
// command is done; run's takes the process's signals meanwhile.
func Main(args []string, stdout, stderr io.Writer) int {
	commands := map[string]cli.CommandFactory{}
	for _, c := range all(stdout) {
		c.stderr = stderr
		commands[c.name] = func() (cli.Command, error) { return c, nil }
	}
	app := &cli.CLI{
		Name: "lictor", Version: version.Text(), Args: args, Commands: commands,
		HelpFunc: cli.BasicHelpFunc("lictor"), HelpWriter: stdout, ErrorWriter: stderr,
		Autocomplete: true, // lictor -autocomplete-install
	}
	status, err := app.Run()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	if status == 127 { // what the package says for a command it does not know
		return exitUsage
	}
	return status
}

// all returns the commands, each of which prints to stdout.
func all(stdout io.Writer) []*command {
	return []*command{
		runCommand(stdout),
		validateCommand(stdout),
		statusCommand(stdout),
		explainCommand(stdout),
		policyCommand(),
		policyCheckCommand(stdout),
		policyTestCommand(stdout),
		policyReplayCommand(stdout),
		policyDiffCommand(stdout),
		policyApplyCommand(stdout),
		policyExportCommand(stdout),
		manCommand(stdout),
		versionCommand(stdout),
	}
}

// command is one of lictor's commands. It implements [cli.Command].
type command struct {
	name     string
	synopsis string // one line, in the list of commands
	usage    string // what follows the name on the command line
	help     string // more, before the flags
	flags    *flag.FlagSet
	takes    string // what its one argument is called; "" if it takes none
	arg      string // that argument
	run      func() error
	stderr   io.Writer
}

func newCommand(name, synopsis, usage, help string) *command {
	return &command{name: name, synopsis: synopsis, usage: usage, help: help, flags: flag.NewFlagSet(name, flag.ContinueOnError)}
}

// Synopsis implements [cli.Command].
func (c *command) Synopsis() string { return c.synopsis }

// Help implements [cli.Command].
func (c *command) Help() string {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s\n\n%s\n", strings.TrimSpace("lictor "+c.name+" "+c.usage), c.help)
	first := true
	c.flags.SetOutput(&text)
	c.flags.VisitAll(func(*flag.Flag) {
		if first {
			text.WriteString("\nFlags:\n")
			c.flags.PrintDefaults()
			first = false
		}
	})
	return strings.TrimSuffix(text.String(), "\n")
}

// AutocompleteFlags implements [cli.CommandAutocomplete]: files and directories
// are what a flag that takes a path wants.
func (c *command) AutocompleteFlags() complete.Flags {
	all := make(complete.Flags)
	c.flags.VisitAll(func(f *flag.Flag) {
		all["-"+f.Name] = complete.PredictAnything
		if _, ok := f.Value.(*paths); ok {
			all["-"+f.Name] = complete.PredictFiles("*")
		}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			all["-"+f.Name] = complete.PredictNothing
		}
	})
	return all
}

// AutocompleteArgs implements [cli.CommandAutocomplete].
func (c *command) AutocompleteArgs() complete.Predictor {
	if c.takes == "" {
		return complete.PredictNothing
	}
	return complete.PredictFiles("*")
}

// Run implements [cli.Command].
func (c *command) Run(args []string) int {
	c.flags.SetOutput(io.Discard) // what is wrong is said once, below
	err := c.parse(args)
	if err != nil {
		fmt.Fprintf(c.stderr, "lictor %s: %s\nTry: lictor %s -h\n", c.name, err, c.name)
		return exitUsage
	}
	err = c.run()
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNotWell):
		return exitFailed
	}
	if wrong, ok := errors.AsType[*usageError](err); ok {
		c.say(harmlessLines(wrong.Error()))
		return exitUsage
	}
	c.say("lictor " + c.name + ": " + harmlessLines(err.Error()))
	return exitFailed
}

// say writes a last word. If nobody reads it the process ends all the same.
func (c *command) say(text string) {
	w := lines.New(c.stderr, len(text)+1, 0)
	fmt.Fprintln(w, text)
	_ = w.Flush(sayLimit) // nobody could be told
}

// sayLimit is how long a last word waits for its reader.
const sayLimit = time.Second

// parse takes the flags and the argument, in any order.
func (c *command) parse(args []string) error {
	for {
		if err := c.flags.Parse(args); err != nil {
			return err
		}
		switch args = c.flags.Args(); {
		case len(args) == 0 && c.takes != "" && c.arg == "":
			return fmt.Errorf("want %s", c.takes)
		case len(args) == 0:
			return nil
		case c.takes == "" || c.arg != "" || args[0] == "":
			return fmt.Errorf("unexpected argument %q", args[0])
		}
		c.arg, args = args[0], args[1:]
	}
}

// errNotWell is the answer that -exit-code makes a status of: all was printed,
// and it is not what one hopes for.
var errNotWell = errors.New("not well")

// exitCode defines -exit-code, which all commands have that tell how things are.
func (c *command) exitCode(when string) *bool {
	return c.flags.Bool("exit-code", false, "exit with 1 "+when)
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

// paths is a flag that may be repeated.
type paths []string

func (p *paths) String() string { return strings.Join(*p, ", ") }

func (p *paths) Set(s string) error {
	if s == "" {
		return errors.New("want a path")
	}
	*p = append(*p, s)
	return nil
}
