package dir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/policy/store"
)

// journal is a write of several objects that stands but may not be done yet.
type journal struct {
	Index   uint64
	Changes []journaled
}

// journaled is one step of a journal: a file to be renamed, or removed.
type journaled struct {
	Key     string
	File    string `json:",omitempty"` // the new one, in the folder of the old one
	Deleted bool   `json:",omitempty"`
	// Value is what journals of the first version had in place of File.
	Value []byte `json:",omitempty"`
}

// maxJournal is the most bytes of a journal, of which older ones have values in them.
const maxJournal = 4 << 30

func (d *Store) journalPath() string { return filepath.Join(d.dir, journalName) }

func (d *Store) hasJournal() bool { return durable.Exists(d.journalPath()) }

func (d *Store) writeJournal(j journal) error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return durable.Replace(d.journalPath(), text, 0o600, timeOf(j.Index))
}

// carryOut does what a journal says, as often as it is called, and removes it.
func (d *Store) carryOut(j journal) error {
	dirs, err := d.steps(j)
	if err != nil {
		return err
	}
	return d.settle(j, dirs)
}

// steps does what a journal says, and returns the folders that it changed.
func (d *Store) steps(j journal) (dirs map[string]bool, err error) {
	dirs = map[string]bool{}
	for _, c := range j.Changes {
		dir, err := d.step(c, j.Index)
		if err != nil {
			return nil, err
		}
		dirs[dir] = true
	}
	return dirs, nil
}

// settle makes what was done survive a crash, and removes the journal.
func (d *Store) settle(j journal, dirs map[string]bool) error {
	for dir := range dirs {
		if err := durable.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(j.Changes) <= 1 {
		return nil
	}
	at := timeOf(j.Index)
	if err := os.Chtimes(filepath.Join(d.dir, lockName), at, at); err != nil {
		return err
	}
	return os.Remove(d.journalPath())
}

// step does one step of a journal and returns the folder that it changed.
func (d *Store) step(c journaled, index uint64) (dir string, err error) {
	path := filepath.Join(d.dir, c.Key)
	if c.Deleted { // of a link: the link
		if err = os.Remove(path); !durable.Exists(path) {
			err = nil // it is gone, whatever was told of it
		}
		return filepath.Dir(path), err
	}
	if path, _, err = resolve(path); err != nil {
		return "", err
	}
	dir = filepath.Dir(path)
	if c.File == "" {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return "", err
		}
		return dir, durable.Replace(path, c.Value, 0o640, timeOf(index))
	}
	if err = durable.Place(filepath.Join(dir, c.File), path); errors.Is(err, fs.ErrNotExist) && durable.Exists(path) {
		err = nil // done before
	}
	return dir, err
}

// completedLocked sees to it that no journal stands. If wait is
// not 0, somebody else is completing one: look again after it. d.mu is held.
func (d *Store) completedLocked() (wait time.Duration, err error) {
	if !d.hasJournal() {
		return 0, nil
	}
	unlock, err := d.tryLock()
	switch {
	case errors.Is(err, errLocked):
		return d.patience(errors.New("somebody who has " + lockName + " locked is in the middle of a change"))
	case errors.Is(err, errNoLock):
		return d.patience(errors.New("a policy change was left half-way, and only who may write there can complete it"))
	case err != nil:
		return 0, err
	}
	defer unlock()
	return 0, d.completeLocked()
}

// patience gives somebody else a moment to complete a journal, after which err is why it
// stands. Another journal has a moment of its own. d.mu is held.
func (d *Store) patience(err error) (wait time.Duration, _ error) {
	info, gone := os.Lstat(d.journalPath())
	if gone != nil {
		return lockPoll, nil
	}
	if now := markOf(info); now != d.awaited {
		d.awaited, d.waitedOn = now, time.Now()
	}
	if time.Since(d.waitedOn) < lockedAfter {
		return lockPoll, nil
	}
	return 0, err
}

// completeLocked carries out a journal that was left behind. d.mu and the lock of
// the directory are held.
func (d *Store) completeLocked() error {
	text, err := files.Read(d.journalPath(), maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var j journal
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("%s: %w", journalName, err)
	}
	for _, c := range j.Changes {
		if kind, name, _ := store.SplitKey(c.Key); !store.IsMark(c.Key) && !store.ValidKey(kind, name) {
			return fmt.Errorf("%s: %q is not a key", journalName, c.Key)
		}
		if c.File != "" && (!strings.HasPrefix(c.File, durable.StagedPrefix) || strings.ContainsRune(c.File, '/')) {
			return fmt.Errorf("%s: %q is not a file of ours", journalName, c.File)
		}
	}
	d.log.Warn("completing a policy change that was left half-way", "path", d.dir, "objects", len(j.Changes))
	if err := d.carryOut(j); err != nil {
		return fmt.Errorf("a policy change that was left half-way cannot be completed: %w", withoutPath(err))
	}
	return nil
}

// tidy completes what an earlier life left half-way, and removes the new files
// that it left before there was a journal.
func (d *Store) tidy() {
	unlock, err := d.tryLock()
	if err != nil {
		return // the reading tells it, if it matters
	}
	defer unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.completeLocked() != nil {
		return // the reading tells it
	}
	t, err := lookAt(d.dir)
	if err != nil {
		return
	}
	for rel := range t.folders {
		left, _ := filepath.Glob(filepath.Join(d.dir, rel, durable.StagedPrefix+"*")) // the pattern is good
		for _, path := range left {
			if err := os.Remove(path); err == nil {
				d.log.Info("removed a new file that was never put in its place", "path", path)
			}
		}
	}
}
