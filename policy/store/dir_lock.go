package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lictor/internal/consul"
	"lictor/internal/durable"
)

const (
	lockPoll    = 5 * time.Millisecond // between attempts to get the lock
	lockWait    = 5 * time.Second      // a Write waits no longer for it
	lockedAfter = time.Second          // somebody who has it for so long is told of
)

var (
	errLocked = fmt.Errorf("the policy directory: %w", durable.ErrLocked)
	errNoLock = errors.New("the policy directory may only be read")
)

// tryLock excludes the writers of other processes, if none of them has the lock.
func (d *Dir) tryLock() (unlock func(), err error) {
	unlock, err = durable.TryLock(filepath.Join(d.dir, lockName))
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return nil, errNoLock
	case errors.Is(err, durable.ErrLocked):
		return nil, errLocked
	}
	return unlock, err
}

// lockForWriting waits for the lock, in turn with the other writers of this
// process, but not for ever: who holds it may be stopped.
func (d *Dir) lockForWriting(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, errLocked)
	defer cancel()
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	select {
	case d.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	for {
		release, err := d.tryLock()
		d.noteLock(err)
		switch {
		case err == nil:
			return func() { release(); <-d.writing }, nil
		case errors.Is(err, errLocked) && consul.Sleep(ctx, lockPoll) == nil:
			continue
		}
		<-d.writing
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

// lookAtLock notes whether somebody else has the lock, and since when. Writers
// have it for a moment only.
func (d *Dir) lookAtLock() {
	select {
	case d.writing <- struct{}{}:
	default:
		return // one of ours has it, or waits for it
	}
	defer func() { <-d.writing }()
	unlock, err := d.tryLock()
	if err == nil {
		unlock()
	}
	d.noteLock(err)
}

// noteLock notes the outcome of an attempt to get the lock.
func (d *Dir) noteLock(err error) {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	switch {
	case !errors.Is(err, errLocked):
		d.locked = time.Time{}
	case d.locked.IsZero():
		d.locked = time.Now()
	}
}

// lockProblem says that somebody else has had the lock for too long, if so.
func (d *Dir) lockProblem() string {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	if d.locked.IsZero() || time.Since(d.locked) < lockedAfter {
		return ""
	}
	return fmt.Sprintf("another process has %s locked, so nothing can be written by way of lictor", filepath.Join(d.dir, lockName))
}
