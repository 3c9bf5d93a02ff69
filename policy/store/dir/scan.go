package dir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lictor/internal/durable"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// read looks at some keys, or at everything, and publishes what changed. It
// returns when to come again, 0 if all is read. watch is called with what was
// found before it is believed; if it returns true it is looked at anew.
func (d *Store) read(keys map[string]bool, all, patient bool, watch func(*tree) bool) (again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if wait, err := d.completedLocked(); err != nil {
		d.reportLocked(err)
		return retryAfter
	} else if wait > 0 {
		return wait
	}
	s := &scan{d: d, patient: patient, seen: map[string]bool{}, marks: map[string]fileMark{}, unread: map[string]unread{}}
	txn := d.lastTxn()
	if all = all || !txn.Equal(d.txn) || len(d.links) > 0 || len(*d.unread.Load()) > 0 || s.look(keys); all {
		again, err := s.everything(watch)
		switch {
		case err != nil:
			d.vanishedLocked(err)
			return retryAfter
		case again:
			return settleFor
		}
	}
	if s.unsettled {
		return settleFor
	}
	if !txn.Equal(d.lastTxn()) || d.hasJournal() {
		return time.Millisecond // somebody wrote meanwhile, this may be half of it
	}
	d.txn = txn
	if all {
		s.missing(d.mirror.SetMarks(d.readMarks()))
		d.folders, d.links = s.tree.folders, s.tree.links
		d.unread.Store(&s.unread)
		d.tellIgnoredLocked(s.tree.ignored)
	}
	d.setMarks(s.marks)
	d.publishLocked(s.changes)
	d.showStateLocked()
	return 0
}

// readMarks returns the marks that are there.
func (d *Store) readMarks() mirror.Marks {
	names, _ := filepath.Glob(filepath.Join(d.dir, store.ClearedName+"*")) // a directory that cannot be read has none
	found := mirror.Marks{}
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && store.IsMark(filepath.Base(name)) {
			found[filepath.Base(name)] = stampOf(info.ModTime())
		}
	}
	return found
}

// scan is one look at the directory. What it found holds once it is published.
type scan struct {
	d         *Store
	tree      *tree // nil: only some keys were looked at
	patient   bool
	unsettled bool            // a file is being written
	seen      map[string]bool // keys that are there, readable or not
	marks     map[string]fileMark
	unread    map[string]unread
	changes   []store.Change
}

// look looks at the files of some keys. It reports whether the whole is to be
// looked at instead, as there is more than a file that came, changed or went.
func (s *scan) look(keys map[string]bool) (whole bool) {
	for key := range keys {
		if hidden(key) || IsLeftover(filepath.Base(key)) {
			continue
		}
		path := filepath.Join(s.d.dir, key)
		if folder, err := folderAt(filepath.Dir(path)); err != nil || folder != s.d.folders[filepath.Dir(key)] {
			return true
		}
		switch info, err := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist):
			s.gone(key)
		case err != nil || !info.Mode().IsRegular():
			return true
		default:
			s.file(key)
		}
	}
	return len(s.unread) > 0
}

// everything looks at every file. again: before that, something new is to be
// waited for.
func (s *scan) everything(watch func(*tree) bool) (again bool, err error) {
	clear(s.seen)
	clear(s.marks)
	clear(s.unread)
	s.changes, s.unsettled = nil, false
	for range 3 {
		if s.tree, err = lookAt(s.d.dir); err != nil {
			return false, err
		}
		if !watch(s.tree) {
			break
		}
	}
	for key := range s.tree.files {
		s.file(key)
	}
	for key, why := range s.tree.broken {
		if s.patient && (*s.d.unread.Load())[key].why != why.Error() {
			s.patientWith(key)
		}
		s.broken(key, why)
	}
	return s.unsettled, nil
}

// patientWith leaves what is being replaced its moment: a link is often taken
// away and made anew.
func (s *scan) patientWith(key string) {
	if info, err := os.Lstat(filepath.Join(s.d.dir, key)); err == nil {
		if age := time.Since(info.ModTime()); age >= 0 && age < settleFor {
			s.unsettled = true
		}
	}
}

// file looks at one file and notes how it changed.
func (s *scan) file(key string) {
	path := filepath.Join(s.d.dir, key)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !durable.Exists(path):
		return
	case err != nil:
		s.broken(key, err)
		return
	}
	s.seen[key] = true
	mark := markOf(info)
	if known, ok := s.d.mark(key); ok && known == mark && !s.held(key) {
		return
	}
	if age := time.Since(info.ModTime()); s.patient && age >= 0 && age < settleFor {
		s.unsettled = true
		return
	}
	value, mark, err := readFile(path)
	if err != nil {
		s.broken(key, err)
		return
	}
	s.changed(key, value, mark)
}

func (s *scan) held(key string) bool {
	o, err := s.d.known(key)
	return err == nil && o.Held
}

// changed notes a file that is not as it was.
func (s *scan) changed(key string, value []byte, mark fileMark) {
	d := s.d
	kind, name, ok := store.SplitKey(key)
	if !ok {
		return
	}
	index := stampOf(mark.modified)
	old, err := d.mirror.Get(kind, name)
	if err == nil && index <= old.Index && !bytes.Equal(value, old.Value) {
		index, mark = d.stampLocked(key, mark)
	}
	d.index = max(d.index, index)
	s.marks[key] = mark
	o := store.Object{Kind: kind, Name: name, Value: value, Index: index, CreateIndex: index}
	if err == nil {
		o.CreateIndex = old.CreateIndex
		if index <= old.Index && !old.Held && bytes.Equal(value, old.Value) {
			return
		}
	}
	s.changes = append(s.changes, store.Change{Object: o})
}

// broken notes something that is there but cannot be read. What is known of it
// stays. If it has the place of a document and nothing is known, it becomes one
// that nobody can parse, so that it is treated like one and opens nothing.
func (s *scan) broken(key string, err error) {
	s.seen[key] = true
	path := filepath.Join(s.d.dir, key)
	_, stat := os.Stat(path)
	why := withoutPath(err).Error()
	s.unread[key] = unread{why: why, there: stat == nil}
	if (*s.d.unread.Load())[key].why != why {
		s.d.log.Error("cannot read a part of the policy directory, keeping what is known of it", "path", path, "error", why)
	}
	kind, name, ok := store.SplitKey(key)
	if _, known := s.d.mirror.Get(kind, name); !ok || known == nil || kind == "" {
		return
	}
	s.changes = append(s.changes, store.Change{Object: store.Object{
		Kind: kind, Name: name, Index: s.d.nextLocked(), Value: []byte("{ cannot be read: " + why),
	}})
}

// gone notes that the file of a known object is not there any more.
func (s *scan) gone(key string) {
	kind, name, ok := store.SplitKey(key)
	if !ok {
		return
	}
	o, err := s.d.mirror.Get(kind, name)
	if err != nil || o.Held {
		return
	}
	s.deleted(o)
}

// deleted notes the deletion of o, at an index of its own.
func (s *scan) deleted(o store.Object) {
	if s.marks != nil {
		s.marks[o.Key()] = fileMark{}
	}
	s.changes = append(s.changes, store.Change{Deleted: true, Object: store.Object{
		Kind: o.Kind, Name: o.Name, Index: s.d.nextLocked(), CreateIndex: o.CreateIndex,
	}})
}

// known returns the object of a key as last delivered.
func (d *Store) known(key string) (store.Object, error) {
	kind, name, ok := store.SplitKey(key)
	if !ok {
		return store.Object{}, store.ErrNotFound
	}
	return d.mirror.Get(kind, name)
}
