package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lictor/internal/durable"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// Write does all ops or none.
func (d *Store) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	for _, op := range ops {
		if IsLeftover(op.Name) && op.Verb == store.Put {
			return 0, fmt.Errorf("%w: a file named %q is taken for a copy that an editor left, and not read", store.ErrInvalid, op.Name)
		}
	}
	unlock, err := d.lockForWriting(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mirror.CheckEmptying(ops); err != nil {
		return 0, err
	}
	asked := ops
	ops = d.mirror.WithMarks(ops)
	if err := d.completeLocked(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	var unread error
	index := d.nextLocked()
	changes, err := mirror.Plan(ops, index, func(kind, name string) (store.Object, error) {
		o, err := d.current(kind, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			unread = err
		}
		return o, err
	})
	switch {
	case unread != nil:
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, unread)
	case err != nil:
		return 0, mirror.AsAsked(err, asked)
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
		d.mirror.SetMarks(d.mirror.MarksAfter(ops, index))
		d.publishLocked(append(changes, d.released(ops, index)...))
	}
	return index, nil
}

// released are the deletions of what was held and need not be any more: a mark
// for it was written.
func (d *Store) released(ops []store.Op, index uint64) (changes []store.Change) {
	for _, op := range ops {
		if o, held := d.mirror.HeldObject(op.Kind, op.Name); held && op.Verb == store.Delete {
			changes = append(changes, store.Change{Deleted: true, Object: store.Object{Kind: o.Kind, Name: o.Name, Index: index, CreateIndex: o.CreateIndex}})
		}
	}
	return changes
}

// noteFiles remembers the files that were just written, so that they are not
// read again, unless somebody was there already.
func (d *Store) noteFiles(changes []store.Change) {
	marks := map[string]fileMark{}
	for _, c := range changes {
		info, err := os.Stat(filepath.Join(d.dir, c.Key()))
		if err == nil && info.ModTime().Equal(timeOf(c.Index)) && info.Size() == int64(len(c.Value)) {
			marks[c.Key()] = markOf(info)
		} else {
			marks[c.Key()] = fileMark{}
		}
	}
	d.setMarks(marks)
}

// commit writes the files: all new ones beside the old ones first, which is
// where a full disk is noticed and nothing has changed yet.
func (d *Store) commit(index uint64, changes []store.Change, ops []store.Op) (err error) {
	j := journal{Index: index}
	defer func() {
		if err != nil && !errors.Is(err, store.ErrNotSeen) {
			d.discard(j)
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, withoutPath(err))
		}
	}()
	for _, c := range changes {
		if err := d.stage(&j, c.Key(), c.Value, c.Deleted); err != nil {
			return err
		}
	}
	for _, op := range ops {
		if op.Kind == "" && op.Verb != store.Verify {
			if err := d.stage(&j, op.Name, op.Value, op.Verb == store.Delete); err != nil {
				return err
			}
		}
	}
	if len(j.Changes) > 1 {
		if err := d.writeJournal(j); err != nil && !d.hasJournal() {
			return err
		}
	}
	dirs, err := d.steps(j)
	switch {
	case err == nil:
		err = d.settle(j, dirs)
	case len(j.Changes) == 1:
		return err // and nothing was done
	}
	if err != nil {
		return fmt.Errorf("%w: it stands, and what is missing of it is done later: %w", store.ErrNotSeen, err)
	}
	return nil
}

// stage writes the new file of a key beside the old one and adds both to the journal.
func (d *Store) stage(j *journal, key string, value []byte, deleted bool) error {
	step := journaled{Key: key, Deleted: deleted}
	if !deleted {
		path, _, err := resolve(filepath.Join(d.dir, key))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		mode := os.FileMode(0o640)
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
		staged, err := durable.Stage(filepath.Dir(path), value, mode, timeOf(j.Index))
		if err != nil {
			return err
		}
		step.File = filepath.Base(staged)
	}
	j.Changes = append(j.Changes, step)
	return nil
}

// discard removes what was staged in vain.
func (d *Store) discard(j journal) {
	for _, c := range j.Changes {
		if c.File == "" {
			continue
		}
		if path, _, err := resolve(filepath.Join(d.dir, c.Key)); err == nil {
			_ = os.Remove(filepath.Join(filepath.Dir(path), c.File)) // already failing
		}
	}
}

// current returns an object as its file is now.
func (d *Store) current(kind, name string) (store.Object, error) {
	path := filepath.Join(d.dir, store.Key(kind, name))
	value, mark, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !durable.Exists(path) {
		if _, err := os.Stat(d.dir); err != nil {
			return store.Object{}, err
		}
		return store.Object{}, store.ErrNotFound
	}
	if err != nil {
		return store.Object{}, err
	}
	o := store.Object{Kind: kind, Name: name, Value: value, Index: stampOf(mark.modified)}
	o.CreateIndex = o.Index
	if old, err := d.mirror.Get(kind, name); err == nil {
		o.CreateIndex = old.CreateIndex
		if known, ok := d.mark(o.Key()); ok && known == mark {
			o.Index = old.Index // also where the file could not be stamped
		}
	}
	return o, nil
}
