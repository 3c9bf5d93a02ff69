package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lictor/internal/durable"
)

// lastGood keeps the content in a file of data_dir, for a start while the store
// is away (X6).
//
// The file is a line that names the format and the store, and then frames, each with its
// length and checksum. The first frame is a whole content, every further one an
// update, so that a change costs its own size and a crash loses at most the
// updates of the last second, never a part of one. When the updates outweigh
// the content, the file is written anew. Its modification time is the time of
// the last contact with the store.
type lastGood struct {
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
	changes []Change // the content; none is a deletion
	index   uint64
	contact time.Time
}

const (
	lastGoodFile = "policy.lastgood"
	frameHead    = 8
	saveEvery    = time.Second
	touchEvery   = 30 * time.Second
	slack        = 1 << 20 // updates of this size do not make the file be written anew
)

// newLastGood returns the snapshot in dir of the store at a place, nil if dir is
// "". Every place has a file of its own. olderPlace is what the first format
// called it.
func newLastGood(dir, place, olderPlace string) *lastGood {
	if dir == "" {
		return nil
	}
	return &lastGood{
		path: durable.FileFor(dir, lastGoodFile, place), head: headOf(place), whole: true,
		older: older{filepath.Join(dir, lastGoodFile), fmt.Sprintf("lictor policy 1 %q\n", olderPlace)},
	}
}

func headOf(place string) string { return fmt.Sprintf("lictor policy 2 %q\n", place) }

// load returns what the file holds, nil if there is no file. An update that is
// broken ends it, with an error that says so; a broken content is no content,
// for half a policy could open what the other half closes.
func (l *lastGood) load() (*kept, error) {
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
	data, err := os.ReadFile(path)
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
		content.contact = info.ModTime()
	}
	return content, err
}

var errOtherPlace = errors.New("it is of another place or format")

func decodeKept(data []byte, head string, first bool) (*kept, error) {
	rest, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", errOtherPlace, head)
	}
	var out *kept
	objects := map[string]Change{}
	for n := 0; len(rest) > 0; n++ {
		frame, after, err := cutFrame(rest)
		if err != nil {
			return collectKept(out, objects), fmt.Errorf("frame %d: %w", n, err)
		}
		changes, index, err := decodeUpdate(frame, first)
		if err != nil {
			return collectKept(out, objects), fmt.Errorf("frame %d: %w", n, err)
		}
		if out == nil {
			out = &kept{}
		}
		out.index = index
		for _, c := range changes {
			if c.Deleted {
				delete(objects, c.Key())
			} else {
				objects[c.Key()] = c
			}
		}
		rest = after
	}
	return collectKept(out, objects), nil
}

func collectKept(out *kept, objects map[string]Change) *kept {
	if out == nil {
		return nil
	}
	out.changes = make([]Change, 0, len(objects))
	for _, c := range objects {
		out.changes = append(out.changes, c)
	}
	return out
}

func cutFrame(data []byte) (frame, rest []byte, err error) {
	if len(data) < frameHead {
		return nil, nil, errors.New("cut off")
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	if size > uint64(len(data)-frameHead) {
		return nil, nil, errors.New("cut off")
	}
	frame = data[frameHead : frameHead+size]
	if crc32.ChecksumIEEE(frame) != binary.LittleEndian.Uint32(data[4:]) {
		return nil, nil, errors.New("wrong checksum")
	}
	return frame, data[frameHead+size:], nil
}

// appendFrame appends an update as a frame.
func appendFrame(to []byte, changes []Change, index uint64) []byte {
	start := len(to)
	to = append(to, make([]byte, frameHead)...)
	to = binary.AppendUvarint(to, index)
	to = binary.AppendUvarint(to, uint64(len(changes)))
	for i := range changes {
		c := &changes[i]
		to = append(to, byte(boolInt(c.Deleted)|boolInt(c.Held)<<1|boolInt(c.bad)<<2|boolInt(c.Former != nil)<<3))
		to = appendBytes(to, []byte(c.Kind))
		to = appendBytes(to, []byte(c.Name))
		to = appendBytes(to, c.Value)
		to = binary.AppendUvarint(to, c.Index)
		to = binary.AppendUvarint(to, c.CreateIndex)
		to = appendBytes(to, []byte(c.Why))
		if c.Former != nil {
			to = appendBytes(to, c.Former.Value)
			to = binary.AppendUvarint(to, c.Former.Index)
			to = binary.AppendUvarint(to, c.Former.CreateIndex)
		}
	}
	frame := to[start+frameHead:]
	binary.LittleEndian.PutUint32(to[start:], uint32(len(frame))) // a policy is far below 4 GiB
	binary.LittleEndian.PutUint32(to[start+4:], crc32.ChecksumIEEE(frame))
	return to
}

func appendBytes(to, b []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(b))), b...)
}

// decodeUpdate is the reverse of appendFrame, without the frame. In the first
// format a change ends with its indexes.
func decodeUpdate(frame []byte, first bool) (changes []Change, index uint64, err error) {
	r := frameReader{rest: frame}
	index = r.number()
	count := r.number()
	for range count {
		flags := r.byte()
		c := Change{Deleted: flags&1 != 0}
		c.Held = flags&2 != 0
		c.Kind, c.Name = string(r.bytes()), string(r.bytes())
		c.Value = bytes.Clone(r.bytes())
		c.Index, c.CreateIndex = r.number(), r.number()
		if !first {
			c.bad, c.Why = flags&4 != 0, string(r.bytes())
		}
		if !first && flags&8 != 0 {
			c.Former = &Version{Value: bytes.Clone(r.bytes()), Index: r.number(), CreateIndex: r.number()}
		}
		if r.bad {
			return nil, 0, errors.New("cut off within")
		}
		changes = append(changes, c)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, 0, errors.New("wrong length")
	}
	return changes, index, nil
}

// frameReader reads the parts of a frame; after a failure bad is set and
// everything is zero.
type frameReader struct {
	rest []byte
	bad  bool
}

func (r *frameReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *frameReader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// bytes returns a part of the frame, never nil unless bad.
func (r *frameReader) bytes() []byte {
	n := r.number()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// add notes an update for the next save.
func (l *lastGood) add(u Update) {
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
func (l *lastGood) contact(at time.Time) {
	l.mu.Lock()
	l.touch = at
	l.mu.Unlock()
}

// run saves what was added, once a second and at the end.
func (l *lastGood) run(ctx context.Context, m *mirror) {
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
func (l *lastGood) save(m *mirror) error {
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
func (l *lastGood) note(contact time.Time) error {
	info, err := os.Stat(l.path)
	if err != nil || contact.Sub(info.ModTime()) < touchEvery {
		return nil // there is nothing whose age could be told, or it is told well enough
	}
	return os.Chtimes(l.path, contact, contact)
}

// rewrite writes the whole content. What is added meanwhile is in it and comes
// once more as an update, which does no harm.
func (l *lastGood) rewrite(m *mirror) error {
	data := appendFrame([]byte(l.head), m.everything(), m.index())
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	if err := durable.Replace(l.path, data, 0o600, time.Time{}); err != nil {
		return err
	}
	l.dropOlder()
	l.size, l.base = int64(len(data)), int64(len(data))
	return nil
}

// dropOlder removes a file of the first format that was of this place.
func (l *lastGood) dropOlder() {
	f, err := os.Open(l.older.path)
	if err != nil {
		return
	}
	head := make([]byte, len(l.older.head))
	_, err = io.ReadFull(f, head)
	if err = errors.Join(err, f.Close()); err == nil && string(head) == l.older.head {
		_ = os.Remove(l.older.path) // it is not read any more
	}
}
