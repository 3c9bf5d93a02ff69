package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

// must fails the test on an error of laying out a directory.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// configMap lays files out as Kubernetes does: every kind is a link through
// ..data, which is turned to a new folder in one step.
func configMap(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	for key, text := range files {
		writeFile(t, filepath.Join(dir, ".."+version, key), text)
		kind, _, _ := strings.Cut(key, "/")
		if err := os.Symlink("..data/"+kind, filepath.Join(dir, kind)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	must(t, os.Symlink(".."+version, filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

func TestLinksToFoldersAndFilesAreFollowed(t *testing.T) {
	for _, test := range []struct {
		name   string
		layout func(t *testing.T, dir, outside string)
		edit   func(t *testing.T, dir, outside string)
	}{
		{"a kind that is a link, its file is edited", func(t *testing.T, dir, outside string) {
			writeFile(t, filepath.Join(outside, "b/ops"), "1")
			must(t, os.Symlink(filepath.Join(outside, "b"), filepath.Join(dir, "blacklist")))
		}, func(t *testing.T, _, outside string) { writeFile(t, filepath.Join(outside, "b/ops"), "2") }},
		{"a kind that becomes a link", func(t *testing.T, dir, _ string) {
			writeFile(t, filepath.Join(dir, "blacklist/ops"), "1")
		}, func(t *testing.T, dir, _ string) {
			must(t, os.Rename(filepath.Join(dir, "blacklist"), filepath.Join(dir, ".v1")), os.Symlink(".v1", filepath.Join(dir, "blacklist")))
			writeFile(t, filepath.Join(dir, ".v1/ops"), "2")
		}},
		{"a file that is a link, its target is edited", func(t *testing.T, dir, outside string) {
			writeFile(t, filepath.Join(outside, "list"), "1")
			must(t, os.Mkdir(filepath.Join(dir, "blacklist"), 0o750), os.Symlink(filepath.Join(outside, "list"), filepath.Join(dir, "blacklist/ops")))
		}, func(t *testing.T, _, outside string) { writeFile(t, filepath.Join(outside, "list"), "2") }},
		{"a link to a link that is turned", func(t *testing.T, dir, outside string) {
			writeFile(t, filepath.Join(outside, "v1/ops"), "1")
			writeFile(t, filepath.Join(outside, "v2/ops"), "2")
			must(t, os.Symlink("v1", filepath.Join(outside, "now")), os.Symlink(filepath.Join(outside, "now"), filepath.Join(dir, "blacklist")))
		}, func(t *testing.T, _, outside string) {
			must(t, os.Symlink("v2", filepath.Join(outside, "next")), os.Rename(filepath.Join(outside, "next"), filepath.Join(outside, "now")))
		}},
		{"a ConfigMap that is replaced", func(t *testing.T, dir, _ string) {
			configMap(t, dir, "v1", map[string]string{"blacklist/ops": "1"})
		}, func(t *testing.T, dir, _ string) {
			configMap(t, dir, "v2", map[string]string{"blacklist/ops": "2"})
			must(t, os.RemoveAll(filepath.Join(dir, "..v1")))
		}},
		{"the directory itself is a link that is turned", func(t *testing.T, dir, outside string) {
			writeFile(t, filepath.Join(outside, "v1/blacklist/ops"), "1")
			writeFile(t, filepath.Join(outside, "v2/blacklist/ops"), "2")
			must(t, os.Remove(dir), os.Symlink(filepath.Join(outside, "v1"), dir))
		}, func(t *testing.T, dir, outside string) {
			must(t, os.Symlink(filepath.Join(outside, "v2"), dir+".next"), os.Rename(dir+".next", dir))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, outside := filepath.Join(t.TempDir(), "pol"), t.TempDir()
			must(t, os.Mkdir(dir, 0o750))
			test.layout(t, dir, outside)
			s := openDir(t, dir)
			w := storetest.Follow(t, s)
			w.Want("blacklist/ops=1")
			test.edit(t, dir, outside)
			w.Want("blacklist/ops=2")
			for _, u := range w.Updates() {
				for _, c := range u.Changes {
					if c.Deleted {
						t.Errorf("%s was deleted in between", c.Key())
					}
				}
			}
			if status := s.Status(); status.Problem != "" || status.Objects != 1 || status.Held != 0 {
				t.Errorf("status is %+v", status)
			}
		})
	}
}

// What is there but cannot be looked at is not gone.
func TestWhatCannotBeLookedAtIsNotGone(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(dir, outside string) error
		why   string
	}{
		{"a file's link leads nowhere", func(dir, _ string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "blacklist/ops")), os.Symlink("/none/at/all", filepath.Join(dir, "blacklist/ops")))
		}, "nowhere"},
		{"a kind's link leads nowhere", func(_, outside string) error { return os.RemoveAll(filepath.Join(outside, "groups")) }, "nowhere"},
		{"the volume behind a kind's link is not mounted", func(_, outside string) error {
			return errors.Join(os.RemoveAll(filepath.Join(outside, "groups")), os.Mkdir(filepath.Join(outside, "groups"), 0o750))
		}, "empty folder"},
		{"a file lies where a kind's folder was", func(dir, _ string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blacklist")), os.WriteFile(filepath.Join(dir, "blacklist"), nil, 0o600))
		}, "in the place of a folder"},
		{"a folder lies where a file was", func(dir, _ string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "blacklist/ops")), os.Mkdir(filepath.Join(dir, "blacklist/ops"), 0o750))
		}, "in the place of a file"},
		{"a pipe lies where a file was", func(dir, _ string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "blacklist/ops")), syscall.Mkfifo(filepath.Join(dir, "blacklist/ops"), 0o600))
		}, "neither a file nor a folder"},
		{"a link leads back to itself", func(dir, _ string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blacklist")), os.Symlink("blacklist", filepath.Join(dir, "blacklist")))
		}, "too many levels"},
		{"a link leads to the folder above it", func(dir, _ string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blacklist")), os.Symlink(".", filepath.Join(dir, "blacklist")))
		}, "leads back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, outside, data := t.TempDir(), t.TempDir(), t.TempDir()
			writeFile(t, filepath.Join(dir, "blacklist/ops"), "1")
			writeFile(t, filepath.Join(dir, "acls/a"), "2")
			writeFile(t, filepath.Join(outside, "groups/g"), "3")
			must(t, os.Symlink(filepath.Join(outside, "groups"), filepath.Join(dir, "groups")))
			s := openDirWith(t, dir, data)
			w := storetest.Follow(t, s)
			w.Want("acls/a=2 blacklist/ops=1 groups/g=3")
			must(t, test.spoil(dir, outside))
			writeFile(t, filepath.Join(dir, "acls/b"), "4") // which goes on being read
			wantKept := func(w *storetest.Watch, why string) {
				t.Helper()
				w.Eventually("the rest goes on", func(c map[string]store.Object) bool { return string(c["acls/b"].Value) == "4" })
				w.Eventually("it is told", func(map[string]store.Object) bool { return strings.Contains(s.Status().Problem, why) })
				if c := w.Content(); string(c["blacklist/ops"].Value) != "1" || string(c["groups/g"].Value) != "3" {
					t.Fatalf("content is %q", w.Text())
				}
			}
			wantKept(w, test.why)
			if o, err := s.Get(t.Context(), "blacklist", "ops"); err != nil || string(o.Value) != "1" {
				t.Errorf("get: %+v, %v", o, err)
			}
			w.Stop()
			s = openDirWith(t, dir, data)
			wantKept(storetest.Follow(t, s), "in force")
		})
	}
}

func TestALinkThatLedNowhereFromTheStartIsADocumentThatNobodyCanParse(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "blacklist"), 0o750), os.Symlink("/none/at/all", filepath.Join(dir, "blacklist/ops")))
	s := openDir(t, dir)
	w := storetest.Follow(t, s)
	w.Eventually("it is there, broken", func(c map[string]store.Object) bool {
		return strings.HasPrefix(string(c["blacklist/ops"].Value), "{ cannot be read")
	})
	must(t, os.Remove(filepath.Join(dir, "blacklist/ops")))
	w.Want("")
	w.Eventually("all is well", func(map[string]store.Object) bool { return s.Status().Problem == "" })
}

func TestWhatEditorsLeaveIsNoObjectAndIsTold(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"w~", "w.bak", "#w#", ".w.swp", "w.swp", "4913", "w.orig", "w.rej", "w.dpkg-old", "w.rpmnew", "w.tmp", "w.OLD", "w.save"} {
		writeFile(t, filepath.Join(dir, "whitelist", name), "x")
	}
	writeFile(t, filepath.Join(dir, "whitelist/w"), "1")
	writeFile(t, filepath.Join(dir, "mappings/old.example"), "2")
	s := openDir(t, dir)
	w := storetest.Follow(t, s)
	w.Want("mappings/old.example=2 whitelist/w=1")
	notes := fmt.Sprint(s.Status().Notes)
	for _, name := range []string{"w~", "w.bak", "#w#", "4913", "w.OLD"} {
		if !strings.Contains(notes, "whitelist/"+name) {
			t.Errorf("%s is not told in %s", name, notes)
		}
	}
	if strings.Contains(notes, ".w.swp") {
		t.Errorf("a hidden file is told: %s", notes)
	}
	if _, err := s.Write(t.Context(), []store.Op{{Kind: "groups", Name: "g.bak"}}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a write of what would not be read: %v", err)
	}
}

// Somebody else has the lock and does not let it go: a stopped process is enough.
func TestALockThatIsHeldStopsNoReading(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "blacklist/ops"), "1")
	s := openDir(t, dir)
	w := storetest.Follow(t, s)
	w.Want("blacklist/ops=1")
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	writeFile(t, filepath.Join(dir, "blacklist/new"), "2")
	w.Want("blacklist/new=2 blacklist/ops=1")
	if o, err := s.Get(t.Context(), "blacklist", "new"); err != nil || string(o.Value) != "2" {
		t.Errorf("get: %+v, %v", o, err)
	}
	w.Eventually("it is told", func(map[string]store.Object) bool {
		return strings.Contains(s.Status().Problem, ".lock locked") && s.Status().Live
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Write(ctx, []store.Op{{Kind: "acls", Name: "a"}}); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a write: %v", err)
	}
	must(t, f.Close())
	storetest.Write(t, s, store.Op{Kind: "acls", Name: "a"})
	w.Eventually("all is well", func(map[string]store.Object) bool { return s.Status().Problem == "" })
}

// A kind that vanishes at once is doubted, single deletions are obeyed.
func TestAKindThatVanishesIsHeldAndFilesThatAreDeletedAreGone(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		spoil func(folder string) error
		held  int
	}{
		{"rm -r of three", 3, os.RemoveAll, 3},
		{"rm -r and an empty folder made anew", 3, func(f string) error { return errors.Join(os.RemoveAll(f), os.Mkdir(f, 0o750)) }, 3},
		{"moved away", 5, func(f string) error { return os.Rename(f, filepath.Join(filepath.Dir(f), ".away")) }, 5},
		{"rm -r of two", 2, os.RemoveAll, 0},
		{"rm of all files", 4, func(f string) error {
			files, err := filepath.Glob(f + "/*")
			for _, file := range files {
				err = errors.Join(err, os.Remove(file))
			}
			return err
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "groups/g"), "x")
			for i := range test.count {
				writeFile(t, filepath.Join(dir, fmt.Sprintf("acls/%d", i)), "x")
			}
			s := openDir(t, dir)
			w := storetest.Follow(t, s)
			must(t, test.spoil(filepath.Join(dir, "acls")))
			w.Eventually("it is seen", func(c map[string]store.Object) bool {
				return test.held == 0 && c["acls/0"].Name == "" || c["acls/0"].Held
			})
			w.Eventually("the status says so", func(map[string]store.Object) bool {
				status := s.Status()
				return status.Held == test.held && (status.Problem != "") == (test.held > 0)
			})
			writeFile(t, filepath.Join(dir, ".cleared"), "")
			w.Want("groups/g=x")
		})
	}
}

// A disk that is full keeps a write from being done, and nothing else.
func TestAFullDiskRefusesAWholeWrite(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	writeFile(t, filepath.Join(dir, "acls/a"), "1")
	s := openDir(t, dir)
	w := storetest.Follow(t, s)
	storetest.Write(t, s, store.Op{Kind: "acls", Name: "b", Value: []byte("1")}, store.Op{Kind: "acls", Name: "c", Value: []byte("1")})
	// What fits is written whole: nothing of it needs room twice.
	fits := []byte(strings.Repeat("y", 40<<10))
	storetest.Write(t, s, store.Op{Kind: "apis", Name: "1", Value: fits}, store.Op{Kind: "apis", Name: "2", Value: fits}, store.Op{Kind: "apis", Name: "3", Value: fits})
	for _, name := range []string{"1", "2", "3"} {
		storetest.Write(t, s, store.Op{Kind: "apis", Name: name, Verb: store.Delete})
	}
	large := []byte(strings.Repeat("x", 90<<10))
	ops := []store.Op{{Kind: "acls", Name: "a", Value: large}, {Kind: "groups", Name: "g", Value: large}, {Kind: "apis", Name: "p", Value: large}}
	if _, err := s.Write(t.Context(), ops); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotSeen) {
		t.Fatalf("a write to a full disk: %v", err)
	}
	if got := w.Text(); got != "acls/a=1 acls/b=1 acls/c=1" {
		t.Fatalf("content is %.200q", got)
	}
	left, err := filepath.Glob(dir + "/*/.new-*")
	if must(t, err); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	writeFile(t, filepath.Join(dir, "acls/hand"), "2")
	w.Want("acls/a=1 acls/b=1 acls/c=1 acls/hand=2")
	// To the last byte: what is there can still be deleted, several at once too.
	fill, err := os.Create(filepath.Join(dir, ".fill"))
	must(t, err)
	for {
		if _, err := fill.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	must(t, fill.Close())
	storetest.Write(t, s, store.Op{Kind: "acls", Name: "hand", Verb: store.Delete})
	w.Stop()
	storetest.Follow(t, openDir(t, dir)).Want("acls/a=1 acls/b=1 acls/c=1")
}

// A directory that may only be read, as a copy that was made in the middle of a change:
// half of a change is not in force, it is told, and nothing runs in circles.
func TestAJournalThatNobodyMayCompleteIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	may := func(flags uintptr) {
		t.Helper()
		must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""))
	}
	writeFile(t, filepath.Join(dir, "acls/a"), "1")
	journal := filepath.Join(dir, ".journal")
	writeFile(t, journal, `{"Changes":[{"Key":"acls/b","Deleted":true},{"Key":"acls/c","Deleted":true}]}`)
	may(syscall.MS_RDONLY)
	s := openDir(t, dir)
	w := storetest.Start(t, s)
	w.Eventually("it is told", func(map[string]store.Object) bool { return strings.Contains(s.Status().Problem, "half-way") })
	if got := w.Text(); got != "" {
		t.Errorf("in force is %q", got)
	}
	may(0)
	must(t, os.Remove(journal))
	may(syscall.MS_RDONLY)
	w.Want("acls/a=1")
}
