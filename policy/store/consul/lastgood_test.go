package consul_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy/store"
	"lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

// keep lets a store write its last good policy: two objects, then one more.
func keep(t *testing.T, dir string) {
	t.Helper()
	fake := newFake()
	fake.Put("acls/a", "1")
	fake.Put("groups/g", "2")
	w := storetest.Start(t, fake.open(t, dir))
	pass(2 * time.Second)
	fake.Put("filters/f", "3")
	pass(2 * time.Second)
	w.Stop()
}

// keptFile is the path of what keep kept.
func keptFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "policy-*.lastgood"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept are %v, %v", files, err)
	}
	return files[0]
}

// restart starts a store on what is kept, with no Consul, and returns it and its content.
func restart(t *testing.T, dir string) (*consul.Store, string) {
	t.Helper()
	fake := newFake()
	fake.SetFault(refuse)
	s := fake.open(t, dir)
	w := storetest.Start(t, s)
	pass(time.Second)
	w.Stop()
	return s, w.Text()
}

func TestTheKeptPolicySurvives(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(data []byte) []byte
		want  string
	}{
		{"as it was written", func(d []byte) []byte { return d }, "acls/a=1 filters/f=3 groups/g=2"},
		{"cut off in the last change", func(d []byte) []byte { return d[:len(d)-3] }, "acls/a=1 groups/g=2"},
		{"with rubbish behind it", func(d []byte) []byte { return append(d, "rubbish"...) }, "acls/a=1 filters/f=3 groups/g=2"},
		{"cut off in the content", func(d []byte) []byte { return d[:len(firstLine(d))+20] }, ""},
		{"changed in the content", func(d []byte) []byte { d[len(firstLine(d))+20] ^= 1; return d }, ""},
		{"of another place", func(d []byte) []byte { return bytes.Replace(d, []byte("lictor/"), []byte("victor/"), 1) }, ""},
		{"another format", func([]byte) []byte { return []byte("lictor policy 3\n") }, ""},
		{"empty", func([]byte) []byte { return nil }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { keep(t, dir) })
			path := keptFile(t, dir)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
				t.Errorf("mode is %v", info.Mode())
			}
			if err := os.WriteFile(path, test.spoil(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s, got := restart(t, dir)
				if got != test.want {
					t.Errorf("kept is %q, want %q", got, test.want)
				}
				if status := s.Status(); status.LastGood != (test.want != "") || status.Loaded != (test.want != "") || status.Live {
					t.Errorf("status is %+v", status)
				}
			})
		})
	}
}

func TestTheKeptPolicyTellsItsAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { keep(t, dir) })
	at := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(keptFile(t, dir), at, at); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if s, _ := restart(t, dir); !s.Status().Contact.Equal(at) {
			t.Errorf("contact is %v, want %v", s.Status().Contact, at)
		}
	})
}

// TestAKeptPolicyOfTheFutureGetsOlderAsWell: the clock was ahead when it was written.
func TestAKeptPolicyOfTheFutureGetsOlderAsWell(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { keep(t, dir) })
	at := time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(keptFile(t, dir), at, at); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if s, _ := restart(t, dir); time.Since(s.Status().Contact) < 0 {
			t.Errorf("contact is %v, and it is %v", s.Status().Contact, time.Now())
		}
	})
}

func TestManyChangesDoNotMakeTheKeptPolicyGrow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		w := storetest.Start(t, fake.open(t, dir))
		value := strings.Repeat("x", 100<<10)
		for i := range 60 {
			fake.Put("acls/a", value+string(rune('a'+i%20)))
			pass(2 * time.Second)
		}
		w.Stop()
	})
	info, err := os.Stat(keptFile(t, dir))
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("%d bytes are kept, %v", info.Size(), err)
	}
	synctest.Test(t, func(t *testing.T) {
		if _, got := restart(t, dir); !strings.HasSuffix(got, "xxt") {
			t.Errorf("kept is %d bytes", len(got))
		}
	})
}

func TestADataDirThatCannotBeWrittenDoesNotStopTheStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.Put("acls/a", "1")
		w := storetest.Start(t, fake.open(t, filepath.Join(file, "below")))
		pass(time.Minute)
		wantText(t, w, "acls/a=1")
		w.Stop()
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which also sees goroutines that stay
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		fake := newFake()
		if err := fake.open(t, "").Watch(ctx, func(store.Update) []string { return nil }); err != context.DeadlineExceeded {
			t.Errorf("Watch ends with %v", err)
		}
	})
}

func firstLine(data []byte) []byte { return data[:bytes.IndexByte(data, '\n')+1] }
