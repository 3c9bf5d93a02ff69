// Package guarded has a set that any number of goroutines may use.
package guarded

import (
	"maps"
	"slices"
	"sync"
)

// Set is a set of values. The zero Set is empty and ready to use. No method waits
// for anything but the others.
type Set[T comparable] struct {
	mu  sync.Mutex // guards all
	all map[T]struct{}
}

// Add enters a value.
func (s *Set[T]) Add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[T]struct{})
	}
	s.all[v] = struct{}{}
}

// Remove takes a value out, if it is there.
func (s *Set[T]) Remove(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, v)
}

// Len is how many values there are.
func (s *Set[T]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// All returns the values as they are now, in no order. The caller may take its
// time with them.
func (s *Set[T]) All() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(make([]T, 0, len(s.all)), maps.Keys(s.all))
}

// Each calls f for every value, in no order, while none can be removed: f does not
// block, and does not use the set.
func (s *Set[T]) Each(f func(T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.all {
		f(v)
	}
}

// Sample is Each for n values, or as many as there are.
func (s *Set[T]) Sample(n int, f func(T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.all {
		if n--; n < 0 {
			return
		}
		f(v)
	}
}
