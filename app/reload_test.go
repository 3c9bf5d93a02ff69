package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/admin/api"
	"lictor/config"
	"lictor/internal/eventually"
)

// builtProcess is a process whose sockets are open, and the file it was
// configured by. Its services do not run.
func builtProcess(t *testing.T, gateway string) *Lictor {
	t.Helper()
	return builtWith(t, gateway, "")
}

// builtWith is builtProcess with options of the admin listener as well.
func builtWith(t *testing.T, gateway, admin string) *Lictor {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lictor.hcl")
	text := "data_dir = \"\"\ngateway {\n  address = \"127.0.0.1:0\"\n" + gateway + "\n}\nadmin {\n  address = \"127.0.0.1:0\"\n" + admin + "\n}\nresolver \"static\" {\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(t.Context(), cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.gatewayListener.Close(); p.adminListener.Close() })
	p.files = []string{file}
	return p
}

// The status may be asked for at any time, a reload may come at any time: the
// race detector sees whether they share what one of them writes.
func TestStatusDuringReloads(t *testing.T) {
	p := builtProcess(t, "")
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	defer close(done)
	for _, describe := range []func(*api.Status){p.describe, p.describePolicy, p.describeLocations, p.describeDispatch} {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					describe(new(api.Status))
				}
			}
		})
	}
	for range 20 {
		p.reload()
	}
	if got := p.generation.Load(); got != 21 {
		t.Errorf("the generation is %d", got)
	}
}

func TestShutdownDelay(t *testing.T) {
	tests := []struct {
		name  string
		delay time.Duration
	}{
		{"without a delay the services end with the signal", 0},
		{"with one they go on for so long", 7 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Lictor{log: hclog.NewNullLogger()}
				p.inForce.Store(&config.Config{Gateway: config.Gateway{ShutdownDelay: tt.delay}})
				signalled, signal := context.WithCancel(context.Background())
				services, ready := p.delayed(signalled), shutdownCheck(signalled)
				if services.Err() != nil || ready.Ready() != nil {
					t.Fatal("it stops before the signal")
				}
				began := time.Now()
				signal()
				if ready.Ready() == nil {
					t.Error("it says that it is ready after the signal")
				}
				<-services.Done()
				if took := time.Since(began); took != tt.delay {
					t.Errorf("the services were stopped after %v, want %v", took, tt.delay)
				}
			})
		})
	}
}

// A delay that was reloaded holds for the signal that comes after it; what the
// process was built from stays as it was.
func TestShutdownDelayIsReloaded(t *testing.T) {
	p := builtProcess(t, "")
	text, err := os.ReadFile(p.files[0])
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("gateway {"), []byte("gateway {\n  shutdown_delay = \"3s\""), 1)
	if err := os.WriteFile(p.files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if p.inForce.Load().Gateway.ShutdownDelay != 3*time.Second || p.cfg.Gateway.ShutdownDelay != 0 {
		t.Errorf("in force is %v, built from %v", p.inForce.Load().Gateway.ShutdownDelay, p.cfg.Gateway.ShutdownDelay)
	}
}

// A note on the policy asks for the services that the bus carries now.
func TestServicesOfTheBusAreKnownAsReloaded(t *testing.T) {
	p := builtProcess(t, "timeout = \"1s\"\n}\ndispatch \"rabbitmq\" {\n  url = \"amqp://guest:guest@127.0.0.1:1/\"\n  services = [\"former\"]")
	text, err := os.ReadFile(p.files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !p.knownService("former") || p.knownService("next") {
		t.Error("at the start they are not those of the file")
	}
	if err := os.WriteFile(p.files[0], bytes.Replace(text, []byte("former"), []byte("next"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if p.knownService("former") || !p.knownService("next") {
		t.Error("after a reload they are those of the start")
	}
}

// /readyz waits for the first connection to the bus, not for the bus.
func TestReadinessOfTheBus(t *testing.T) {
	p := &Lictor{}
	if err := p.busTried(); err != nil {
		t.Errorf("without a bus: %v", err)
	}
	text := "data_dir = \"\"\ngateway {\n  address = \"127.0.0.1:0\"\n}\nadmin {\n  address = \"127.0.0.1:0\"\n}\n" +
		"dispatch \"rabbitmq\" {\n  url = \"amqp://guest:guest@127.0.0.1:1/\"\n  services = [\"a\"]\n}\n"
	file := filepath.Join(t.TempDir(), "lictor.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = build(t.Context(), cfg, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	defer p.gatewayListener.Close()
	defer p.adminListener.Close()
	if p.busTried() == nil {
		t.Error("it says that the bus was tried before anybody tried")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := p.bus.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	defer cancel()
	eventually.True(t, "a broker that is away does not keep it unready", func() bool { return p.busTried() == nil })
}

// A reload of which one part fails leaves all as it was, and tells every mistake.
func TestAReloadIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	first, gone := filepath.Join(dir, "first"), filepath.Join(dir, "gone")
	if err := os.WriteFile(first, []byte("token-of-a-person"), 0o600); err != nil {
		t.Fatal(err)
	}
	access := func(file string) string {
		return "  access \"reader\" {\n    token_file = \"" + file + "\"\n    may = [\"read\"]\n  }"
	}
	p := builtWith(t, "", access(first))
	before := p.static.Catalog()
	text := "data_dir = \"\"\ngateway {\n  address = \"127.0.0.1:0\"\n}\nadmin {\n  address = \"127.0.0.1:0\"\n" + access(gone) +
		"\n}\nresolver \"static\" {\n  services = { shop = [\"http://127.0.0.1:1\"] }\n}\n"
	if err := os.WriteFile(p.files[0], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if p.static.Catalog() != before || p.generation.Load() != 1 {
		t.Error("services of a configuration that cannot be in force are")
	}
	if problems := p.reloads.problems(); len(problems) != 1 || !strings.Contains(problems[0], gone) {
		t.Errorf("it tells %q", problems)
	}
	if err := os.WriteFile(gone, []byte("token-of-another"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if p.static.Catalog().Lookup("shop") == nil || p.generation.Load() != 2 || len(p.reloads.problems()) != 0 {
		t.Errorf("mended, it is not in force: %q", p.reloads.problems())
	}
}

// What rotates logs sends SIGHUP, and cannot wait for a mistake in the configuration.
func TestLogsAreOpenedAnewBesideAMistake(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "access.log")
	p := builtWith(t, "", "}\naccess_log {\n  path = \""+file+"\"")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.files[0], []byte("gatway {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the log goes on in the file that was moved away: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p.reload()
	if problems := strings.Join(p.reloads.problems(), "\n"); !strings.Contains(problems, "a log could not be opened anew") || !strings.Contains(problems, "gatway") {
		t.Errorf("it tells %q", problems)
	}
}
