// Package memory keeps the policy in memory, for "run -dev" and for tests: it
// forgets everything at exit.
package memory

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// Store is a [store.Store] in memory. [New] makes it.
type Store struct {
	mirror *mirror.Mirror
	mu     sync.Mutex // serialises writers and their delivery
	index  uint64
}

// New returns an empty store; log is required.
func New(log hclog.Logger) *Store {
	s := &Store{mirror: mirror.New(store.KindMemory, log, nil)}
	s.mirror.Publish(store.Update{})
	return s
}

// Kind is KindMemory.
func (s *Store) Kind() string { return store.KindMemory }

// Status returns the condition of the store.
func (s *Store) Status() store.Status {
	s.mirror.Contact()
	return s.mirror.Status()
}

// Watch delivers the content, then every write.
func (s *Store) Watch(ctx context.Context, fn func(store.Update) []string) error {
	s.mu.Lock()
	if err := s.mirror.Begin(fn); err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock() // a delivery that runs ends first
	s.mirror.End()
	s.mu.Unlock()
	return ctx.Err()
}

// List returns the objects of a kind, by name.
func (s *Store) List(_ context.Context, kind string) ([]store.Object, error) {
	return s.mirror.List(kind)
}

// Held returns nothing: nobody else can take objects away.
func (s *Store) Held() []store.Object { return nil }

// Refresh has nothing to do: every write is delivered as it is done.
func (s *Store) Refresh(context.Context) error { return nil }

// Get returns one object.
func (s *Store) Get(_ context.Context, kind, name string) (store.Object, error) {
	return s.mirror.Get(kind, name)
}

// Write does all ops or none.
func (s *Store) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mirror.CheckEmptying(ops); err != nil {
		return 0, err
	}
	changes, err := mirror.Plan(ops, s.index+1, s.mirror.Get)
	if err != nil {
		return 0, err
	}
	s.index++
	s.mirror.SetMarks(s.mirror.MarksAfter(ops, s.index))
	s.mirror.Publish(store.Update{Changes: changes, Index: s.index})
	return s.index, nil
}
