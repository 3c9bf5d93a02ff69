package dir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lictor/internal/files"
)

// MaxFile is the size past which a file is taken for something else than a document.
const MaxFile = 16 << 20

// lastTxn is when several objects were written at once last.
func (d *Store) lastTxn() time.Time {
	info, err := os.Stat(filepath.Join(d.dir, lockName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// nextLocked returns an index above all that were seen. d.mu is held.
func (d *Store) nextLocked() uint64 {
	d.index = max(d.index+1, stampOf(time.Now()))
	return d.index
}

// stampLocked gives a file a modification time above all that were seen. If that is
// not allowed, only the index is new. d.mu is held.
func (d *Store) stampLocked(key string, mark fileMark) (uint64, fileMark) {
	index := d.nextLocked()
	at := timeOf(index)
	if err := os.Chtimes(filepath.Join(d.dir, key), at, at); err != nil {
		d.log.Debug("cannot stamp a policy document", "key", key, "error", err)
		return index, mark
	}
	mark.modified = at // its stamp is another one by now, so that it is read once more: somebody may have written meanwhile
	return index, mark
}

func stampOf(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 1)) } // positive

func timeOf(index uint64) time.Time { return time.UnixMicro(int64(index)) } // made by stampOf

// readFile reads a file that does not change while it is read.
func readFile(path string) ([]byte, fileMark, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which does not wait for the writer of a pipe
	if err != nil {
		return nil, fileMark{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	for range 3 {
		before, err := f.Stat()
		if err != nil {
			return nil, fileMark{}, err
		}
		if !before.Mode().IsRegular() {
			return nil, fileMark{}, errors.New("is no regular file")
		}
		if before.Size() > MaxFile {
			return nil, fileMark{}, fmt.Errorf("%d bytes, want at most %d", before.Size(), MaxFile)
		}
		value, err := io.ReadAll(io.NewSectionReader(f, 0, MaxFile))
		if err != nil {
			return nil, fileMark{}, err
		}
		after, err := f.Stat()
		if err != nil {
			return nil, fileMark{}, err
		}
		if mark := markOf(after); mark == markOf(before) && int64(len(value)) == mark.size {
			return value, mark, nil
		}
	}
	return nil, fileMark{}, errors.New("it changes all the time")
}

func markOf(info os.FileInfo) fileMark {
	return fileMark{files.StampIn(info), info.ModTime(), info.Size()}
}
