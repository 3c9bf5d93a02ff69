package acme

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// work is what a lictor does under locks of the storage. It ends when one is lost.
type work struct {
	end context.CancelCauseFunc

	mu    sync.Mutex // guards locks
	locks []*lock
}

func (w *work) add(l *lock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locks = append(w.locks, l)
}

// take takes the lock of a name off the work, nil if it has none.
func (w *work) take(name string) *lock {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.locks, func(l *lock) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	l := w.locks[i]
	w.locks = slices.Delete(w.locks, i, i+1)
	return l
}

// held returns the locks that the work is done under.
func (w *work) held() []*lock {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.locks)
}

type workKey struct{}

var errLost = errors.New("the lock in Consul was lost, somebody else may go on")

// AtWork returns a context that ends when a lock that is taken with it is lost.
// The caller ends it.
func AtWork(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(ctx)
	return context.WithValue(ctx, workKey{}, &work{end: end}), end
}

// lost is why the work ended early, nil if it did not.
func lost(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errLost) {
		return err
	}
	return nil
}
