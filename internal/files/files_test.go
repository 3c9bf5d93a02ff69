package files

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFilesOfTheSameSizeAndTimeAreToldApart copies as cp -p and tar do.
func TestFilesOfTheSameSizeAndTimeAreToldApart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.pem")
	at := time.Now().Add(-time.Hour)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "first")
	was := StampOf(file)
	if StampOf(file) != was {
		t.Error("it changed by itself")
	}
	write(file, "other")
	if now := time.Now().Add(time.Second); os.Chtimes(file, now, now) != nil { // as if the file system's clock had gone on
		t.Error("the time cannot be set")
	}
	if StampOf(file) == was {
		t.Error("one written into it is not seen")
	}
	was = StampOf(file)
	write(file+".new", "third")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if StampOf(file) == was {
		t.Error("one put into its place is not seen")
	}
}

func TestAFileThatComesOrGoesIsAnotherOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.pem")
	none := StampsOf(file, "")
	if len(none) != 1 || none.Changed() {
		t.Errorf("of a file that is not there: %v", none)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	there := StampsOf(file)
	if !none.Changed() || there.Changed() {
		t.Error("that it came is not seen")
	}
	if err := os.Remove(file); err != nil || !there.Changed() {
		t.Errorf("that it went is not seen: %v", err)
	}
}
