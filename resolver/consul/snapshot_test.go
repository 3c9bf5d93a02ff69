package consul

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lictor/resolver"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// TestColdStart: X6, the last good catalog serves while Consul is away, and
// the usual rules hold when it comes back.
func TestColdStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	keep := func(c *Config) { c.SnapshotFile = file }
	fake := newFake()
	crowd(fake, 4, httpOK)
	fake.set("other", instance("o", 99, httpOK))
	onBench(t, fake, keep, func(b *bench) {
		if b.Status().Snapshot || !b.Status().Ready {
			t.Errorf("got %+v, want an answer and no snapshot", b.Status())
		}
		b.want("s1", "s2", "s3", "s4")
		b.pass(2 * time.Second)
	})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("snapshot: %v, %v, want mode 0600", info, err)
	}

	fake.edit(func() { fake.away = true })
	onBench(t, fake, keep, func(b *bench) {
		for _, name := range []string{"s1", "s4"} {
			b.expect(name, "a passing", "a cold start without consul")
		}
		b.expect("other", "not loaded", "a name that nobody wanted is known all the same")
		s := b.Status()
		if !s.Ready || !s.Snapshot || s.Since.IsZero() || !s.Contact.IsZero() || s.Error == "" {
			t.Errorf("got %+v, want a snapshot and its age", s)
		}
		b.pass(time.Hour)
		b.expect("s1", "a passing", "an hour later")
	})

	fake.reset(1) // Consul comes back with another truth: only one service of the five
	fake.set("s4", instance("b", 44, httpOK))
	onBench(t, fake, keep, func(b *bench) {
		b.pass(2 * time.Minute)
		b.expect("s1", "a passing", "consul is still away")
		fake.edit(func() { fake.away = false })
		b.pass(30 * time.Second)
		if s := b.Status(); s.Snapshot || s.Error != "" {
			t.Errorf("got %+v, want contact", s)
		}
		b.expect("s1", "a passing", "held")
		b.pass(time.Minute)
		b.expect("s1", "unknown", "given up after empty_hold")
		b.expect("s4", "b passing", "as consul says")
	})
}

// TestColdStartWithoutOne: a single service that went meanwhile is gone.
func TestColdStartWithoutOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	keep := func(c *Config) { c.SnapshotFile = file }
	fake := newFake()
	names := crowd(fake, 4, httpOK)
	onBench(t, fake, keep, func(b *bench) { b.want(names...) })
	fake.set("s1")
	onBench(t, fake, keep, func(b *bench) {
		b.expect("s1", "unknown", "deregistered while lictor was not there")
		b.expect("s2", "a passing", "still there")
	})
}

// TestSnapshotObeysTheConfiguration: what is hidden now is not read back.
func TestSnapshotObeysTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	fake := newFake()
	names := crowd(fake, 2, httpOK)
	onBench(t, fake, func(c *Config) { c.SnapshotFile = file }, func(b *bench) { b.want(names...) })
	fake.edit(func() { fake.away = true })
	onBench(t, fake, func(c *Config) { c.SnapshotFile, c.Hide = file, []string{"s1"} }, func(b *bench) {
		b.expect("s1", "unknown", "hidden")
		b.expect("s2", "a passing", "exposed")
	})
	onBench(t, fake, func(c *Config) { c.SnapshotFile, c.Tag = file, "green" }, func(b *bench) {
		b.expect("s2", "unknown", "another tag is asked for")
	})
}

// TestOldSnapshot: max_stale counts from when the snapshot was right.
func TestOldSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	fake := newFake()
	crowd(fake, 1, httpOK)
	onBench(t, fake, func(c *Config) { c.SnapshotFile = file }, func(b *bench) { b.want("s1") })
	fake.edit(func() { fake.away = true })
	long := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // fake time begins in 2000
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	onBench(t, fake, func(c *Config) { c.SnapshotFile, c.MaxStale = file, time.Hour }, func(b *bench) {
		b.pass(30 * time.Minute)
		b.expect("s1", "a passing", "half an hour old")
		b.pass(31 * time.Minute)
		b.expect("s1", "", "older than max_stale")
	})
}

// TestASnapshotOfTheFutureGetsOlderAsWell: the clock was ahead when it was written.
func TestASnapshotOfTheFutureGetsOlderAsWell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	fake := newFake()
	crowd(fake, 1, httpOK)
	onBench(t, fake, func(c *Config) { c.SnapshotFile = file }, func(b *bench) { b.want("s1") })
	fake.edit(func() { fake.away = true })
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(file, future, future); err != nil {
		t.Fatal(err)
	}
	onBench(t, fake, func(c *Config) { c.SnapshotFile, c.MaxStale = file, time.Hour }, func(b *bench) {
		b.pass(30 * time.Minute)
		b.expect("s1", "a passing", "half an hour after the start")
		b.pass(31 * time.Minute)
		b.expect("s1", "", "older than max_stale")
	})
}

const testPlace = "consul.test:80///" // where the data of newTestClient comes from

func TestBrokenSnapshotIsIgnored(t *testing.T) {
	tests := []struct {
		name string
		text string
	}{
		{"empty", ""},
		{"cut", `{"Version":2,"Place":"consul.test:80///","Services":[{"Name":"s1"`},
		{"of another consul", `{"Version":2,"Place":"10.9.9.9:8500///","Services":[{"Name":"s1","Loaded":true}]}`},
		{"another version", `{"Version":99}`},
		{"no service", `{"Version":2,"Place":"consul.test:80///","Services":[null]}`},
		{"no instance", `{"Version":2,"Place":"consul.test:80///","Services":[{"Name":"s1","Loaded":true,"Instances":[null]}]}`},
		{"an unknown state", `{"Version":2,"Place":"consul.test:80///","Services":[{"Name":"s1","Instances":[{"State":77}]}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "catalog.json")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			fake := newFake()
			fake.away = true
			crowd(fake, 1, httpOK)
			onBench(t, fake, func(c *Config) { c.SnapshotFile = file }, func(b *bench) {
				if b.Status().Ready || b.Catalog().Len() > 0 {
					t.Errorf("got %+v, %d services", b.Status(), b.Catalog().Len())
				}
				if !strings.Contains(b.log.String(), "[WARN]  ignoring the last known services on disk") {
					t.Errorf("it is not logged:\n%s", b.log)
				}
				b.pass(time.Second)
				fake.edit(func() { fake.away = false })
				b.pass(30 * time.Second)
				b.want("s1")
				b.expect("s1", "a passing", "consul came")
			})
			if _, err := readSnapshot(file, "", testPlace); err != nil {
				t.Errorf("the file was not replaced by a good one: %v", err)
			}
		})
	}
}

// TestSnapshotFormat pins the file: a change of it needs a new snapshotVersion,
// for a lictor reads what an older one wrote.
func TestSnapshotFormat(t *testing.T) {
	want := &resolver.Service{Name: "shop", Index: 7, Loaded: true,
		Instances: []*resolver.Instance{
			{ID: "n/a", Address: "10.0.0.1:80", TLS: true, Protocol: resolver.H2, BasePath: "/p", Weight: 2, State: resolver.Passing},
			{ID: "n/b", Address: "10.0.0.1:81", Weight: 1, State: resolver.LastResort, Note: "why"},
		},
		Options:  resolver.Options{Timeout: time.Minute, Balance: resolver.Hash, KeepSegment: true, UpstreamHost: true},
		Problems: []string{"a problem"},
		Held:     "held",

		Registered: []string{"10.0.0.1:80", "10.0.0.2:80"},
	}
	const golden = "testdata/snapshot.json"
	encode := func(services ...*resolver.Service) string {
		s := saver{r: &Resolver{cfg: Config{Client: newTestClient(t, nil)}}}
		text, err := s.encode(resolver.NewCatalog(services...), "blue", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 42)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(encode(want)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(want); got != string(text) {
		t.Errorf("got\n%swant\n%s", got, text)
	}
	s, err := readSnapshot(golden, "blue", testPlace)
	if err != nil || s.Index != 42 || encode(s.Services...) != string(text) {
		t.Errorf("read back: %+v, %v", s, err)
	}
}

// FuzzReadSnapshot: whatever a file says, what is taken from it can be used.
func FuzzReadSnapshot(f *testing.F) {
	text, err := os.ReadFile("testdata/snapshot.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Version":2,"Place":"consul.test:80///","Services":[null,{"Name":"s","Instances":[null,{"State":9}]}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(dir, "catalog.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readSnapshot(file, "blue", testPlace)
		if err != nil {
			return
		}
		for _, service := range s.Services {
			_ = service.Usable()
			for _, i := range service.Instances {
				_ = i.State.String()
			}
		}
	})
}
