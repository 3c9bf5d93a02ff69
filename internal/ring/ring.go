// Package ring keeps lines in files of a bounded size altogether: the newest in a
// file of the name that was asked for, older ones beside it, each with a number that
// grows. The oldest goes when there is no room. Nothing else in the directory is
// touched.
package ring

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lictor/internal/durable"
)

// Bounds of a ring.
const (
	MinSize = 1 << 20
	MaxSize = 64 << 30
	parts   = 8 // files that the size is parted into; one goes at a time
	digits  = 8 // of the number of a file
)

// retryEvery is how often a file that cannot be opened is tried again.
const retryEvery = time.Second

// patience is how long a former life that is about to end is waited for.
const patience = 3 * time.Second

// Ring is an [io.Writer] of whole lines into a ring of files. Its methods may be
// called by any goroutine; Write blocks for as long as the disk takes.
type Ring struct {
	path    string
	release func() // of the lock

	mu      sync.Mutex // guards what follows
	size    int64      // of all files at most
	head    []byte     // the line that each file begins with, nil = none
	headed  bool       // file has it, as it is now: written since it was opened
	file    *os.File   // nil: it could not be opened
	written int64      // bytes in file
	torn    bool       // the last line of file is not whole
	older   []part     // the oldest first
	retry   time.Time  // not before
	changed func(error)

	// What Status tells, without waiting for the disk. Only who holds mu stores.
	bytes atomic.Int64
	lost  atomic.Uint64
	err   atomic.Pointer[error] // of the last write; nil = it was good
}

// part is a file that is full.
type part struct {
	number uint64
	size   int64
}

// Open opens the ring at path, which goes on where a former life ended. size bounds
// all files together. changed, if not nil, is told when writing begins to fail, with
// the error, and with nil when it works again; it must not call the ring. A path that
// cannot be written to now, or that another process writes to, is an error.
func Open(path string, size int64, changed func(error)) (*Ring, error) {
	r := &Ring{path: path, size: size, changed: changed}
	var err error
	r.release, err = durable.LockFile(path+".lock", patience)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%s: another process writes there; each lictor needs a path of its own", path)
	}
	if err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		r.release()
		return nil, err
	}
	r.tell(nil)
	return r, nil
}

// Files returns the files of a ring that there are, the oldest lines first.
func Files(path string) ([]string, error) {
	older, err := olderOf(path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, p := range older {
		all = append(all, p.name(path))
	}
	if _, err := os.Stat(path); err == nil {
		all = append(all, path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return all, nil
}

func (p part) name(path string) string { return fmt.Sprintf("%s.%0*d", path, digits, p.number) }

// olderOf lists the full files of a ring, in their order.
func olderOf(path string) (all []part, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if !ours || len(rest) < digits || strings.Trim(rest, "0123456789") != "" || !e.Type().IsRegular() {
			continue
		}
		number, err := strconv.ParseUint(rest, 10, 64)
		info, statErr := e.Info()
		p := part{number: number}
		if err != nil || statErr != nil || filepath.Base(p.name(path)) != e.Name() {
			continue
		}
		p.size = info.Size()
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

// open opens the newest file. r.mu is held, or nobody else knows r yet.
func (r *Ring) open() error {
	older, err := olderOf(r.path)
	if err != nil {
		return err
	}
	f, err := durable.AppendPrivate(r.path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.written, r.torn, r.older = f, info.Size(), false, older
	r.headed = false // whatever is in it, it may be another one than before
	if r.written > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, r.written-1); err == nil {
			r.torn = last[0] != '\n'
		}
	}
	return r.makeRoom()
}

// Write implements [io.Writer] for whole lines. Lines that cannot be written are
// counted, and the error is returned.
func (r *Ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for rest := p; len(rest) > 0 && err == nil; {
		n := wholeLines(rest, max(1, r.size/parts-int64(len(r.head))))
		if err = r.write(rest[:n]); err != nil {
			r.lost.Add(uint64(bytes.Count(rest, []byte{'\n'})))
		}
		rest = rest[n:]
	}
	r.tell(err)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// wholeLines returns how many bytes of p are lines that fit into most together, one
// line at least.
func wholeLines(p []byte, most int64) int {
	if int64(len(p)) <= most {
		return len(p)
	}
	if i := bytes.LastIndexByte(p[:most], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return i + 1
	}
	return len(p)
}

// tell notes how a write went, and says so if that is news.
func (r *Ring) tell(err error) {
	sum := r.written
	for _, p := range r.older {
		sum += p.size
	}
	r.bytes.Store(sum)
	news := (err == nil) != (r.err.Load() == nil)
	r.err.Store(nil)
	if err != nil {
		r.err.Store(&err)
	}
	if news && r.changed != nil {
		r.changed(err)
	}
}

// write writes lines that fit into one file.
func (r *Ring) write(p []byte) error {
	if r.file == nil {
		if time.Now().Before(r.retry) {
			return *r.err.Load()
		}
		if err := r.open(); err != nil {
			r.retry = time.Now().Add(retryEvery)
			return err
		}
	}
	if r.written > 0 && r.written+int64(len(r.missing())+len(p)) > r.size/parts {
		if err := r.turn(); err != nil {
			return err
		}
	}
	if err := r.put(r.missing()); err != nil {
		return err
	}
	r.headed = true
	return r.put(p)
}

// missing is the head where the file has it not, or not whole: what follows rests on it.
func (r *Ring) missing() []byte {
	if r.headed {
		return nil
	}
	return r.head
}

// put writes lines into the file, behind what may be left of a torn one.
func (r *Ring) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if r.torn {
		p = append([]byte{'\n'}, p...)
	}
	n, err := r.file.Write(p)
	r.written += int64(n)
	switch {
	case err == nil:
		r.torn = false
	case n > 0:
		r.torn = p[n-1] != '\n'
	}
	return err
}

// turn begins a new file. The one that was written gets a number, in one step, so that
// a crash leaves either.
func (r *Ring) turn() error {
	next := part{number: 1, size: r.written}
	if n := len(r.older); n > 0 {
		next.number = r.older[n-1].number + 1
	}
	err := errors.Join(r.file.Close(), durable.Place(r.path, next.name(r.path)))
	r.file = nil // whether that worked or not
	if err == nil {
		err = r.open()
	}
	return err
}

// makeRoom deletes the oldest files until there is room for a newest one that is full.
func (r *Ring) makeRoom() error {
	sum := r.size / parts
	for _, p := range r.older {
		sum += p.size
	}
	for len(r.older) > 0 && sum > r.size {
		if err := os.Remove(r.older[0].name(r.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		sum -= r.older[0].size
		r.older = r.older[1:]
	}
	return nil
}

// SetHead has each file begin with a line, and has it before what is written next if it
// is another one than before. line ends in a newline; the ring keeps it.
func (r *Ring) SetHead(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headed = r.headed && bytes.Equal(r.head, line)
	r.head = line
}

// SetSize bounds all files together anew.
func (r *Ring) SetSize(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	_ = r.makeRoom() // the next file tries again
}

// Reopen opens the newest file anew, which may have been moved away.
func (r *Ring) Reopen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	former := r.file
	if err := r.open(); err != nil {
		return err
	}
	if former != nil {
		return former.Close()
	}
	return nil
}

// Close closes the file, and lets another process write there.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.release()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	r.retry = time.Now().Add(closed)
	gone := os.ErrClosed
	r.err.Store(&gone)
	return err
}

// closed is how long a closed ring stays so.
const closed = 1 << 62

// Status is how a ring is.
type Status struct {
	Bytes int64  // of all its files
	Lost  uint64 // lines that could not be written
	Err   error  // why nothing can be written; nil = it can
}

// Status returns how the ring is. It does not wait for the disk.
func (r *Ring) Status() Status {
	s := Status{Bytes: r.bytes.Load(), Lost: r.lost.Load()}
	if err := r.err.Load(); err != nil {
		s.Err = *err
	}
	return s
}

// Hold keeps the ring from writing until the returned function is called, as a disk
// does that does not answer. It is for tests.
func (r *Ring) Hold() (release func()) {
	r.mu.Lock()
	return r.mu.Unlock
}
