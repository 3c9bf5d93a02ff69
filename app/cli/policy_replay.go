package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"lictor/admin/api"
	"lictor/internal/crash"
	"lictor/policy/replay"
)

// replayOptions is the command line of policy replay.
type replayOptions struct {
	client  adminClient
	log     string
	configs paths
	last    time.Duration
	against string
	json    bool
	failOn  string
}

func policyReplayCommand(stdout io.Writer) *command {
	var o replayOptions
	c := newCommand("policy replay", "Try recorded traffic on a policy kept as files",
		"[-log FILE | -config PATH | -admin URL] [-last TIME] [-against DIR] [-json] [-fail-on opens,closes] DIR",
		"Decides each request of a decision log (decision_log) again by the policy in DIR,\n"+
			"and tells which it would close or open, and of which nobody can tell, as they\n"+
			"rest on what is not recorded. No backend is contacted.\n\n"+
			"Where the log is says -log, or the configuration, or else the lictor that runs on\n"+
			"this machine is asked for it.\n\n"+
			"It holds DIR against what was decided, or with -against against another policy,\n"+
			"which decides the same requests.\n"+policyDirHelp)
	c.takes = "a directory"
	o.client.flags(c.flags)
	c.flags.StringVar(&o.log, "log", "", "`file` of the log; older ones beside it are read as well; - is standard input")
	c.flags.Var(&o.configs, "config", "`path` of the configuration that names the log, if -log does not; may be repeated")
	c.flags.DurationVar(&o.last, "last", 0, "only the decisions of this `time`, such as 1h; 0 is all")
	c.flags.StringVar(&o.against, "against", "", "`directory` of the policy that DIR is compared with; none is what was decided")
	c.flags.BoolVar(&o.json, "json", false, "print the report as JSON")
	c.flags.StringVar(&o.failOn, "fail-on", "", "exit with 1 if some decision is of one of these `classes`: opens, closes, unknown")
	c.run = func() error { return o.run(c.arg, stdout, c.stderr) }
	return c
}

func (o *replayOptions) run(dir string, stdout, stderr io.Writer) error {
	fails, err := classesOf(o.failOn)
	if err != nil {
		return err
	}
	next, err := replayPolicy(dir)
	if err != nil {
		return err
	}
	options := &replay.Options{Next: next}
	if o.against != "" {
		if options.Former, err = replayPolicy(o.against); err != nil {
			return err
		}
	}
	if o.last > 0 {
		options.Since = time.Now().Add(-o.last)
	}
	log, size, err := o.open(options.Since)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if terminalOf(stderr).width > 0 && size > 0 {
		options.Progress = progress(stderr, size)
	}
	report, err := replay.Run(ctx, log, options)
	if options.Progress != nil {
		fmt.Fprint(stderr, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	return o.print(stdout, report, fails)
}

// print tells of a report. The error says that there is what -fail-on speaks of.
func (o *replayOptions) print(stdout io.Writer, report *replay.Report, fails []string) error {
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else if err := report.Print(stdout, oneLine); err != nil {
		return err
	}
	if len(fails) > 0 && (report.Records == 0 || report.Partial) {
		return errors.New("-fail-on: the log was not read to its end, or holds no decision, which says nothing")
	}
	count := map[string]int{"opens": report.Opens, "closes": report.Closes, "unknown": report.Unknown}
	if slices.ContainsFunc(fails, func(class string) bool { return count[class] > 0 }) {
		return errNotWell
	}
	return nil
}

// classesOf reads the value of -fail-on.
func classesOf(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	all := strings.Split(text, ",")
	for i, class := range all {
		if all[i] = strings.TrimSpace(class); !slices.Contains([]string{"opens", "closes", "unknown"}, all[i]) {
			return nil, &usageError{fmt.Errorf("lictor policy replay: -fail-on: %q is not one of opens, closes, unknown", all[i])}
		}
	}
	return all, nil
}

// open opens the log.
func (o *replayOptions) open(since time.Time) (log io.ReadCloser, size int64, err error) {
	path := o.log
	switch {
	case path == "-":
		return io.NopCloser(os.Stdin), 0, nil
	case path == "" && len(o.configs) > 0:
		path, err = o.configured()
	case path == "":
		path, err = o.running()
	}
	if err != nil {
		return nil, 0, err
	}
	l, err := replay.OpenLog(path, since)
	if err != nil {
		return nil, 0, err
	}
	return l, l.Size, nil
}

// configured is the path of the log by the configuration.
func (o *replayOptions) configured() (string, error) {
	cfg, err := loadConfig(o.configs)
	switch {
	case err != nil:
		return "", err
	case cfg.DecisionLog.Path == "":
		return "", &usageError{errors.New("lictor policy replay: the configuration has no decision_log { path }")}
	}
	return cfg.DecisionLog.Path, nil
}

// running is the path of the log of the lictor that runs here.
func (o *replayOptions) running() (string, error) {
	body, err := o.client.get("/status")
	if err != nil {
		return "", fmt.Errorf("no log: name one with -log FILE, or the configuration with -config PATH; the running lictor was asked, but: %w", err)
	}
	var status api.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return "", fmt.Errorf("the answer is no status: %w", err)
	}
	if status.DecisionLog == "" {
		return "", errors.New("the running lictor keeps no decisions: it has no decision_log { path } in its configuration")
	}
	return status.DecisionLog, nil
}

// replayPolicy reads a directory for a replay.
func replayPolicy(dir string) (*replay.Policy, error) {
	files, _, err := readPolicy(dir)
	if err != nil {
		return nil, err
	}
	docs := make([]replay.Document, len(files))
	for i := range files {
		docs[i] = replay.Document{Key: files[i].key, Value: files[i].value, Created: uint64(i + 1)}
	}
	p, err := replay.FromDocuments(docs, func(value any) { crash.Tell("policy", value) })
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", dir, err)}
	}
	return p, nil
}

// progressEvery is how often it is told how far the replay is.
const progressEvery = 200 * time.Millisecond

// progress tells on a terminal how far the replay is.
func progress(out io.Writer, size int64) func(int64) {
	began := time.Now()
	last := began
	return func(read int64) {
		now := time.Now()
		if now.Sub(last) < progressEvery {
			return
		}
		last = now
		fmt.Fprintf(out, "\r%d %% of %d MiB, %d MiB/s\x1b[K", min(100, 100*read/size), size>>20, int64(float64(read)/now.Sub(began).Seconds())>>20)
	}
}
