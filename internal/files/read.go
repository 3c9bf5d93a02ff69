package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var errNoFile = errors.New("is no file")

// Read returns what a file holds, or the one that a link leads to. Whatever stands at the
// path, it does not wait: a pipe, to which nobody may ever write, a device or a directory
// is an error, and so is a file of more than most bytes.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text bytes.Buffer
	if info, err := f.Stat(); err == nil { // so that a large one is in memory once
		text.Grow(int(min(info.Size(), most)) + bytes.MinRead)
	}
	switch _, err := text.ReadFrom(io.LimitReader(f, most+1)); {
	case err != nil:
		return nil, err
	case int64(text.Len()) > most:
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text.Bytes(), nil
}

// Open opens a file, or the one that a link leads to, for reading. The caller closes it.
// It does not wait, as [Read]; what is no file is an error that [os.IsNotExist] does
// not know.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which does not wait for the writer of a pipe
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: errNoFile}
	}
	if err != nil {
		_ = f.Close() // nothing was read
		return nil, err
	}
	return f, nil
}
