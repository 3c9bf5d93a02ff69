package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lictor/internal/durable"
	"lictor/policy/store"
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
func (d *Store) tryLock() (unlock func(), err error) {
	unlock, err = durable.TryLock(filepath.Join(d.dir, lockName))
	return unlock, lockError(err)
}

func lockError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return errNoLock
	case errors.Is(err, durable.ErrLocked):
		return errLocked
	}
	return err
}

// lockForWriting waits for the lock, in turn with the other writers of this
// process, but not for ever: who holds it may be stopped.
func (d *Store) lockForWriting(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, errLocked)
	defer cancel()
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	select {
	case d.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, context.Cause(ctx))
	}
	release, err := d.tryLock()
	d.noteLock(err)
	if errors.Is(err, errLocked) {
		release, err = durable.WaitLock(ctx, filepath.Join(d.dir, lockName), lockPoll)
		err = lockError(err)
		d.noteLock(err)
	}
	if err != nil {
		<-d.writing
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return func() { release(); <-d.writing }, nil
}

// lookAtLock notes whether somebody else has the lock, and since when. Writers
// have it for a moment only.
func (d *Store) lookAtLock() {
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
func (d *Store) noteLock(err error) {
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
func (d *Store) lockProblem() string {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	if d.locked.IsZero() || time.Since(d.locked) < lockedAfter {
		return ""
	}
	return fmt.Sprintf("another process has %s locked, so nothing can be written by way of lictor", filepath.Join(d.dir, lockName))
}
