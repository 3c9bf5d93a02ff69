package dir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"lictor/policy/store"
)

// follower is a running watch of a directory.
type follower struct {
	d       *Store
	events  *fsnotify.Watcher   // without Events: there are none to be had
	watched map[string]folderID // the folders of which events come, by path
	dirty   map[string]bool     // keys to be read
	all     bool                // everything is to be read
	since   time.Time           // when the first of what is to be read became so
	due     *time.Timer
	waiting []chan struct{} // to be closed when all is read
}

func newFollower(d *Store) *follower {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("no events for the policy directory, looking at it now and then",
			"path", d.dir, "every_ms", rescanEvery.Milliseconds(), "error", err)
		events = &fsnotify.Watcher{}
	}
	return &follower{d: d, events: events, watched: map[string]folderID{}, dirty: map[string]bool{}}
}

func (f *follower) close() {
	if f.events.Events != nil {
		_ = f.events.Close() // only read from
	}
}

// run reads the whole, and then what the events name.
func (f *follower) run(ctx context.Context) error {
	rescan, look := time.NewTicker(rescanEvery), time.NewTicker(f.d.lookEvery)
	defer rescan.Stop()
	defer look.Stop()
	f.due = time.NewTimer(0)
	defer f.due.Stop()
	f.all, f.since = true, time.Now()
	f.d.tidy()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rescan.C:
			f.want(".", true, 0)
		case <-look.C:
			if f.d.sameFolders() {
				f.d.mirror.Contact()
			} else {
				f.want(".", true, 0)
			}
			f.d.lookAtLock()
			f.d.refreshState()
		case event := <-f.events.Events:
			if key, everything, ok := f.meaning(event.Name); ok {
				f.want(key, everything, settleFor)
			}
		case err := <-f.events.Errors:
			f.d.log.Warn("events of the policy directory were lost, reading it again", "path", f.d.dir, "error", err)
			f.want(".", true, settleFor)
		case done := <-f.d.refresh:
			f.waiting = append(f.waiting, done)
			f.want(".", true, 0)
		case <-f.due.C:
			f.read()
		}
	}
}

func (f *follower) want(key string, everything bool, in time.Duration) {
	if len(f.dirty) == 0 && !f.all {
		f.since = time.Now()
	}
	f.dirty[key], f.all = true, f.all || everything
	f.due.Reset(in)
}

// read reads what is to be read, or comes back later for it.
func (f *follower) read() {
	if again := f.d.read(f.dirty, f.all, time.Since(f.since) < settleMost, f.watch); again > 0 {
		f.due.Reset(again)
		return
	}
	clear(f.dirty)
	f.all = false
	for _, done := range f.waiting {
		close(done)
	}
	f.waiting = nil
}

// meaning returns the key that an event is about, whether it may concern more
// than the one file, and false if it says nothing.
func (f *follower) meaning(path string) (key string, everything, ok bool) {
	d := f.d
	rel, err := filepath.Rel(d.dir, path)
	d.mu.Lock()
	linked, turned := len(d.links) > 0, d.links[path]
	d.mu.Unlock()
	inside := err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
	switch {
	case turned || inside && (rel == "." || strings.HasPrefix(rel, store.ClearedName)):
		return rel, true, true
	case !inside || hidden(rel): // a neighbour of a link, or of what it leads to
		return rel, false, false
	case linked: // one file may have several keys
		return rel, true, true
	}
	info, err := os.Lstat(path)
	if err == nil {
		return rel, !info.Mode().IsRegular(), true
	}
	_, known := d.mark(rel)
	return rel, !known, true
}

// hidden reports whether a part of a path begins with a dot.
func hidden(rel string) bool {
	return strings.HasPrefix(rel, ".") || strings.Contains(rel, "/.")
}

// watch asks for events of every folder, and of those that hold the links on the
// way. It reports whether one of them is new, so that what happened in it before
// is still to be seen.
func (f *follower) watch(t *tree) (added bool) {
	if f.events.Events == nil {
		return false
	}
	wanted := map[string]folderID{}
	for rel, id := range t.folders {
		wanted[filepath.Join(f.d.dir, rel)] = id
	}
	for link := range t.links {
		at := filepath.Dir(link)
		if id, err := folderAt(at); err == nil {
			wanted[at] = id
		}
	}
	alive := map[string]bool{}
	for _, path := range f.events.WatchList() {
		alive[path] = true
	}
	for path, id := range f.watched {
		if wanted[path] != id || !alive[path] {
			_ = f.events.Remove(path) // it may be gone already
			delete(f.watched, path)
		}
	}
	for path, id := range wanted {
		if f.watched[path] == id {
			continue
		}
		if err := f.events.Add(path); err != nil {
			f.d.log.Warn("no events for a part of the policy directory", "path", path, "error", err)
		}
		f.watched[path], added = id, true
	}
	return added
}

// sameFolders reports whether the folders are those that were read, and what
// could not be read is still so: that a volume is mounted, or taken away, is no
// event.
func (d *Store) sameFolders() bool {
	d.mu.Lock()
	folders, unread := d.folders, *d.unread.Load()
	d.mu.Unlock()
	for rel, id := range folders {
		if now, err := folderAt(filepath.Join(d.dir, rel)); err != nil || now != id {
			return false
		}
	}
	for rel, u := range unread {
		if _, err := os.Stat(filepath.Join(d.dir, rel)); (err == nil) != u.there {
			return false
		}
	}
	return len(folders) > 0
}
