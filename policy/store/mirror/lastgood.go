package mirror

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/policy/store"
)

// LastGood keeps the content in a file of data_dir, for a start while the store
// is away (X6).
//
// The file is a line that names the format and the store, and then frames, each with its
// length and checksum. The first frame is a whole content, every further one an
// update, so that a change costs its own size and a crash loses at most the
// updates of the last second, never a part of one. When the updates outweigh
// the content, the file is written anew. Its modification time is the time of
// the last contact with the store.
type LastGood struct {
	path  string
	head  string // the first line: the format, and of which place it is
	older older  // what an earlier version of lictor kept

	mu      sync.Mutex // guards what follows
	pending []byte     // frames to append
	whole   bool       // the next save writes the file anew
	size    int64      // of the file
	base    int64      // of its first frame
	touch   time.Time  // contact to note in the file
}

// older is a file of the first format, which is read once and replaced.
type older struct{ path, head string }

// kept is what a file held.
type kept struct {
	changes []store.Change // the content; none is a deletion
	index   uint64
	contact time.Time
}

const (
	lastGoodFile = "policy.lastgood"
	frameHead    = 8
	maxKept      = 8 << 30 // bytes of a file
	saveEvery    = time.Second
	touchEvery   = 30 * time.Second
	slack        = 1 << 20 // updates of this size do not make the file be written anew
)

// NewLastGood returns the file in the data directory dir that keeps the policy of
// the store at a place; nil if dir is "". It reads and writes nothing yet. Every
// place has a file of its own. olderPlace is what the first format called it.
func NewLastGood(dir, place, olderPlace string) *LastGood {
	if dir == "" {
		return nil
	}
	return &LastGood{
		path: durable.FileFor(dir, lastGoodFile, place), head: headOf(place), whole: true,
		older: older{filepath.Join(dir, lastGoodFile), fmt.Sprintf("lictor policy 1 %q\n", olderPlace)},
	}
}

func headOf(place string) string { return fmt.Sprintf("lictor policy 2 %q\n", place) }

// load returns what the file holds, nil if there is no file. An update that is
// broken ends it, with an error that says so; a broken content is no content,
// for half a policy could open what the other half closes.
func (l *LastGood) load() (*kept, error) {
	content, err := loadFile(l.path, l.head, false)
	if content != nil || err != nil {
		return content, err
	}
	content, err = loadFile(l.older.path, l.older.head, true)
	if errors.Is(err, errOtherPlace) {
		return nil, nil
	}
	return content, err
}

func loadFile(path, head string, first bool) (*kept, error) {
	data, err := files.Read(path, maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	content, err := decodeKept(data, head, first)
	if content != nil {
		content.contact = durable.NotAhead(info.ModTime())
	}
	return content, err
}

// add notes an update for the next save.
func (l *LastGood) add(u store.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u.Reset {
		l.whole, l.pending = true, nil
	}
	if len(u.Changes) > 0 && !l.whole {
		l.pending = appendFrame(l.pending, u.Changes, u.Index)
	}
	if l.whole && l.pending == nil {
		l.pending = []byte{} // something is to be saved
	}
}

// contact notes that the store answered, for the age of the file.
func (l *LastGood) contact(at time.Time) {
	l.mu.Lock()
	l.touch = at
	l.mu.Unlock()
}

// run saves what was added, once a second and at the end.
func (l *LastGood) run(ctx context.Context, m *Mirror) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var retry time.Time
	warned := false
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case now := <-tick.C:
			if now.Before(retry) {
				continue
			}
		}
		err := l.save(m)
		if err != nil {
			retry = time.Now().Add(touchEvery)
		}
		if err != nil && !warned {
			m.log.Warn("cannot keep the policy for a start without the store", "path", l.path, "error", err)
		}
		warned = err != nil
	}
}

// save brings the file up to date.
func (l *LastGood) save(m *Mirror) error {
	l.mu.Lock()
	pending, whole, touch := l.pending, l.whole, l.touch
	if !whole && l.size+int64(len(pending)) > 2*l.base+slack {
		whole = true
	}
	l.pending, l.whole = nil, false
	l.mu.Unlock()
	var err error
	switch {
	case pending == nil:
		l.mu.Lock()
		l.whole = whole
		l.mu.Unlock()
		return l.note(touch)
	case whole:
		err = l.rewrite(m)
	default:
		err = durable.Append(l.path, pending)
		l.size += int64(len(pending))
	}
	if err != nil {
		l.mu.Lock()
		l.whole, l.pending = true, []byte{}
		l.mu.Unlock()
		return err
	}
	return nil
}

// note sets the file's time to that of the last contact, now and then.
func (l *LastGood) note(contact time.Time) error {
	info, err := os.Stat(l.path)
	if err != nil || contact.Sub(info.ModTime()).Abs() < touchEvery {
		return nil // there is nothing whose age could be told, or it is told well enough
	}
	return os.Chtimes(l.path, contact, contact)
}

// rewrite writes the whole content. What is added meanwhile is in it and comes
// once more as an update, which does no harm.
func (l *LastGood) rewrite(m *Mirror) error {
	dir := filepath.Dir(l.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var size int64
	staged, err := durable.StageAs(dir, 0o600, time.Time{}, func(file io.Writer) (err error) {
		to := bufio.NewWriter(file)
		if _, err = to.WriteString(l.head); err != nil {
			return err
		}
		if size, err = writeFrame(to, m.Everything(), m.Index()); err != nil {
			return err
		}
		return to.Flush()
	})
	if err != nil {
		return err
	}
	if err := durable.Place(staged, l.path); err != nil {
		_ = os.Remove(staged) // already failing
		return err
	}
	l.dropOlder()
	l.size = int64(len(l.head)) + size
	l.base = l.size
	return durable.SyncDir(dir)
}

// dropOlder removes a file of the first format that was of this place.
func (l *LastGood) dropOlder() {
	f, err := files.Open(l.older.path)
	if err != nil {
		return
	}
	head := make([]byte, len(l.older.head))
	_, err = io.ReadFull(f, head)
	if err = errors.Join(err, f.Close()); err == nil && string(head) == l.older.head {
		_ = os.Remove(l.older.path) // it is not read any more
	}
}
