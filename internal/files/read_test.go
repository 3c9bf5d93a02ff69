package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadWaitsForNobody, whatever stands where the file should be.
func TestReadWaitsForNobody(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.WriteFile(at("file"), []byte("12345678"), 0o600),
		os.WriteFile(at("long"), []byte("123456789"), 0o600),
		os.WriteFile(at("none"), nil, 0o600),
		os.Symlink("file", at("link")),
		os.Symlink("pipe", at("link to a pipe")),
		syscall.Mkfifo(at("pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, text, err string }{
		{at("file"), "12345678", ""},
		{at("link"), "12345678", ""},
		{at("none"), "", ""},
		{"/proc/self/cgroup", "", "has more than 8 bytes"},
		{at("long"), "", "has more than 8 bytes"},
		{at("pipe"), "", "is no file"},
		{at("link to a pipe"), "", "is no file"},
		{"/dev/zero", "", "is no file"},
		{dir, "", "is no file"},
		{at("nothing"), "", fs.ErrNotExist.Error()},
	}
	for _, tt := range tests {
		over := make(chan struct{})
		go func() {
			defer close(over)
			text, err := Read(tt.path, 8)
			if string(text) != tt.text || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %q, %v, want %q, %s", tt.path, text, err, tt.text, tt.err)
			}
		}()
		select {
		case <-over:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: it waits", tt.path)
		}
	}
}
