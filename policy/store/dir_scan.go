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
	"slices"
	"strings"
	"syscall"
	"time"

	"lictor/internal/durable"
)

// MaxFile is the size past which a file is taken for something else than a document.
const MaxFile = 16 << 20

// read looks at some keys, or at everything, and publishes what changed. It
// returns when to come again, 0 if all is read. watch is called with what was
// found before it is believed; if it returns true it is looked at anew.
func (d *Dir) read(keys map[string]bool, all, patient bool, watch func(*tree) bool) (again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if wait, err := d.completed(); err != nil {
		d.report(err)
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
			d.vanished(err)
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
		s.missing(d.mirror.setMarks(d.readMarks()))
		d.folders, d.links = s.tree.folders, s.tree.links
		d.unread.Store(&s.unread)
		d.tellIgnored(s.tree.ignored)
	}
	d.setMarks(s.marks)
	d.publish(s.changes)
	d.showState()
	return 0
}

// readMarks returns the marks that are there.
func (d *Dir) readMarks() marks {
	names, _ := filepath.Glob(filepath.Join(d.dir, ClearedName+"*")) // a directory that cannot be read has none
	found := marks{}
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && isMark(filepath.Base(name)) {
			found[filepath.Base(name)] = stampOf(info.ModTime())
		}
	}
	return found
}

// lastTxn is when several objects were written at once last.
func (d *Dir) lastTxn() time.Time {
	info, err := os.Stat(filepath.Join(d.dir, lockName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// vanished notes that the directory itself cannot be listed. What comes back
// later does not replace what vanished with it.
func (d *Dir) vanished(err error) {
	if errors.Is(err, fs.ErrNotExist) && d.mirror.Status().Loaded {
		s := &scan{d: d, tree: &tree{}, unread: map[string]unread{}}
		s.missing(&meaning{})
		d.folders = nil
		d.mirror.publish(Update{Changes: s.changes, Index: d.index, LastGood: d.mirror.Status().LastGood})
	}
	d.report(err)
}

// scan is one look at the directory. What it found holds once it is published.
type scan struct {
	d         *Dir
	tree      *tree // nil: only some keys were looked at
	patient   bool
	unsettled bool            // a file is being written
	seen      map[string]bool // keys that are there, readable or not
	marks     map[string]fileMark
	unread    map[string]unread
	changes   []Change
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
	kind, name, ok := splitKey(key)
	if _, known := s.d.mirror.get(kind, name); !ok || known == nil || kind == "" {
		return
	}
	s.changes = append(s.changes, Change{Object: Object{
		Kind: kind, Name: name, Index: s.d.next(), Value: []byte("{ cannot be read: " + why),
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
	s.deleted(o)
}

// deleted notes the deletion of o, at an index of its own.
func (s *scan) deleted(o Object) {
	if s.marks != nil {
		s.marks[o.Key()] = fileMark{}
	}
	s.changes = append(s.changes, Change{Deleted: true, Object: Object{
		Kind: o.Kind, Name: o.Name, Index: s.d.next(), CreateIndex: o.CreateIndex,
	}})
}

// missing notes what is not there any more: it was deleted, or it is held if the
// way it vanished looks like an accident (X6).
func (s *scan) missing(meant *meaning) {
	d := s.d
	lost := map[string][]Object{} // by kind
	known := map[string]int{}     // how many there were of it
	d.mirror.mu.RLock()
	for kind, objects := range d.mirror.kinds {
		for _, o := range objects {
			if o.Held {
				continue
			}
			if at, why := s.tree.isBroken(o.Key()); why != nil {
				s.unread[at] = unread{why: why.Error(), there: s.tree.broken[at] == nil || s.unread[at].there}
				continue
			}
			known[kind]++
			switch {
			case s.seen[o.Key()]:
			case meant.cover(o):
				s.deleted(*o)
				known[kind]--
			default:
				lost[kind] = append(lost[kind], *o)
			}
		}
	}
	d.mirror.mu.RUnlock()
	accident := s.allLost(lost)
	for kind, objects := range lost {
		why := ""
		switch {
		case accident:
			why = "everything vanished together with its folders"
		case len(objects) == known[kind]:
			why = s.doubtKind(kind, len(objects))
		}
		if why == "" {
			for _, o := range objects {
				s.deleted(o)
			}
			continue
		}
		s.hold(kind, objects, why)
	}
	s.release(meant)
}

// allLost reports whether nothing at all is left, not even the folder of what was lost.
func (s *scan) allLost(lost map[string][]Object) bool {
	if len(s.seen) > 0 {
		return false
	}
	for kind := range lost {
		if id, there := s.tree.folders[kind]; there && s.sameFolder(kind, id) {
			return false
		}
	}
	return true
}

// sameFolder reports whether the folder of a kind is the one that was read
// before. Of an earlier life nothing is known, and nothing held against it.
func (s *scan) sameFolder(kind string, now folderID) bool {
	then, known := s.d.folders[kind]
	return !known || then == now
}

// doubtKind returns why it is not believed that all objects of a kind were
// deleted, or "". Whoever deletes them leaves their folder; a volume that is not
// mounted, or a link that was turned to somewhere else, does not.
func (s *scan) doubtKind(kind string, count int) string {
	now, there := s.tree.folders[kind]
	switch {
	case kind == "":
		return ""
	case !there && count >= leastOfKind:
		return "all of its kind vanished together with their folder"
	case !there || s.sameFolder(kind, now):
		return ""
	case count >= leastOfKind:
		return "another folder is in the place of that of their kind, and has none of them"
	case s.isEmpty(kind):
		return "an empty folder is in the place of that of their kind"
	}
	return ""
}

// isEmpty reports whether nothing at all was found in the folder of a kind.
func (s *scan) isEmpty(kind string) bool {
	for key := range s.seen {
		if strings.HasPrefix(key, kind+"/") {
			return false
		}
	}
	return true
}

// hold keeps objects of a kind in force that vanished.
func (s *scan) hold(kind string, objects []Object, why string) {
	d := s.d
	for _, o := range objects {
		o.Held, o.Why = true, why
		s.changes = append(s.changes, Change{Object: o})
	}
	d.log.Error("objects vanished from the policy and stay in force, as this looks like an accident",
		"path", filepath.Join(d.dir, kind), "objects", len(objects), "reason", why, "to_mean_it_make", filepath.Join(d.dir, ClearedMark(kind, "")))
}

// release lets go of what is held and whose loss is meant.
func (s *scan) release(meant *meaning) {
	for _, o := range s.d.mirror.Held() {
		if !s.seen[o.Key()] && meant.cover(&o) {
			s.deleted(o)
		}
	}
}

// publish delivers changes, and notes that the directory could be read.
func (d *Dir) publish(changes []Change) {
	d.mirror.contact()
	d.mirror.publish(Update{Changes: changes, Index: d.index})
}

// refreshState brings the status up to date between two readings.
func (d *Dir) refreshState() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads {
		d.showState()
	}
}

// showState brings the status up to date after a success.
func (d *Dir) showState() {
	var problems []string
	if held := d.mirror.heldProblem("the directory"); held != "" {
		problems = append(problems, held)
	}
	unread := *d.unread.Load()
	keys := slices.Sorted(maps.Keys(unread))
	if more := len(keys) - mostNamed; more > 0 {
		keys = keys[:mostNamed]
		problems = append(problems, fmt.Sprintf("%d more than these cannot be read", more))
	}
	for _, key := range keys {
		problems = append(problems, fmt.Sprintf("%s cannot be read (%s), what is known of it stays in force", key, unread[key].why))
	}
	if locked := d.lockProblem(); locked != "" {
		problems = append(problems, locked)
	}
	problem := strings.Join(problems, "; ")
	if d.reads = true; !d.mirror.trouble(problem, true) {
		return
	}
	if problem == "" {
		d.log.Info("the policy directory is read as it should be again", "path", d.dir)
	} else {
		d.log.Warn("the policy directory is not as it should be", "path", d.dir, "problem", problem)
	}
}

// tellIgnored tells of the files that are taken for leftovers of editors.
func (d *Dir) tellIgnored(files []string) {
	slices.Sort(files)
	if text := strings.Join(files, ", "); text != d.ignored {
		d.ignored = text
		if text != "" {
			d.log.Warn("files in the policy directory look like copies that an editor left, and are not read", "path", d.dir, "files", text)
		}
	}
	var notes []string
	if len(files) > 0 {
		notes = []string{"not read, as they look like copies that an editor left: " + d.ignored}
	}
	d.mirror.setNotes(notes)
}

// report shows why the directory cannot be read.
func (d *Dir) report(err error) {
	d.reads = false
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
	m := fileMark{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		m.inode = sys.Ino
	}
	return m
}
