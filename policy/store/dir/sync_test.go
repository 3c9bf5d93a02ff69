package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

const nobody = 65534

// asNobody has f called with the rights of nobody.
func asNobody(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		_, _ = unix.SetfsuidRetUid(nobody)
		f()
	}()
	<-done
}

// A folder that cannot be opened to be synced, as where descriptors have run out, leaves
// it open whether a change survives a crash, and not whether it was done.
func TestAWriteThatIsNotSureToSurviveACrashIsWholeAllTheSame(t *testing.T) {
	one := []store.Op{{Kind: "acls", Name: "a", Value: []byte("2")}}
	for _, test := range []struct {
		name   string
		sealed string // the folder
		ops    []store.Op
		want   string
	}{
		{"one object", "acls", one, "acls/a=2 acls/b=1"},
		{"several objects, the journal", ".", append(one, store.Op{Kind: "acls", Name: "b", Verb: store.Delete}), "acls/a=2"},
		{"several objects, their folder", "acls", append(one, store.Op{Kind: "acls", Name: "b", Verb: store.Delete}), "acls/a=2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "acls/a"), "1")
			writeFile(t, filepath.Join(dir, "acls/b"), "1")
			for _, path := range []string{".", "acls", "acls/a", "acls/b"} {
				must(t, os.Chown(filepath.Join(dir, path), nobody, -1))
			}
			must(t, os.Chmod(filepath.Dir(dir), 0o711)) // so that nobody gets there
			sealed := filepath.Join(dir, test.sealed)
			must(t, os.Chmod(sealed, 0o300))
			s := openDir(t, dir)
			var err error
			asNobody(func() { _, err = s.Write(t.Context(), test.ops) })
			if err != nil && (!errors.Is(err, store.ErrNotSeen) || errors.Is(err, store.ErrUnavailable)) {
				t.Errorf("the writer is told %v", err)
			}
			must(t, os.Chmod(sealed, 0o700))
			storetest.Follow(t, openDir(t, dir)).Want(test.want)
		})
	}
}
