package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Only files are read, and pipes that are named themselves.
func TestWhatIsNoFile(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.hcl")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(t.TempDir(), "huge.hcl")
	if err := os.WriteFile(huge, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	device := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(device, "zero.hcl")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dev/zero": "it is a device", fifo: "nothing came out of the pipe", dir: "want a file, it is", device: "it is a device", huge: "larger than",
		"/proc/self/environ": "",
	} {
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	go func() {
		defer write.Close()
		_, _ = write.WriteString("data_dir = \"\"\n")
	}()
	if cfg, err := Load(fmt.Sprintf("/dev/fd/%d", read.Fd())); err != nil || cfg.DataDir != "" {
		t.Errorf("a pipe: %v", err)
	}
}

// FuzzBounded looks for a text that is measured wrongly: it must come to an end.
func FuzzBounded(f *testing.F) {
	for _, text := range []string{"a = ((1))", `a = "${b}%{if c}d%{endif}"`, "a = <<E\nx ${y}\nE\n", "gateway {\n address = \":1\"\n}", "}}}", `a = "${"${"`, "a = b[*].c ? !d : -e"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxFile {
			return
		}
		m := measure{levels: []level{{lines: true}}}
		_ = bounded(File{Name: "x", Text: text})
		if m.steps < 0 {
			t.Error("fewer than no steps")
		}
		_, _ = Parse(Env{Lookup: func(string) (string, bool) { return "", false }, ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist }}, File{Name: "x", Text: text})
	})
}
