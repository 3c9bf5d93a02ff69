// Package lines hands lines of a log on to a file, a pipe or a terminal without
// anybody waiting for it: what cannot be written soon is kept within a bound,
// and past it lines are dropped and counted. A log that nobody reads, or a disk
// that is full, must not stop what the log tells of.
package lines

import (
	"errors"
	"io"
	"sync"
	"time"
)

// gathered is how many bytes are written at once at least, where lines may wait.
const gathered = 64 << 10

// ErrSlow is returned by Flush if the lines could not be written in time.
var ErrSlow = errors.New("the log is not read in time")

// Writer is an [io.Writer] of whole lines. Its methods may be called at any time.
type Writer struct {
	limit int
	every time.Duration

	mu      sync.Mutex // guards what follows
	out     io.Writer
	turn    int    // how often out was replaced
	buf     []byte // lines that wait
	spare   []byte // for the next ones
	writing bool   // somebody writes, or is about to
	due     *time.Timer
	idle    chan struct{} // closed when nothing waits; nil if nobody wants to know
	dropped uint64
	err     error // of the last write
}

// New returns a Writer to out that keeps limit bytes at most. Lines are gathered
// for the time every; 0 = they are written at once.
func New(out io.Writer, limit int, every time.Duration) *Writer {
	return &Writer{out: out, limit: limit, every: every}
}

// Write implements [io.Writer] for one or more whole lines. It never fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.Append(func(dst []byte) []byte { return append(dst, p...) })
	return len(p), nil
}

// Append adds what f appends to its argument: one or more whole lines, or drops it.
func (w *Writer) Append(f func(dst []byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.buf)
	if before < w.limit {
		if w.buf = f(w.buf); len(w.buf) <= w.limit {
			w.start()
			return
		}
		w.buf = w.buf[:before]
	}
	w.dropped++
}

// start has the lines written, if nobody does. w.mu is held.
func (w *Writer) start() {
	switch {
	case w.every == 0 || len(w.buf) >= gathered:
		if w.due != nil {
			w.due.Stop()
			w.due = nil
		}
		w.begin()
	case w.due == nil && !w.writing:
		turn := w.turn
		w.due = time.AfterFunc(w.every, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.turn == turn {
				w.due = nil
				w.begin()
			}
		})
	}
}

// begin starts the one that writes. w.mu is held.
func (w *Writer) begin() {
	if !w.writing {
		w.writing = true
		go w.drain(w.turn, w.out)
	}
}

// drain writes to out until nothing waits, what waits may gather again, or out was
// replaced: then what is there belongs to another, and out is closed.
func (w *Writer) drain(turn int, out io.Writer) {
	for p := w.next(turn, out); p != nil; p = w.next(turn, out) {
		_, err := out.Write(p)
		if !w.wrote(turn, p, err) {
			return
		}
	}
}

// next takes the lines that wait; nil if there are none for out.
func (w *Writer) next(turn int, out io.Writer) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn != turn {
		closeFile(out) // it was left to us when it was replaced
		return nil
	}
	if len(w.buf) == 0 {
		w.rest()
		return nil
	}
	p := w.buf
	w.buf, w.spare = w.spare[:0], nil
	return p
}

// rest notes that nothing is left to write. w.mu is held.
func (w *Writer) rest() {
	w.writing = false
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// wrote takes back what was written, and reports whether the writer goes on.
func (w *Writer) wrote(turn int, p []byte, err error) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn != turn {
		return true // next closes it
	}
	w.err = err
	w.spare = p[:0]
	if w.every == 0 || len(w.buf) >= gathered {
		return true
	}
	w.rest()
	if len(w.buf) > 0 { // these may gather again
		w.start()
	}
	return false
}

// Flush has everything written that was there when it was called, and returns
// the last error of writing, or ErrSlow after limit.
func (w *Writer) Flush(limit time.Duration) error {
	late := time.After(limit)
	for {
		idle := w.hurry()
		if idle == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.err
		}
		select {
		case <-idle:
		case <-late:
			return ErrSlow
		}
	}
}

// hurry starts writing and returns what is closed at the end of it; nil if
// nothing waits.
func (w *Writer) hurry() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) > 0 {
		w.begin()
	}
	if !w.writing {
		return nil
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	return w.idle
}

// Replace has later lines go to out. What is there goes to the former one, if
// that takes it within limit, and the former one is closed.
func (w *Writer) Replace(out io.Writer, limit time.Duration) {
	_ = w.Flush(limit) // else it is written to the new one
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.writing {
		closeFile(w.out)
	}
	w.turn++
	w.out = out
	w.rest()
	if w.due != nil {
		w.due.Stop()
		w.due = nil
	}
	if len(w.buf) > 0 {
		w.start()
	}
}

// Dropped is how many lines were dropped so far.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// A Keeper is an output that is not to be closed when it is replaced.
type Keeper struct{ io.Writer }

func closeFile(out io.Writer) {
	if c, ok := out.(io.Closer); ok {
		_ = c.Close() // what was written is with the system
	}
}
