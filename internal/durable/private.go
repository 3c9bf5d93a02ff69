package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// AppendPrivate opens a file to write at its end, and makes it, readable by its owner
// alone, if there is none. What others could have put in its place is an error that
// says what to do: a link, a file that others own or may read, or what is no regular
// file. It does not wait for whoever would read a pipe.
func AppendPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s: is a link, want a file", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = private(path, info)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

func private(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is no regular file", path)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: belongs to the user %d, want %d, whom lictor runs as", path, s.Uid, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: others may read or write it (mode %04o), want 0600", path, mode)
	}
	return nil
}
