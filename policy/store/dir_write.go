package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// journal is a write of several objects that stands but may not be done yet.
type journal struct {
	Index   uint64
	Changes []journaled
}

type journaled struct {
	Key     string
	Value   []byte
	Deleted bool `json:",omitempty"`
}

// Write does all ops or none.
func (d *Dir) Write(ctx context.Context, ops []Op) (uint64, error) {
	if err := checkOps(ops); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mirror.checkEmptying(ops); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	unlock, err := d.lock()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer unlock()
	var unread error
	index := d.next()
	changes, err := plan(ops, index, func(kind, name string) (Object, error) {
		o, err := d.current(kind, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			unread = err
		}
		return o, err
	})
	switch {
	case unread != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, unread)
	case err != nil:
		return 0, err
	}
	current := d.txn.Equal(d.lastTxn())
	if err := d.commit(index, changes, ops); err != nil {
		return 0, err
	}
	if current {
		d.txn = d.lastTxn() // ours need not be looked for
	}
	if d.mirror.Status().Loaded {
		d.noteFiles(changes)
		d.publish(changes)
	}
	return index, nil
}

// noteFiles remembers the files that were just written, so that they are not
// read again, unless somebody was there already.
func (d *Dir) noteFiles(changes []Change) {
	for _, c := range changes {
		info, err := os.Stat(filepath.Join(d.dir, c.Key()))
		if err == nil && info.ModTime().Equal(timeOf(c.Index)) && info.Size() == int64(len(c.Value)) {
			d.files[c.Key()] = markOf(info)
		} else {
			delete(d.files, c.Key())
		}
	}
}

// commit writes the files.
func (d *Dir) commit(index uint64, changes []Change, ops []Op) error {
	j := journal{Index: index}
	for _, c := range changes {
		j.Changes = append(j.Changes, journaled{Key: c.Key(), Value: c.Value, Deleted: c.Deleted})
	}
	for _, op := range ops {
		if op.Kind == "" && op.Verb != Verify {
			j.Changes = append(j.Changes, journaled{Key: op.Name, Value: op.Value, Deleted: op.Verb == Delete})
			d.mirror.setCleared(op.Verb == Put)
		}
	}
	if len(j.Changes) > 1 {
		text, err := json.Marshal(j)
		if err == nil {
			err = replaceFile(filepath.Join(d.dir, journalName), text, 0o600, timeOf(index))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	err := d.carryOut(j)
	switch {
	case err != nil && len(j.Changes) > 1:
		return fmt.Errorf("%w: the journal stands, it is carried out later: %w", ErrNotSeen, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// carryOut does what a journal says, as often as it is called, and removes it.
func (d *Dir) carryOut(j journal) error {
	dirs := map[string]bool{}
	for _, c := range j.Changes {
		path := filepath.Join(d.dir, c.Key)
		if c.Deleted {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			dirs[filepath.Dir(path)] = true
			continue
		}
		if err := putFile(path, c, j.Index); err != nil {
			return err
		}
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	return os.Remove(filepath.Join(d.dir, journalName))
}

// putFile writes one document, with the rights of the one it replaces.
func putFile(path string, c journaled, index uint64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	mode := os.FileMode(0o640)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return replaceFile(path, c.Value, mode, timeOf(index))
}

// current returns an object as its file is now.
func (d *Dir) current(kind, name string) (Object, error) {
	value, mark, err := readFile(filepath.Join(d.dir, keyOf(kind, name)))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.dir); err != nil {
			return Object{}, err
		}
		return Object{}, ErrNotFound
	}
	if err != nil {
		return Object{}, err
	}
	o := Object{Kind: kind, Name: name, Value: value, Index: stampOf(mark.modified)}
	o.CreateIndex = o.Index
	if old, err := d.mirror.get(kind, name); err == nil {
		o.CreateIndex = old.CreateIndex
		if d.files[o.Key()] == mark {
			o.Index = old.Index // also where the file could not be stamped
		}
	}
	return o, nil
}

// lock excludes other processes, and completes what one of them left half-way.
// A directory that may only be read has no writers and needs no lock.
func (d *Dir) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return func() {}, nil
	case err != nil:
		return nil, err
	}
	unlock = func() { _ = f.Close() } // releases the lock as well
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		unlock()
		return nil, err
	}
	if err := d.recover(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// recover carries out a journal that was left behind.
func (d *Dir) recover() error {
	text, err := os.ReadFile(filepath.Join(d.dir, journalName))
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
		if kind, name, _ := splitKey(c.Key); c.Key != ClearedName && !validKey(kind, name) {
			return fmt.Errorf("%s: %q is not a key", journalName, c.Key)
		}
	}
	d.log.Warn("completing a policy change that was left half-way", "path", d.dir, "objects", len(j.Changes))
	return d.carryOut(j)
}
