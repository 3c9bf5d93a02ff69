package dir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
	dirstore "lictor/policy/store/dir"
	"lictor/policy/store/storetest"
)

func openDir(t *testing.T, path string) *dirstore.Store { return openDirWith(t, path, "") }

func openDirWith(t *testing.T, path, dataDir string) *dirstore.Store {
	t.Helper()
	s, err := dirstore.New(dirstore.Config{Dir: path, DataDir: dataDir, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A crash after the journal was written, and at any step of carrying it out:
// whoever starts next sees the whole write.
func TestAWriteThatCrashedHalfWayIsCompleted(t *testing.T) {
	for done := range 3 {
		t.Run(fmt.Sprintf("after %d of 2 files", done), func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "acls/old"), "1")
			writeFile(t, filepath.Join(dir, "groups/g"), "1")
			text, err := json.Marshal(map[string]any{"Index": time.Now().UnixMicro(), "Changes": []map[string]any{
				{"Key": "groups/g", "Value": []byte("2")}, {"Key": "acls/old", "Deleted": true},
			}})
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, ".journal"), string(text))
			writeFile(t, filepath.Join(dir, ".new-123"), "half a fi")
			if done > 0 {
				writeFile(t, filepath.Join(dir, "groups/g"), "2")
			}
			if done > 1 {
				if err := os.Remove(filepath.Join(dir, "acls/old")); err != nil {
					t.Fatal(err)
				}
			}
			w := storetest.Follow(t, openDir(t, dir))
			w.Want("groups/g=2")
			if len(w.Updates()) != 1 {
				t.Errorf("half of it was shown: %+v", w.Updates())
			}
			if _, err := os.Stat(filepath.Join(dir, ".journal")); err == nil {
				t.Error("the journal is still there")
			}
		})
	}
}

func TestAJournalThatCannotBeReadStopsEverything(t *testing.T) {
	for _, text := range []string{"{", `{"Changes":[{"Key":"../../etc/passwd","Value":"eA=="}]}`} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "acls/a"), "1")
		s := openDir(t, dir)
		w := storetest.Follow(t, s)
		writeFile(t, filepath.Join(dir, ".journal"), text)
		writeFile(t, filepath.Join(dir, "acls/a"), "2")
		w.Eventually("it is reported", func(map[string]store.Object) bool { return s.Status().Problem != "" })
		if got := w.Text(); got != "acls/a=1" {
			t.Errorf("content is %q", got)
		}
		if _, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "b"}}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a write: %v", err)
		}
	}
}

// An editor truncates the file and writes it in pieces: what is between is
// never in force.
func TestAHalfWrittenFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "blacklist/ops")
	writeFile(t, path, "one.example\n")
	w := storetest.Follow(t, openDir(t, dir))
	w.Want("blacklist/ops=one.example\n")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	pace := time.Tick(20 * time.Millisecond)
	for _, piece := range []string{"one.", "exam", "ple\n", "two.example\n"} {
		if _, err := f.WriteString(piece); err != nil {
			t.Fatal(err)
		}
		<-pace
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.Want("blacklist/ops=one.example\ntwo.example\n")
	if n := len(w.Updates()); n != 2 {
		t.Errorf("%d updates: %+v", n, w.Updates())
	}
}

func TestADirectoryThatVanishesIsHeld(t *testing.T) {
	for _, test := range []struct {
		name   string
		vanish func(dir string) error
	}{
		{"the whole directory", os.RemoveAll},
		{"an empty volume in its place", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o750))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "policy")
			writeFile(t, filepath.Join(dir, "acls/a"), "1")
			writeFile(t, filepath.Join(dir, "groups/g"), "2")
			s := openDir(t, dir)
			w := storetest.Follow(t, s)
			if err := test.vanish(dir); err != nil {
				t.Fatal(err)
			}
			w.Eventually("it is reported", func(map[string]store.Object) bool { return s.Status().Problem != "" })
			if got := w.Text(); got != "acls/a=1 groups/g=2" {
				t.Fatalf("content is %q (X6)", got)
			}
			writeFile(t, filepath.Join(dir, "acls/a"), "new")
			w.Want("acls/a=new groups/g=2")
			writeFile(t, filepath.Join(dir, ".cleared"), "")
			w.Eventually("what is held is released or was deleted", func(c map[string]store.Object) bool {
				return s.Status().Held == 0 && s.Status().Problem == ""
			})
		})
	}
}

func TestTheMarkMakesAnEmptiedDirectoryMeant(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policy")
	writeFile(t, filepath.Join(dir, "acls/a"), "1")
	writeFile(t, filepath.Join(dir, "acls/b"), "2")
	w := storetest.Follow(t, openDir(t, dir))
	writeFile(t, filepath.Join(dir, ".cleared"), "")
	if err := os.RemoveAll(filepath.Join(dir, "acls")); err != nil {
		t.Fatal(err)
	}
	w.Want("")
}

func TestIndexesGrowWhateverTheClockSays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "acls/a")
	writeFile(t, path, "1")
	s := openDir(t, dir)
	w := storetest.Follow(t, s)
	first := w.Content()["acls/a"].Index
	old := time.Now().Add(-time.Hour)
	next := filepath.Join(dir, ".next")
	writeFile(t, next, "2")
	if err := errors.Join(os.Chtimes(next, old, old), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
	w.Want("acls/a=2")
	second := w.Content()["acls/a"].Index
	if second <= first {
		t.Errorf("index %d after %d", second, first)
	}
	w.Stop()
	w = storetest.Follow(t, openDir(t, dir))
	if again := w.Content()["acls/a"].Index; again != second {
		t.Errorf("after a restart the index is %d, was %d", again, second)
	}
	if _, err := s.Write(t.Context(), []store.Op{{Kind: "acls", Name: "a", Value: []byte("3"), Check: store.Check{Index: first}}}); err == nil {
		t.Error("a write at the first index")
	}
}

func TestAFileThatCannotBeReadKeepsItsFormerValueOrBecomesABrokenOne(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "acls/a"), "1")
	w := storetest.Follow(t, openDir(t, dir))
	large := bytes.Repeat([]byte("x"), 17<<20)
	for _, key := range []string{"acls/a", "blacklist/new"} {
		writeFile(t, filepath.Join(dir, ".large"), string(large))
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, key)), 0o750), os.Rename(filepath.Join(dir, ".large"), filepath.Join(dir, key)))
	}
	w.Eventually("the new one is there, broken", func(c map[string]store.Object) bool {
		return bytes.HasPrefix(c["blacklist/new"].Value, []byte("{ cannot be read"))
	})
	if got := string(w.Content()["acls/a"].Value); got != "1" {
		t.Errorf("acls/a is %.20q", got)
	}
}

// Two processes with one directory: writes of both are in one piece for both,
// and none is lost.
func TestTwoProcessesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	one, two := openDir(t, dir), openDir(t, dir)
	w1, w2 := storetest.Follow(t, one), storetest.Follow(t, two)
	var writers sync.WaitGroup
	for n, s := range []*dirstore.Store{one, two} {
		writers.Go(func() {
			for i := range 30 {
				value := []byte(fmt.Sprintf("%d.%d", n, i))
				ops := []store.Op{{Kind: "acls", Name: "x", Value: value}, {Kind: "groups", Name: "x", Value: value},
					{Kind: "apis", Name: fmt.Sprintf("%d-%d", n, i), Value: value, Check: store.Check{Absent: true}}}
				err := store.ErrUnavailable
				for try := 0; try < 20 && errors.Is(err, store.ErrUnavailable); try++ { // the other one has the lock nearly always
					_, err = s.Write(t.Context(), ops)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	w1.Eventually("both agree", func(map[string]store.Object) bool { return w2.Text() != "" && len(w2.Content()) == 62 })
	w1.Want(w2.Text())
	storetest.WantOnePiece(t, w1, "x")
	storetest.WantOnePiece(t, w2, "x")
}

// As archives have it that are to be the same each time they are made.
func TestAFileOfTheSameSizeAndTimeIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "blacklist/ops")
	at := time.Unix(1, 0)
	put := func(path, text string) {
		t.Helper()
		writeFile(t, path, text)
		must(t, os.Chtimes(path, at, at))
	}
	put(path, "10.0.0.1")
	w := storetest.Follow(t, openDir(t, dir))
	w.Want("blacklist/ops=10.0.0.1")
	put(path, "10.0.0.2")
	w.Want("blacklist/ops=10.0.0.2")
	put(filepath.Join(dir, ".ops"), "10.0.0.3")
	must(t, os.Rename(filepath.Join(dir, ".ops"), path))
	w.Want("blacklist/ops=10.0.0.3")
}
