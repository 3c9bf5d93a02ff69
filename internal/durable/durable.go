// Package durable keeps files in a data directory: each belongs to one place,
// which its head names, and a crash leaves the former or the new content.
package durable

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// LockName is the file in a data directory that its owner has locked.
const LockName = ".lock"

// Lock makes a data directory that of this process, until the returned function
// is called or the process ends. A directory that another process has is an
// error: two that write the same files would mix what they keep. One that is
// about to end, as a former life that was just killed, is given patience.
func Lock(dir string, patience time.Duration) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(lockPoll) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		taken := errors.Is(err, syscall.EWOULDBLOCK)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil // releases the lock as well
		case taken && time.Now().Before(end):
			continue
		case taken:
			err = fmt.Errorf("another process uses %s; each lictor needs a directory of its own", dir)
		}
		_ = f.Close() // nothing was written
		return nil, err
	}
}

// lockPoll is between attempts to lock a directory.
const lockPoll = 20 * time.Millisecond

// FileFor returns the path of the file in dir that keeps something of a place:
// another place has another file. The place should stand in the file as well.
func FileFor(dir, name, place string) string {
	sum := sha256.Sum256([]byte(place))
	end := filepath.Ext(name)
	return filepath.Join(dir, strings.TrimSuffix(name, end)+"-"+hex.EncodeToString(sum[:6])+end)
}

// Replace puts data in the place of a file so that a reader, and a start after a
// crash, sees the former or the new content. With a time the file gets it as
// its modification time.
func Replace(path string, data []byte, mode os.FileMode, at time.Time) error {
	staged, err := Stage(filepath.Dir(path), data, mode, at)
	if err != nil {
		return err
	}
	if err := os.Rename(staged, path); err != nil {
		_ = os.Remove(staged) // already failing
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// StagedPrefix is that of files which are not in their place yet.
const StagedPrefix = ".new-"

// Stage writes a file in dir under a name of its own, to be renamed later, and
// returns its path.
func Stage(dir string, data []byte, mode os.FileMode, at time.Time) (path string, err error) {
	f, err := os.CreateTemp(dir, StagedPrefix+"*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // already failing
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if !at.IsZero() {
		err = os.Chtimes(f.Name(), at, at)
	}
	return f.Name(), err
}

// SyncDir makes renames in dir survive a crash.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Exists reports whether something has this path, be it a link that leads nowhere.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}
