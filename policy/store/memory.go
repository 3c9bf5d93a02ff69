package store

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Memory is the store of "run -dev" and of tests: it forgets everything at exit.
type Memory struct {
	mirror *mirror
	mu     sync.Mutex // serialises writers and their delivery
	index  uint64
}

// NewMemory returns an empty store.
func NewMemory(log hclog.Logger) *Memory {
	s := &Memory{mirror: newMirror(KindMemory, log, nil)}
	s.mirror.publish(Update{})
	return s
}

// Kind is KindMemory.
func (s *Memory) Kind() string { return KindMemory }

// Status returns the condition of the store.
func (s *Memory) Status() Status {
	s.mirror.contact()
	return s.mirror.Status()
}

// Watch delivers the content, then every write.
func (s *Memory) Watch(ctx context.Context, fn func(Update) []string) error {
	s.mu.Lock()
	if err := s.mirror.begin(fn); err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock() // a delivery that runs ends first
	s.mirror.end()
	s.mu.Unlock()
	return ctx.Err()
}

// List returns the objects of a kind, by name.
func (s *Memory) List(_ context.Context, kind string) ([]Object, error) {
	return s.mirror.list(kind)
}

// Held returns nothing: nobody else can take objects away.
func (s *Memory) Held() []Object { return nil }

// Refresh has nothing to do: every write is delivered as it is done.
func (s *Memory) Refresh(context.Context) error { return nil }

// Get returns one object.
func (s *Memory) Get(_ context.Context, kind, name string) (Object, error) {
	return s.mirror.get(kind, name)
}

// Write does all ops or none.
func (s *Memory) Write(ctx context.Context, ops []Op) (uint64, error) {
	if err := checkOps(ops); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mirror.checkEmptying(ops); err != nil {
		return 0, err
	}
	changes, err := plan(ops, s.index+1, s.mirror.get)
	if err != nil {
		return 0, err
	}
	s.index++
	s.mirror.setMarks(s.mirror.marksAfter(ops, s.index))
	s.mirror.publish(Update{Changes: changes, Index: s.index})
	return s.index, nil
}

// plan checks ops against what get returns and makes changes of them, all at index.
func plan(ops []Op, index uint64, get func(kind, name string) (Object, error)) ([]Change, error) {
	var changes []Change
	for _, op := range ops {
		old, err := get(op.Kind, op.Name)
		exists := err == nil
		if op.Check.Absent && exists || op.Check.Index != 0 && (!exists || old.Index != op.Check.Index) {
			return nil, &ConflictError{Op: op}
		}
		if op.Kind == "" {
			continue // the cleared mark is no object
		}
		change := Change{Object: Object{Kind: op.Kind, Name: op.Name, Index: index}}
		switch {
		case op.Verb == Put:
			change.Value = append([]byte{}, op.Value...)
			change.CreateIndex = index
			if exists {
				change.CreateIndex = old.CreateIndex
			}
		case op.Verb == Delete && exists:
			change.Deleted = true
		default:
			continue
		}
		changes = append(changes, change)
	}
	return changes, nil
}
