package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxFile is where a file is taken for something else than a document.
const maxFile = 16 << 20

// read looks at some keys, or at everything, and publishes what changed. It
// returns when to come again, 0 if all is read.
func (d *Dir) read(keys map[string]bool, all, patient bool) (again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &scan{d: d, patient: patient, seen: map[string]bool{}, marks: map[string]fileMark{}}
	unlock, err := d.lock()
	if errors.Is(err, fs.ErrNotExist) && d.mirror.Status().Loaded {
		s.missing(false) // what comes back later does not replace what vanished
		d.mirror.publish(Update{Changes: s.changes, Index: d.index, LastGood: d.mirror.Status().LastGood})
	}
	if err != nil {
		d.report(err)
		return retryAfter
	}
	defer unlock()
	txn := d.lastTxn()
	if all = all || !txn.Equal(d.txn) || s.look(keys); all {
		clear(s.seen)
		s.changes = nil
		if err := s.walk(); err != nil {
			d.report(err)
			return retryAfter
		}
	}
	if s.unsettled {
		return settleFor
	}
	if all {
		cleared := d.hasMark()
		s.missing(cleared)
		d.mirror.setCleared(cleared)
	}
	d.txn = txn
	maps.Copy(d.files, s.marks)
	d.publish(s.changes)
	d.showHeld()
	return 0
}

// hasMark reports whether the cleared mark is there.
func (d *Dir) hasMark() bool {
	_, err := os.Lstat(filepath.Join(d.dir, ClearedName))
	return err == nil
}

// lastTxn is when several objects were written at once last.
func (d *Dir) lastTxn() time.Time {
	info, err := os.Stat(filepath.Join(d.dir, lockName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// scan is one look at the directory. What it found holds once it is published.
type scan struct {
	d         *Dir
	patient   bool
	unsettled bool // a file is being written
	seen      map[string]bool
	marks     map[string]fileMark
	changes   []Change
}

// look looks at the files of some keys. It reports whether the whole is to be
// looked at instead, as a directory vanished.
func (s *scan) look(keys map[string]bool) (whole bool) {
	for key := range keys {
		if hidden(key) {
			continue
		}
		s.file(key)
		if s.seen[key] {
			continue
		}
		if _, err := os.Stat(filepath.Dir(filepath.Join(s.d.dir, key))); err != nil {
			return true
		}
		s.gone(key)
	}
	return false
}

// walk looks at every file.
func (s *scan) walk() error {
	return filepath.WalkDir(s.d.dir, func(path string, entry os.DirEntry, err error) error {
		rel, relErr := filepath.Rel(s.d.dir, path)
		switch {
		case relErr != nil:
			return relErr
		case rel == ".":
			return err // the directory itself
		case hidden(rel) && entry.IsDir():
			return filepath.SkipDir
		case hidden(rel):
			return nil
		case err != nil:
			s.unreadable(rel, err)
			return nil
		case !entry.IsDir():
			s.file(rel)
		}
		return nil
	})
}

// file looks at one file and notes how it changed. Symbolic links are followed.
func (s *scan) file(key string) {
	path := filepath.Join(s.d.dir, key)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		s.broken(key, err)
		return
	case !info.Mode().IsRegular():
		return
	}
	s.seen[key] = true
	mark := markOf(info)
	if known, ok := s.d.files[key]; ok && known == mark && !s.held(key) {
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
	kind, name, ok := splitKey(key)
	if !ok {
		return
	}
	index := stampOf(mark.modified)
	old, err := d.mirror.get(kind, name)
	if err == nil && index <= old.Index && !bytes.Equal(value, old.Value) {
		index, mark = d.stamp(key, mark)
	}
	d.index = max(d.index, index)
	s.marks[key] = mark
	o := Object{Kind: kind, Name: name, Value: value, Index: index, CreateIndex: index}
	if err == nil {
		o.CreateIndex = old.CreateIndex
		if old.Index == index && !old.Held && bytes.Equal(value, old.Value) {
			return
		}
	}
	s.changes = append(s.changes, Change{Object: o})
}

// unreadable notes that something below key cannot be looked at: what is known
// below it stays.
func (s *scan) unreadable(key string, err error) {
	s.d.log.Error("cannot read a part of the policy directory, keeping what is known of it",
		"path", filepath.Join(s.d.dir, key), "error", err)
	for known := range s.d.files {
		if known == key || len(known) > len(key) && known[:len(key)] == key && known[len(key)] == '/' {
			s.seen[known] = true
		}
	}
}

// broken notes a file that is there but cannot be read. Its former value stays;
// without one it becomes a document that nobody can parse, so that it is
// treated like one and opens nothing.
func (s *scan) broken(key string, err error) {
	s.seen[key] = true
	kind, name, ok := splitKey(key)
	if !ok {
		return
	}
	if _, known := s.d.mirror.get(kind, name); known == nil {
		s.d.log.Error("cannot read a policy document, keeping its former value", "key", key, "error", err)
		return
	}
	s.d.log.Error("cannot read a policy document", "key", key, "error", err)
	s.changes = append(s.changes, Change{Object: Object{
		Kind: kind, Name: name, Index: s.d.next(), Value: fmt.Appendf(nil, "{ cannot be read: %v", err),
	}})
}

// gone notes that the file of a known object is not there any more.
func (s *scan) gone(key string) {
	kind, name, ok := splitKey(key)
	if !ok {
		return
	}
	o, err := s.d.mirror.get(kind, name)
	if err != nil || o.Held {
		return
	}
	s.changes = append(s.changes, s.d.deleted(o))
}

// missing notes what the walk did not see, unless everything vanished together
// with its directories (X6).
func (s *scan) missing(cleared bool) {
	d := s.d
	d.mirror.mu.RLock()
	var lost []Object
	for _, objects := range d.mirror.kinds {
		for _, o := range objects {
			if !s.seen[o.Key()] && !o.Held {
				lost = append(lost, *o)
			}
		}
	}
	d.mirror.mu.RUnlock()
	meant := cleared || d.mirror.wasCleared() || len(s.seen) > 0 || d.dirOfOne(lost)
	for _, o := range lost {
		if meant {
			s.changes = append(s.changes, d.deleted(o))
			continue
		}
		o.Held = true
		s.changes = append(s.changes, Change{Object: o})
	}
	if len(lost) > 0 && !meant {
		d.heldWhy = "everything vanished together with its directories"
		d.log.Error("objects vanished from the policy and stay in force, as this looks like an accident",
			"path", d.dir, "objects", len(lost), "reason", d.heldWhy, "to_mean_it_make", filepath.Join(d.dir, ClearedName))
	}
	if cleared {
		s.release()
	}
}

// release lets go of what is held, for the loss is meant.
func (s *scan) release() {
	for _, change := range s.d.mirror.everything() {
		if change.Held && !s.seen[change.Key()] {
			s.changes = append(s.changes, s.d.deleted(change.Object))
		}
	}
}

// dirOfOne reports whether the directory of one of the objects is there.
func (d *Dir) dirOfOne(objects []Object) bool {
	for _, o := range objects {
		if o.Kind == "" {
			continue // its directory is the root, which tells nothing
		}
		if info, err := os.Stat(filepath.Join(d.dir, o.Kind)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// deleted makes the deletion of o, at an index of its own.
func (d *Dir) deleted(o Object) Change {
	delete(d.files, o.Key())
	return Change{Deleted: true, Object: Object{Kind: o.Kind, Name: o.Name, Index: d.next(), CreateIndex: o.CreateIndex}}
}

// publish delivers changes, and notes that the directory could be read.
func (d *Dir) publish(changes []Change) {
	d.mirror.contact()
	d.mirror.publish(Update{Changes: changes, Index: d.index})
}

// showHeld brings the status up to date after a success.
func (d *Dir) showHeld() {
	problem := ""
	if held := d.mirror.Status().Held; held > 0 {
		problem = fmt.Sprintf("%d objects are in force that the directory does not show: %s", held, d.heldWhy)
	}
	if d.mirror.trouble(problem, true) && problem == "" {
		d.log.Info("the policy directory is read again", "path", d.dir)
	}
}

// report shows why the directory cannot be read.
func (d *Dir) report(err error) {
	if d.mirror.trouble(err.Error(), false) {
		d.log.Error("cannot read the policy directory, keeping the last good policy", "path", d.dir, "error", err)
	}
}

// known returns the object of a key as last delivered.
func (d *Dir) known(key string) (Object, error) {
	kind, name, ok := splitKey(key)
	if !ok {
		return Object{}, ErrNotFound
	}
	return d.mirror.get(kind, name)
}

// next returns an index above all that were seen.
func (d *Dir) next() uint64 {
	d.index = max(d.index+1, stampOf(time.Now()))
	return d.index
}

// stamp gives a file a modification time above all that were seen. If that is
// not allowed, only the index is new.
func (d *Dir) stamp(key string, mark fileMark) (uint64, fileMark) {
	index := d.next()
	at := timeOf(index)
	if err := os.Chtimes(filepath.Join(d.dir, key), at, at); err != nil {
		d.log.Debug("cannot stamp a policy document", "key", key, "error", err)
		return index, mark
	}
	mark.modified = at
	return index, mark
}

func stampOf(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 1)) } //nolint:gosec // positive

func timeOf(index uint64) time.Time { return time.UnixMicro(int64(index)) } //nolint:gosec // made by stampOf

// readFile reads a file that does not change while it is read.
func readFile(path string) ([]byte, fileMark, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileMark{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	for range 3 {
		before, err := f.Stat()
		if err != nil {
			return nil, fileMark{}, err
		}
		if before.Size() > maxFile {
			return nil, fileMark{}, fmt.Errorf("%d bytes, want at most %d", before.Size(), maxFile)
		}
		value, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile))
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
	m := fileMark{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		m.inode = sys.Ino
	}
	return m
}
