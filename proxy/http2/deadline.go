package http2

import (
	"os"
	"sync"
	"time"

	"lictor/internal/crash"
)

// waiting is the part of a net.Conn that waits: for a change, or for a deadline to
// pass. It is guarded by the lock of cond. One goroutine may wait for a read while
// another one waits for a write.
type waiting struct {
	cond            sync.Cond // anything changed
	readBy, writeBy time.Time
	timers          [2]*time.Timer // wake who waits, at readBy and writeBy
	stuck           bool           // a writer waits
	stall           time.Duration  // see socket.StallAfter; 0: writeBy is the end of it
}

// Who waits.
const (
	reader = iota
	writer
)

// wait waits until something changed or the deadline of who waits has passed. The
// lock is held, but for the time of the wait.
func (w *waiting) wait(who int) error {
	deadline := w.readBy
	if who == writer {
		deadline = w.writeBy
		w.stuck = true
		defer func() { w.stuck = false }()
	}
	if !deadline.IsZero() {
		d := time.Until(deadline)
		if d <= 0 {
			return os.ErrDeadlineExceeded
		}
		if t := w.timers[who]; t != nil {
			t.Reset(d)
		} else {
			w.timers[who] = time.AfterFunc(d, w.stir)
		}
	}
	w.cond.Wait()
	return nil
}

// stir wakes who waits.
func (w *waiting) stir() {
	defer crash.Contain(where, nil)
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	w.cond.Broadcast()
}

// stopTimers reports whether there are timers: one may be about to wake who waits.
func (w *waiting) stopTimers() (used bool) {
	for _, t := range w.timers {
		if t != nil {
			t.Stop()
			used = true
		}
	}
	return used
}

// SetReadDeadline implements net.Conn.
func (w *waiting) SetReadDeadline(t time.Time) error {
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	w.readBy = t
	w.cond.Broadcast()
	return nil
}

// SetWriteDeadline implements net.Conn.
func (w *waiting) SetWriteDeadline(t time.Time) error {
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	w.writeBy, w.stall = t, 0
	if w.stuck {
		w.cond.Broadcast()
	}
	return nil
}

// StallAfter implements what [socket.StallAfter] wants.
func (w *waiting) StallAfter(d time.Duration) error {
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	w.writeBy, w.stall = time.Now().Add(d), d
	return nil
}

// took is called when a writer had waited and the peer took something. The lock is held.
func (w *waiting) took() {
	if w.stall > 0 {
		w.writeBy = time.Now().Add(w.stall)
	}
}

// SetDeadline implements net.Conn.
func (w *waiting) SetDeadline(t time.Time) error {
	_ = w.SetReadDeadline(t)
	return w.SetWriteDeadline(t)
}
