package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestADirectoryBelongsToOne(t *testing.T) {
	dir := t.TempDir()
	release, err := Lock(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir, 0); err == nil || !strings.Contains(err.Error(), "another process uses "+dir) {
		t.Errorf("locked twice: %v", err)
	}
	release()
	again, err := Lock(dir, 0)
	if err != nil {
		t.Fatalf("after it was released: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, again) // as a former life that is about to end
	third, err := Lock(dir, time.Minute)
	if err != nil {
		t.Fatalf("with patience: %v", err)
	}
	third()
	if _, err := Lock(filepath.Join(dir, "none"), 0); err == nil {
		t.Error("a directory that does not exist was locked")
	}
}

func TestALockedDirectoryIsFreeOfWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	staged, err := Stage(dir, []byte("half"), 0o600, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, "kept")
	if err := Replace(kept, []byte("whole"), 0o600, time.Time{}); err != nil {
		t.Fatal(err)
	}
	release, err := Lock(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if Exists(staged) || !Exists(kept) {
		t.Errorf("staged is there: %v, kept is there: %v", Exists(staged), Exists(kept))
	}
}

func TestWhatIsAppendedComesBehindAndMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Append(path, []byte("x")); err == nil || Exists(path) {
		t.Errorf("a file was made, %v", err)
	}
	if err := Replace(path, []byte("one "), 0o600, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := Append(path, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "one two" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAPipeInThePlaceOfAFileKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Append(path, []byte("x")); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("got %v", err)
	}
}

func TestEveryPlaceHasAFileOfItsOwn(t *testing.T) {
	one, two := FileFor("/d", "policy.lastgood", "consul a"), FileFor("/d", "policy.lastgood", "consul b")
	if one == two || !strings.HasPrefix(one, "/d/policy-") || !strings.HasSuffix(one, ".lastgood") || one != FileFor("/d", "policy.lastgood", "consul a") {
		t.Errorf("%s and %s", one, two)
	}
}

func TestAReplacedFileIsWholeAndLeavesNothingBeside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	at := time.Unix(1_000_000, 0)
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, []byte(text), 0o600, at); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(at) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "folder"), nil, 0o600, time.Time{}); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := filepath.Glob(filepath.Join(dir, StagedPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestNothingIsLeftOfWhatWasNotStaged has the writer of a file fail, and panic.
func TestNothingIsLeftOfWhatWasNotStaged(t *testing.T) {
	dir := t.TempDir()
	stage := func(write func(io.Writer) error) (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = errors.New("a panic")
			}
		}()
		_, err = StageAs(dir, 0o600, time.Time{}, write)
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		"an error": func(io.Writer) error { return errors.New("no") },
		"a panic":  func(io.Writer) error { panic("no") },
	} {
		if err := stage(write); err == nil {
			t.Errorf("%s is not told", name)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
}

// A file system of the network may do what it says that it could not.
func TestWhatIsInItsPlaceIsNotToldToHaveFailed(t *testing.T) {
	defer func() { rename = os.Rename }()
	for name, test := range map[string]struct {
		rename func(from, to string) error
		want   string
	}{
		"the answer is lost": {func(from, to string) error { return errors.Join(os.Rename(from, to), syscall.EIO) }, "new"},
		"nothing was done":   {func(string, string) error { return syscall.EIO }, "former"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("former"), 0o600); err != nil {
				t.Fatal(err)
			}
			rename = test.rename
			err := Replace(path, []byte("new"), 0o600, time.Time{})
			if text, _ := os.ReadFile(path); string(text) != test.want || (err == nil) != (test.want == "new") {
				t.Errorf("there is %q, and told is %v", text, err)
			}
		})
	}
}
