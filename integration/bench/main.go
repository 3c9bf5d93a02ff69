// Command bench measures lictor side by side with nginx and HAProxy: the CPU
// time that each needs per request, and the memory per idle connection. All
// three stand in front of the same backend in the same run, measured in turn,
// round by round, so that what disturbs the machine disturbs all of them; what
// counts is the ratio within a round. The result is a Markdown table.
//
// A measurement is a [row], what is measured a [contestant]; to add one of
// either, write its file and name it in rows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	lictor   string
	against  string
	rounds   int
	duration time.Duration
	rows     string
	short    bool
	pin      bool
	save     string
}

// commands are what this program is as a process of its own; each runs until
// it is ended.
var commands = map[string]func(args []string) error{
	backendCommand: func(args []string) error { return serveBackend(args[0]) },
	workerCommand:  func(args []string) error { return serveBus(args[0]) },
	meshCommand:    func(args []string) error { return serveMesh(args[0], args[1], args[2]) },
	bareCommand:    func(args []string) error { return serveBare(args[0], args[1]) },
}

func main() {
	// Children inherit the CPUs of the thread that starts them and get a signal
	// when it ends. The main thread is the one that stays.
	runtime.LockOSThread()
	if len(os.Args) > 2 && commands[os.Args[1]] != nil {
		fmt.Fprintln(os.Stderr, commands[os.Args[1]](os.Args[2:]))
		os.Exit(1)
	}
	var o options
	flag.StringVar(&o.lictor, "lictor", "bin/lictor", "`path` of the program")
	flag.StringVar(&o.against, "against", "", "`path` of another lictor to compare with, such as the last release")
	flag.IntVar(&o.rounds, "rounds", 16, "how often each row is measured; rows about memory at most 3 times")
	flag.DurationVar(&o.duration, "duration", time.Second, "of a single measurement, in whole seconds")
	flag.StringVar(&o.rows, "rows", "", "comma-separated `names`; those that do not take minutes if empty: "+strings.Join(names(rows), ", "))
	flag.BoolVar(&o.short, "short", false, "only 3 rounds, of memory one")
	flag.BoolVar(&o.pin, "pin", true, "give the proxies one CPU of their own and everything else the others")
	flag.StringVar(&o.save, "save", "", "`directory` for the figures, in a file of lictor's version as benchstat reads it, and for the chart of the ratios")
	flag.Parse()
	if o.short {
		o.rounds = 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := o.run(ctx, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and writes the table to out; progress tells a waiting person
// how far it is.
func (o *options) run(ctx context.Context, out, progress io.Writer) error {
	chosen, err := choose(o.rows)
	if err != nil {
		return err
	}
	if o.rounds < 1 || o.duration < time.Second {
		return errors.New("-rounds is at least 1, -duration at least 1s")
	}
	bed, err := newBed(ctx, o)
	if err != nil {
		return err
	}
	defer bed.close()
	var results []*result
	if o.against != "" {
		chosen = against(chosen)
	}
	for _, r := range chosen {
		fmt.Fprintf(progress, "%s: ", r.name)
		res, err := r.run(ctx, bed, r.limit(o.rounds, o.short), func() { fmt.Fprint(progress, ".") })
		fmt.Fprintln(progress)
		if err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
		results = append(results, res)
	}
	if err := report(out, bed, o, results); err != nil || o.save == "" {
		return err
	}
	return o.keep(out, results)
}

// keep writes the figures to files, and tells how they compare with the last ones.
func (o *options) keep(out io.Writer, results []*result) error {
	version, err := measured(o.lictor)
	if err != nil {
		return err
	}
	titles := make(map[string]string)
	for _, r := range results {
		titles[r.row.name] = r.row.title
	}
	return newRecord(version, time.Now(), results).save(out, o.save, titles)
}

// choose returns the rows with the given names.
func choose(list string) ([]*row, error) {
	var chosen []*row
	if list == "" {
		return slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return r.asked }), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(rows, func(r *row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row %q; there are: %s", name, strings.Join(names(rows), ", "))
		}
		chosen = append(chosen, rows[i])
	}
	return chosen, nil
}

func names(rows []*row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, r.name)
	}
	return all
}
