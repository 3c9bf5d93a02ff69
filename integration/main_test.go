//go:build integration

package integration_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildDir is where the programs under test are built; TestMain removes it.
var buildDir string

func TestMain(m *testing.M) {
	if name, addr, ok := strings.Cut(os.Getenv(deployedEnv), " "); ok {
		serveInstance(name, addr)
		return
	}
	dir, err := os.MkdirTemp("", "lictor-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	status := m.Run()
	os.RemoveAll(dir)
	if os.Getenv(inNamespace) == "" {
		durations.print()
	}
	os.Exit(status)
}

// Every test begins with one of these three. Those that count what the whole process
// has, or want the machine to themselves, are by themselves: they run before all
// others. Those that mostly wait, for time that Consul takes or that a scene is to
// last, run beside all that work.
func byItself(t *testing.T) {
	t.Helper()
	durations.time(t)
}

func together(t *testing.T) {
	t.Helper()
	t.Parallel()
	takeTurn(t, working)
}

func mostlyWaiting(t *testing.T) {
	t.Helper()
	t.Parallel()
	takeTurn(t, waiting)
}

// What runs at a time: some more than there are cores, for all of them wait now and
// then, and of those that mostly wait all that do not wait for parts of others, so
// that the longest begin first. The flag -parallel is to leave it to them.
var (
	working = make(chan struct{}, 4)
	waiting = make(chan struct{}, 12)
)

// turn is the place of a test in working or waiting.
type turn struct {
	room chan struct{}
	end  func() // gives the place away; only the first time counts
}

// taken has the turn of each test by its name.
var taken sync.Map

func takeTurn(t *testing.T, room chan struct{}) {
	t.Helper()
	room <- struct{}{}
	end := sync.OnceFunc(func() { <-room })
	taken.Store(t.Name(), turn{room, end})
	t.Cleanup(end)
	durations.time(t)
}

// beside has a part of a test run beside the others of it. Each takes a turn of its
// own, and the test, which only waits for them, ends its own.
func beside(t *testing.T) {
	t.Helper()
	t.Parallel()
	test, _, _ := strings.Cut(t.Name(), "/")
	of, ok := taken.Load(test)
	if !ok {
		t.Fatal(test + " begins with neither together nor mostlyWaiting")
	}
	whole := of.(turn)
	whole.end()
	whole.room <- struct{}{}
	t.Cleanup(func() { <-whole.room })
}

// soon is how long a test waits for what should be there in a moment. It is
// shorter than the time after which a watch of Consul asks again by itself.
const soon = 20 * time.Second

// durations are what the tests took.
var durations timings

type timings struct {
	mu  sync.Mutex
	all []timing
}

type timing struct {
	test string
	took time.Duration
}

func (d *timings) time(t *testing.T) {
	began := time.Now()
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all = append(d.all, timing{t.Name(), time.Since(began)})
	})
}

// print shows the ten that took longest.
func (d *timings) print() {
	slices.SortFunc(d.all, func(a, b timing) int { return cmp.Compare(b.took, a.took) })
	for _, one := range d.all[:min(10, len(d.all))] {
		fmt.Printf("%7.1fs %s\n", one.took.Seconds(), one.test)
	}
}

// The program under test, each form built by the first test that wants it:
// with -race, and plain for what is measured.
var (
	lictorBinary = sync.OnceValues(func() (string, error) { return buildLictor("lictor", true) })
	plainBinary  = sync.OnceValues(func() (string, error) { return buildLictor("lictor-plain", false) })
)

func buildLictor(name string, race bool) (string, error) {
	if built := os.Getenv(builtBinary); built != "" {
		return built, nil
	}
	path := filepath.Join(buildDir, name)
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X lictor/internal/version.Number=test", "-o", path}
	cgo := "CGO_ENABLED=0" // as make build has it
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "lictor")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// lictorConfig is a configuration in parts; the helper adds the addresses.
type lictorConfig struct {
	Gateway string // arguments of the block gateway besides address
	Admin   string // arguments of the block admin besides address
	DataDir string // "" = none
	Rest    string // other blocks and arguments
	Plain   bool   // without -race, for tests that measure
	Limits  string // of the process, as the shell's ulimit takes them: "-n 1024 -v 4000000"
}

// lictorProcess is a running lictor. It lives until its test ends, and keeps
// its addresses over Stop and Start.
type lictorProcess struct {
	Gateway string // host:port
	Admin   string // host:port
	File    string // of the configuration, for tests that change it

	bin    string
	cfg    lictorConfig
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd is over
	output lockedBuffer
}

// startLictor runs a lictor and waits until it answers.
func startLictor(t *testing.T, cfg lictorConfig) *lictorProcess {
	t.Helper()
	p := newLictor(t, cfg)
	p.Start(t)
	return p
}

// newLictor prepares a lictor that Start starts.
func newLictor(t *testing.T, cfg lictorConfig) *lictorProcess {
	t.Helper()
	binary := lictorBinary
	if cfg.Plain {
		binary = plainBinary
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &lictorProcess{
		Gateway: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		Admin:   fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		File:    filepath.Join(t.TempDir(), "config.hcl"),
		bin:     bin,
	}
	p.Configure(t, cfg)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Kill(t)
		}
		if strings.Contains(p.output.String(), "WARNING: DATA RACE") { // it is killed, and has no exit status that says so
			t.Error("lictor has a data race")
		}
		if t.Failed() {
			t.Logf("lictor %s said:\n%s", p.Gateway, p.output.String())
		}
	})
	return p
}

// Configure writes the configuration; it counts from the next Start or SIGHUP on.
func (p *lictorProcess) Configure(t *testing.T, cfg lictorConfig) {
	t.Helper()
	p.cfg = cfg
	text := fmt.Sprintf("data_dir = %q\ngateway {\n  address = %q\n%s\n}\nadmin {\n  address = %q\n%s\n}\n%s\n",
		cfg.DataDir, p.Gateway, cfg.Gateway, p.Admin, cfg.Admin, cfg.Rest)
	if err := os.WriteFile(p.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start runs the program and waits until its admin listener answers.
func (p *lictorProcess) Start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.bin, "run", "-config", p.File)
	if p.cfg.Limits != "" {
		p.cmd = exec.Command("bash", "-c", "ulimit "+p.cfg.Limits+`; exec "$0" run -config "$1"`, p.bin, p.File)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.exited = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // its status is read from cmd
		close(exited)
	}(p.cmd, p.exited)
	// What a program with the race detector takes to start tells nothing of lictor.
	eventually(t, 2*time.Minute, "lictor answers", func() error {
		select {
		case <-p.exited:
			t.Fatalf("lictor ended: %s\n%s", p.cmd.ProcessState, p.output.String())
		default:
		}
		resp, err := http.Get("http://" + p.Admin + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

// Ready waits until /readyz says so.
func (p *lictorProcess) Ready(t *testing.T) {
	t.Helper()
	eventually(t, soon, "lictor is ready", func() error {
		resp, err := http.Get("http://" + p.Admin + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// Stop ends the program in good order and returns its exit status.
func (p *lictorProcess) Stop(t *testing.T) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	return p.Wait(t, time.Minute)
}

// Kill ends the program at once, as a crash does.
func (p *lictorProcess) Kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill() // it may be gone already
	p.Wait(t, 20*time.Second)
}

// Signal sends a signal to the program.
func (p *lictorProcess) Signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("lictor: %v", err)
	}
}

// Wait waits for the end of the program and returns its exit status, -1 if a
// signal ended it.
func (p *lictorProcess) Wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		t.Fatalf("lictor did not end within %s", limit)
	}
	status := p.cmd.ProcessState.ExitCode()
	p.cmd = nil
	return status
}

// Log is what the program wrote so far.
func (p *lictorProcess) Log() string { return p.output.String() }

// Pid is the process id, for what /proc tells.
func (p *lictorProcess) Pid() int { return p.cmd.Process.Pid }

// staticConfig is a resolver "static" with one service.
func staticConfig(service string, urls ...string) string {
	return fmt.Sprintf("resolver \"static\" {\n  services = { %q = %s }\n}\n", service, hclList(urls))
}

// consulConfig is a block consul and a resolver that follows c.
func consulConfig(c *consulAgent, options string) string {
	return fmt.Sprintf("consul {\n  address = %q\n  token = %q\n}\nresolver \"consul\" {\n%s\n}\n", c.Addr, c.Token, options)
}

func hclList(items []string) string {
	text := "["
	for _, item := range items {
		text += fmt.Sprintf("%q, ", item)
	}
	return text + "]"
}
