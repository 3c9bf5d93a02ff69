package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// DirConfig is what NewDir needs.
type DirConfig struct {
	Dir     string       // required; made if it does not exist
	DataDir string       // for the last good policy; "" = none is kept
	Log     hclog.Logger // required
}

// Dir is the store in a directory: an object is the file <dir>/<kind>/<name>.
// Names with a dot in front are not objects. Operators edit the files as they
// like; a file is read once it has been left alone for a moment, but only who
// replaces it by a rename can be sure that it is never read half-written.
//
// The Index of an object is its file's modification time in microseconds, so it
// needs no book-keeping and survives a restart; where a clock or a copy would
// make it stand still or go back, the file is stamped anew. Writers of several
// processes exclude each other by a lock on <dir>/.lock; an editor does not know
// of it, so an edit in the very moment of a Write can be lost. The time of that
// file is the time of the last Write of several objects: who sees a new one looks
// at everything, so that it sees the whole of it.
//
// A Write of several objects is put into the file .journal first. From then on
// it stands: who finds a journal, after a crash half-way, completes it before
// reading anything.
//
// Objects are believed to be deleted if their directory is still there. If the
// directory of everything vanished as well (a volume that is not mounted, a
// wrong rm -r), they are held, see [Object.Held].
type Dir struct {
	dir    string
	log    hclog.Logger
	mirror *mirror

	mu      sync.Mutex          // serialises reading, writing and delivery; guards what follows
	index   uint64              // highest stamp seen or given
	files   map[string]fileMark // by key: what was read last
	txn     time.Time           // of the last write of several objects that was seen
	heldWhy string
}

// fileMark tells whether a file is the one that was read.
type fileMark struct {
	modified time.Time
	size     int64
	inode    uint64
}

const (
	lockName    = ".lock"
	journalName = ".journal"

	settleFor   = 60 * time.Millisecond // a file is left alone for so long before it is read
	settleMost  = time.Second           // but not waited for longer
	retryAfter  = time.Second           // between attempts on a directory that cannot be read
	rescanEvery = 30 * time.Second      // what no event told is found after this
)

// NewDir returns the store; it does not look at the directory yet.
func NewDir(cfg DirConfig) (*Dir, error) {
	if cfg.Dir == "" || cfg.Log == nil {
		return nil, errors.New("store: Dir and Log are required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Dir{
		dir: dir, log: cfg.Log, files: map[string]fileMark{},
		mirror: newMirror(KindFile, cfg.Log, newLastGood(cfg.DataDir, "directory "+dir)),
	}, nil
}

// Kind is KindFile.
func (d *Dir) Kind() string { return KindFile }

// Status returns the condition of the store.
func (d *Dir) Status() Status { return d.mirror.Status() }

// String names the place for people.
func (d *Dir) String() string { return "directory " + d.dir }

// Watch follows the directory. While it cannot be read, what was read last holds.
func (d *Dir) Watch(ctx context.Context, fn func(Update)) error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		d.log.Warn("cannot make the policy directory", "path", d.dir, "error", err)
	}
	if err := d.begin(fn); err != nil {
		return err
	}
	defer d.end()
	if kept := d.mirror.kept; kept != nil {
		var saving sync.WaitGroup
		saving.Go(func() { kept.run(ctx, d.mirror) })
		defer saving.Wait()
	}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("no events for the policy directory, looking at it now and then",
			"path", d.dir, "every_ms", rescanEvery.Milliseconds(), "error", err)
		events = &fsnotify.Watcher{}
	} else {
		defer func() { _ = events.Close() }() // only read from
	}
	return d.follow(ctx, events)
}

func (d *Dir) begin(fn func(Update)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mirror.begin(fn); err != nil {
		return err
	}
	d.index = max(d.index, d.mirror.index())
	return nil
}

// end stops the delivery, after one that runs.
func (d *Dir) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mirror.end()
}

// follow reads the whole, and then what the events name.
func (d *Dir) follow(ctx context.Context, events *fsnotify.Watcher) error {
	rescan, beat := time.NewTicker(rescanEvery), time.NewTicker(heartbeatEvery)
	defer rescan.Stop()
	defer beat.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	dirty, all := map[string]bool{}, true
	since := time.Now() // when the first of what is to be read became so
	want := func(key string, everything bool, in time.Duration) {
		if len(dirty) == 0 && !all {
			since = time.Now()
		}
		dirty[key], all = true, all || everything
		due.Reset(in)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rescan.C:
			want(".", true, 0)
		case <-beat.C:
			if _, err := os.Stat(d.dir); err != nil {
				want(".", true, 0)
			} else {
				d.mirror.contact()
			}
		case event := <-events.Events:
			if key, special := d.keyOfPath(event.Name); special || !hidden(key) {
				want(key, special, settleFor)
			}
		case err := <-events.Errors:
			d.log.Warn("events of the policy directory were lost, reading it again", "path", d.dir, "error", err)
			want(".", true, settleFor)
		case <-due.C:
			if all {
				d.watchDirs(events)
			}
			again := d.read(dirty, all, time.Since(since) < settleMost)
			if again > 0 {
				due.Reset(again)
				continue
			}
			clear(dirty)
			all = false
		}
	}
}

// keyOfPath returns the key of a path in an event. special: it may concern more
// than the one file.
func (d *Dir) keyOfPath(path string) (key string, special bool) {
	rel, err := filepath.Rel(d.dir, path)
	if err != nil || rel == "." || rel == ClearedName {
		return rel, true
	}
	if hidden(rel) {
		return rel, false
	}
	info, err := os.Lstat(path)
	if err == nil {
		return rel, info.IsDir()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.files[rel]
	return rel, !known
}

// hidden reports whether a part of a path begins with a dot.
func hidden(rel string) bool {
	return strings.HasPrefix(rel, ".") || strings.Contains(rel, "/.")
}

// watchDirs asks for events of every directory, also of new ones.
func (d *Dir) watchDirs(events *fsnotify.Watcher) {
	if events.Events == nil {
		return
	}
	err := filepath.WalkDir(d.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // the reading tells it
		}
		if rel, _ := filepath.Rel(d.dir, path); rel != "." && hidden(rel) {
			return filepath.SkipDir
		}
		return events.Add(path)
	})
	if err != nil {
		d.log.Warn("no events for a part of the policy directory", "path", d.dir, "error", err)
	}
}

// List returns the objects of a kind as last delivered, by name.
func (d *Dir) List(_ context.Context, kind string) ([]Object, error) { return d.mirror.list(kind) }

// Get returns the object as its file is now, or as last delivered if the file
// cannot be read.
func (d *Dir) Get(_ context.Context, kind, name string) (Object, error) {
	if !validKey(kind, name) {
		return d.mirror.get(kind, name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.current(kind, name)
	if err == nil || errors.Is(err, ErrNotFound) {
		return o, err
	}
	return d.mirror.get(kind, name)
}
