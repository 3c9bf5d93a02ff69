package socket

import (
	"errors"
	"sync/atomic"
)

// ErrBusy is a connection that is not made because there are as many to the
// instance as there may be. Nothing was sent.
var ErrBusy = errors.New("socket: the instance has as many connections as it may")

// Slots bounds the connections to one instance, of whatever version and
// purpose: one that is to be made takes a slot, and its end gives it back. A
// nil *Slots has no bound.
type Slots struct {
	// Spare closes a connection that nobody uses and reports whether there was
	// one. nil: there never is.
	Spare func() bool

	open atomic.Int64
	most atomic.Int64
}

// SetMost sets the bound, 0 for none. Connections past it live on.
func (s *Slots) SetMost(n int) { s.most.Store(int64(n)) }

// Open is the number of slots that are taken.
func (s *Slots) Open() int { return int(s.open.Load()) }

// Take takes a slot, at the cost of an unused connection where none is free.
func (s *Slots) Take() bool {
	if s == nil {
		return true
	}
	if s.free() {
		return true
	}
	return s.Spare != nil && s.Spare() && s.free()
}

func (s *Slots) free() bool {
	if n, most := s.open.Add(1), s.most.Load(); most == 0 || n <= most {
		return true
	}
	s.open.Add(-1)
	return false
}

// GiveBack gives a slot back.
func (s *Slots) GiveBack() {
	if s != nil {
		s.open.Add(-1)
	}
}
