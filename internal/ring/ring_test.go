package ring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// line is a line of 1 KiB.
func line(n int) []byte { return fmt.Appendf(nil, "%01023d\n", n) }

// open opens a ring until the test ends.
func open(t *testing.T, path string, size int64, told func(error)) *Ring {
	t.Helper()
	r, err := Open(path, size, told)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // some tests close it
	return r
}

func write(t *testing.T, r *Ring, p []byte) {
	t.Helper()
	if _, err := r.Write(p); err != nil {
		t.Fatal(err)
	}
}

// content is all that the files of a ring hold, and how many files there are.
func content(t *testing.T, path string) (text string, files int) {
	t.Helper()
	names, err := Files(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	return text, len(names)
}

func TestRingKeepsTheNewestLinesWithinItsSize(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	others := []string{"log.1", "log.00000001.bak", "other.00000001", "log.0000000x"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), 4<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, path, MinSize, nil)
	for i := range 5000 {
		write(t, r, line(i))
	}
	text, files := content(t, path)
	if len(text) > MinSize || len(text) < MinSize*3/4 || files != 8 {
		t.Errorf("%d bytes in %d files, want at most %d, and not much less", len(text), files, MinSize)
	}
	for i, l := range slices.Backward(strings.Split(strings.TrimSpace(text), "\n")) {
		if want := 4999 - (len(text)>>10 - 1 - i); l != strings.TrimSpace(string(line(want))) {
			t.Fatalf("line %d is %q, want %d", i, l, want)
		}
	}
	if got := r.Status().Bytes; got != int64(len(text)) {
		t.Errorf("told %d bytes, there are %d", got, len(text))
	}
	for _, name := range others {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != 4<<20 {
			t.Errorf("%s was touched: %v", name, err)
		}
	}
}

func TestRingGoesOnWhereAFormerLifeEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := open(t, path, MinSize, nil)
	for i := range 300 {
		write(t, r, line(i))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("torn"); err != nil || f.Close() != nil { // by a crash
		t.Fatal(err)
	}
	r = open(t, path, MinSize, nil)
	for i := 300; i < 600; i++ {
		write(t, r, line(i))
	}
	text, files := content(t, path)
	want := ""
	for i := range 600 {
		if i == 300 {
			want += "torn\n"
		}
		want += string(line(i))
	}
	if text != want || files != 5 {
		t.Errorf("%d files, %d bytes, want 5 with %d", files, len(text), len(want))
	}
}

func TestRingSplitsWhatIsLargerThanAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := open(t, path, MinSize, nil)
	r.SetHead([]byte("head\n"))
	var all []byte
	for i := range 4096 {
		all = append(all, line(i)...)
	}
	write(t, r, all)
	text, _ := content(t, path)
	if len(text) > MinSize || !strings.HasSuffix(text, string(line(4095))) {
		t.Errorf("%d bytes, want at most %d and the newest", len(text), MinSize)
	}
}

func TestEachFileBeginsWithTheHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := open(t, path, MinSize, nil)
	r.SetHead([]byte("head 1\n"))
	for i := range 200 {
		write(t, r, line(i))
	}
	r.SetHead([]byte("head 1\n")) // is no other one
	r.SetHead([]byte("head 2\n"))
	for i := range 200 {
		write(t, r, line(i))
	}
	names, err := Files(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"head 1\n", "head 1\n", "head 2\n", "head 2\n"}[i]; !bytes.HasPrefix(b, []byte(want)) {
			t.Errorf("%s begins with %.10q, want %q", name, b, want)
		}
	}
	if text, _ := content(t, path); strings.Count(text, "head 2\n") != 3 || strings.Count(text, "head 1\n") != 2 {
		t.Errorf("%d and %d heads", strings.Count(text, "head 1\n"), strings.Count(text, "head 2\n"))
	}
}

// What stands in the place of a file that was moved away may rest on another head, and
// a file that was cut short has none any more.
func TestAFileThatIsOpenedAnewGetsTheHeadWhateverIsInIt(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"another one": func(path string) error {
			return errors.Join(os.Rename(path, path+".moved"), os.WriteFile(path, []byte("other\n"), 0o600))
		},
		"one that was cut short and written to since": func(path string) error {
			return os.WriteFile(path, []byte("other\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			r := open(t, path, MinSize, nil)
			r.SetHead([]byte("head\n"))
			write(t, r, []byte("first\n"))
			if err := errors.Join(spoil(path), r.Reopen()); err != nil {
				t.Fatal(err)
			}
			r.SetHead([]byte("head\n"))
			write(t, r, []byte("line\n"))
			if text, err := os.ReadFile(path); err != nil || string(text) != "other\nhead\nline\n" {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
}

// What follows rests on the head, so it is written as soon as it can be.
func TestAHeadThatCouldNotBeWrittenComesBeforeWhatIsWrittenNext(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, r *Ring)
		want  string
	}{
		"of a new file, half of it": {func(t *testing.T, r *Ring) {
			t.Helper()
			if _, err := r.file.WriteString("he"); err != nil {
				t.Fatal(err)
			}
			r.SetHead([]byte("head\n"))
			r.written, r.torn = 2, true
		}, "he\nhead\nline\n"},
		"of a file that goes on": {func(t *testing.T, r *Ring) {
			t.Helper()
			r.SetHead([]byte("former\n"))
			write(t, r, []byte("first\n"))
			good := r.file
			bad, err := os.Open(good.Name())
			if err != nil {
				t.Fatal(err)
			}
			defer bad.Close()
			r.file = bad // which takes nothing
			r.SetHead([]byte("head\n"))
			if _, err := r.Write([]byte("lost\n")); err == nil {
				t.Fatal("it was written")
			}
			r.file = good
		}, "former\nfirst\nhead\nline\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			r := open(t, path, MinSize, nil)
			test.spoil(t, r)
			write(t, r, []byte("line\n"))
			if text, _ := content(t, path); text != test.want {
				t.Errorf("got %q, want %q", text, test.want)
			}
		})
	}
}

func TestRingTellsOnceThatItCannotWriteAndRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "here")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var told []error
	r := open(t, filepath.Join(dir, "log"), MinSize, func(err error) { told = append(told, err) })
	write(t, r, line(0))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var lost uint64
	for i := range 300 { // once a file is full there is no place for the next
		if _, err := r.Write(line(i)); err != nil {
			lost++
		}
	}
	if s := r.Status(); len(told) != 1 || told[0] == nil || lost == 0 || s.Lost != lost || s.Err == nil {
		t.Fatalf("told %v, lost %d, status %+v", told, lost, s)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.retry = r.retry.Add(-retryEvery)
	r.mu.Unlock()
	write(t, r, line(7))
	if s := r.Status(); len(told) != 2 || told[1] != nil || s.Err != nil || s.Lost != lost {
		t.Errorf("told %v, status %+v", told, s)
	}
}

// A write that fails half-way, as on a full disk, leaves a torn line: the next one
// begins on a line of its own.
func TestTornLineEndsBeforeTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := open(t, path, MinSize, nil)
	write(t, r, []byte("one\n"))
	if _, err := r.file.WriteString("tw"); err != nil {
		t.Fatal(err)
	}
	r.torn = true
	write(t, r, []byte("three\n"))
	if text, _ := content(t, path); text != "one\ntw\nthree\n" {
		t.Errorf("got %q", text)
	}
}

func TestRingIsOneProcessesAndPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	r := open(t, path, MinSize, nil)
	if _, err := Open(path, MinSize, nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("twice: got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("x\n")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path: "mode 0644", link: "is a link", filepath.Join(dir, "none", "log"): "no such file", dir: "is a directory"} {
		if _, err := Open(name, MinSize, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}
