// Package durable keeps the files that must survive: a crash leaves the former
// or the new content, and a directory belongs to one process at a time. Nothing
// else in lictor renames or locks files.
package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
// is called or the process ends, and removes what an earlier life staged there
// and did not put in its place. A directory that another process has is an
// error: two that write the same files would mix what they keep. One that is
// about to end, as a former life that was just killed, is given patience, for
// which Lock blocks.
func Lock(dir string, patience time.Duration) (release func(), err error) {
	release, err = LockFile(filepath.Join(dir, LockName), patience)
	if errors.Is(err, ErrLocked) {
		err = fmt.Errorf("another process uses %s; each lictor needs a directory of its own", dir)
	}
	if err != nil {
		return nil, err
	}
	left, _ := filepath.Glob(filepath.Join(dir, StagedPrefix+"*")) // the pattern is good
	for _, path := range left {
		_ = os.Remove(path) // it is in nobody's way
	}
	return release, nil
}

// LockFile is [TryLock] of a file that a former life is given patience to let go.
func LockFile(path string, patience time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return WaitLock(ctx, path, 20*time.Millisecond)
}

// WaitLock is [TryLock] again and again, until it does not return ErrLocked or ctx
// ends.
func WaitLock(ctx context.Context, path string, every time.Duration) (release func(), err error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if release, err = TryLock(path); !errors.Is(err, ErrLocked) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// ErrLocked is what TryLock returns where somebody else has the lock.
var ErrLocked = errors.New("another process has it locked")

// TryLock locks a file, which it makes if there is none, until the returned
// function is called or the process ends. It does not wait.
func TryLock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return func() { _ = f.Close() }, nil // releases the lock as well
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, err
}

// FileFor returns the path of the file in dir that keeps something of a place:
// another place has another file. The place should stand in the file as well.
func FileFor(dir, name, place string) string {
	sum := sha256.Sum256([]byte(place))
	end := filepath.Ext(name)
	return filepath.Join(dir, strings.TrimSuffix(name, end)+"-"+hex.EncodeToString(sum[:6])+end)
}

// Replace puts data in the place of a file so that a reader, and a start after a
// crash, sees the former or the new content. With a time the file gets it as
// its modification time; the zero time is now. After an error the former content
// is there, unless it is only not sure to survive a crash. It blocks for as long
// as the disk takes.
func Replace(path string, data []byte, mode os.FileMode, at time.Time) error {
	staged, err := Stage(filepath.Dir(path), data, mode, at)
	if err != nil {
		return err
	}
	if err := Place(staged, path); err != nil {
		_ = os.Remove(staged) // already failing
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Place puts a staged file in its place, in the same file system. It lasts once
// [SyncDir] was called for the directory. After an error the former content is there:
// a file system of the network may do a rename, and lose the answer.
func Place(staged, path string) error {
	before, unknown := os.Lstat(staged)
	err := rename(staged, path)
	if err == nil || unknown != nil {
		return err
	}
	if now, gone := os.Lstat(path); gone == nil && os.SameFile(before, now) {
		return nil
	}
	return err
}

var rename = os.Rename // but in tests

// Append adds data to a file that is there. A crash may leave a part of it,
// which the reader must be able to tell. A pipe in its place is an error, and keeps
// nobody waiting for its reader.
func Append(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// StagedPrefix is that of files which are not in their place yet.
const StagedPrefix = ".new-"

// Stage writes a file in dir under a name of its own, for [Place], and returns
// its path. The caller removes it if it is not wanted after all.
func Stage(dir string, data []byte, mode os.FileMode, at time.Time) (path string, err error) {
	return StageAs(dir, mode, at, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// StageAs is [Stage] of a file that write writes, piece by piece; its error is that
// of StageAs.
func StageAs(dir string, mode os.FileMode, at time.Time, write func(io.Writer) error) (path string, err error) {
	f, err := os.CreateTemp(dir, StagedPrefix+"*")
	if err != nil {
		return "", err
	}
	staged := false
	defer func() {
		if !staged { // also after a panic of write
			_, _ = f.Close(), os.Remove(f.Name()) // already failing
		}
	}()
	if err = write(f); err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil && !at.IsZero() {
		err = os.Chtimes(f.Name(), at, at)
	}
	if err != nil {
		return "", err
	}
	staged = true
	return f.Name(), nil
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
