// Package dir keeps the policy in a directory: an object is the file
// <dir>/<kind>/<name>.
// Names with a dot in front are not objects, nor what editors leave behind, see
// [IsLeftover]. Operators edit the files as they like; a file is read once it has
// been left alone for a moment, but only who replaces it by a rename can be sure
// that it is never read half-written.
//
// Links are followed, to files and to folders, as Kubernetes lays out a
// ConfigMap: what they lead to is watched, and that one of them is turned is
// noticed. What is there but cannot be looked at (a link that leads nowhere, a
// file in the place of a folder, no rights) is not gone: what was known of it stays
// in force and the status tells it.
//
// The Index of an object is its file's modification time in microseconds, so it
// needs no book-keeping and survives a restart; where a clock or a copy would
// make it stand still or go back, the file is stamped anew. Writers of several
// processes exclude each other by a lock on <dir>/.lock; an editor does not know
// of it, so an edit in the very moment of a Write can be lost. The time of that
// file is the time of the last Write of several objects. Readers need no lock:
// what they read is one state if that time is the same before and after, and
// there was no journal. So nobody who holds the lock keeps a change from coming
// into force.
//
// A Write of several objects puts all new files beside the old ones first, and
// then the file .journal, which says what is to be renamed and removed. From
// then on it stands, and needs no room on the disk any more: who finds a journal,
// after a crash half-way, completes it before reading anything.
//
// Objects are believed to be deleted if the folder in which they were is still
// there. If it vanished as well (a volume that is not mounted, a wrong rm -r),
// or another one is in its place, they may be held, see missing.go.
package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/files"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// Config is what New needs.
type Config struct {
	Dir      string        // required; made if it does not exist
	DataDir  string        // for the last good policy; "" = none is kept
	MaxStale time.Duration // contact is shown at least three times within it; 0 = every second
	Log      hclog.Logger  // required
}

// Store is a [store.Store] in a directory. [New] makes it.
type Store struct {
	dir       string
	lookEvery time.Duration // between looks whether the folders are the same
	log       hclog.Logger
	mirror    *mirror.Mirror

	writing chan struct{}      // has an element while a Write of this process runs
	refresh chan chan struct{} // takes what to close when everything was read

	mu       sync.Mutex          // serialises reading and delivery; guards what follows
	index    uint64              // highest stamp seen or given
	txn      time.Time           // of the last write of several objects that was seen
	folders  map[string]folderID // as of the last look at everything
	links    map[string]bool     // on the way to what was read
	ignored  string              // the leftovers that were told
	reads    bool                // the last reading went well
	awaited  fileMark            // of the journal that could not be completed last
	waitedOn time.Time           // since when

	unread atomic.Pointer[map[string]unread] // what is there but cannot be read, by key or folder

	marksMu sync.RWMutex
	marks   map[string]fileMark // by key: what was read last

	lockMu sync.Mutex
	locked time.Time // since when somebody else has had the lock
}

// unread is why something that is there cannot be read.
type unread struct {
	why   string
	there bool // it is not for want of what a link leads to
}

// fileMark tells whether a file is the one that was read.
type fileMark struct {
	files.Stamp
	modified time.Time
	size     int64
}

const (
	lockName    = ".lock"
	journalName = ".journal"

	settleFor   = 60 * time.Millisecond // a file is left alone for so long before it is read
	settleMost  = time.Second           // but not waited for longer
	retryAfter  = time.Second           // between attempts on a directory that cannot be read
	rescanEvery = 30 * time.Second      // what no event told is found after this
	lookEvery   = time.Second           // between looks whether the folders are the same
)

// New checks cfg and returns the store; it does not look at the directory yet.
func New(cfg Config) (*Store, error) {
	if cfg.Dir == "" || cfg.Log == nil {
		return nil, errors.New("store: Dir and Log are required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	d := &Store{
		lookEvery: store.BeatFor(cfg.MaxStale, lookEvery), dir: dir, log: cfg.Log, marks: map[string]fileMark{}, writing: make(chan struct{}, 1), refresh: make(chan chan struct{}),
		mirror: mirror.New(store.KindFile, cfg.Log, mirror.NewLastGood(cfg.DataDir, "directory "+dir, "directory "+dir)),
	}
	d.unread.Store(&map[string]unread{})
	return d, nil
}

// Kind is KindFile.
func (d *Store) Kind() string { return store.KindFile }

// Status returns the condition of the store.
func (d *Store) Status() store.Status { return d.mirror.Status() }

// String names the place for people.
func (d *Store) String() string { return "directory " + d.dir }

// Watch follows the directory. While it cannot be read, what was read last holds.
func (d *Store) Watch(ctx context.Context, fn func(store.Update) []string) error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		d.log.Warn("cannot make the policy directory", "path", d.dir, "error", err)
	}
	if err := d.begin(fn); err != nil {
		return err
	}
	defer d.end()
	var saving sync.WaitGroup
	saving.Go(func() { d.mirror.Keep(ctx) })
	defer saving.Wait()
	f := newFollower(d)
	defer f.close()
	return f.run(ctx)
}

func (d *Store) begin(fn func(store.Update) []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mirror.Begin(fn); err != nil {
		return err
	}
	d.index = max(d.index, d.mirror.Index())
	return nil
}

// end stops the delivery, after one that runs.
func (d *Store) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mirror.End()
}

// List returns the objects of a kind as last delivered, by name.
func (d *Store) List(_ context.Context, kind string) ([]store.Object, error) {
	return d.mirror.List(kind)
}

// Get returns the object as its file is now, or as last delivered if the file
// cannot be read. It waits for nobody.
func (d *Store) Get(_ context.Context, kind, name string) (store.Object, error) {
	if !store.ValidKey(kind, name) {
		return d.mirror.Get(kind, name)
	}
	o, err := d.current(kind, name)
	if held, is := d.mirror.HeldObject(kind, name); is && errors.Is(err, store.ErrNotFound) {
		return held, nil
	}
	if err == nil || errors.Is(err, store.ErrNotFound) && !d.isUnread(store.Key(kind, name)) {
		return o, err
	}
	return d.mirror.Get(kind, name)
}

// Held returns the objects that are held, by key.
func (d *Store) Held() []store.Object { return d.mirror.Held() }

// Refresh returns when the directory has been read anew.
func (d *Store) Refresh(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case d.refresh <- done:
	case <-ctx.Done():
		return fmt.Errorf("%w: no watch runs: %w", store.ErrUnavailable, ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
}

// isUnread reports whether a key, or a folder above it, is there but cannot be read.
func (d *Store) isUnread(key string) bool {
	unread := *d.unread.Load()
	for ; key != "."; key = filepath.Dir(key) {
		if _, is := unread[key]; is {
			return true
		}
	}
	return false
}

// mark returns what was read last of a key.
func (d *Store) mark(key string) (fileMark, bool) {
	d.marksMu.RLock()
	defer d.marksMu.RUnlock()
	m, ok := d.marks[key]
	return m, ok
}

// setMarks notes what was read of some keys; the zero mark is nothing.
func (d *Store) setMarks(marks map[string]fileMark) {
	d.marksMu.Lock()
	defer d.marksMu.Unlock()
	for key, m := range marks {
		if m == (fileMark{}) {
			delete(d.marks, key)
		} else {
			d.marks[key] = m
		}
	}
}
