package replay

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"lictor/internal/files"
	"lictor/internal/ring"
)

// Log is the decision log at a path, as far as it goes when it is opened.
type Log struct {
	io.Reader
	Size  int64 // of all that will be read
	files []*os.File
}

// OpenLog opens a decision log, the oldest file first; of what was not written to since
// a time nothing is read. The newest file is the one at path; a path that is no file is
// an error. The log may be written to meanwhile.
func OpenLog(path string, since time.Time) (*Log, error) {
	names, err := ring.Files(path)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	l := &Log{}
	var parts []io.Reader
	for _, name := range names {
		f, err := files.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was the oldest
		}
		if err != nil {
			_ = l.Close()
			return nil, err
		}
		l.files = append(l.files, f)
		info, err := f.Stat()
		switch {
		case err == nil && info.ModTime().Before(since):
			continue
		}
		if err != nil {
			_ = l.Close()
			return nil, err
		}
		l.Size += info.Size()
		// What follows a torn last line is a line of its own.
		parts = append(parts, io.LimitReader(f, info.Size()), strings.NewReader("\n"))
	}
	l.Reader = io.MultiReader(parts...)
	return l, nil
}

// Close closes the files. It returns no error: nothing was written.
func (l *Log) Close() error {
	for _, f := range l.files {
		_ = f.Close()
	}
	return nil
}
