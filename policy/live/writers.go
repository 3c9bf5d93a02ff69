package live

import (
	"context"
	"slices"
	"strings"
	"sync"

	"lictor/policy/store"
)

// writers is the store as others in this process write to it. It knows who is writing
// which objects, for the line that tells of the change: a change is delivered while
// its write is still under way.
type writers struct {
	store.Store

	mu  sync.Mutex // guards who
	who map[string]string
}

// Write implements [store.Store].
func (w *writers) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	who := store.WriterOf(ctx)
	if who == "" {
		return w.Store.Write(ctx, ops)
	}
	w.note(ops, who)
	defer w.forget(ops)
	return w.Store.Write(ctx, ops)
}

func (w *writers) note(ops []store.Op, who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.who == nil {
		w.who = make(map[string]string)
	}
	for i := range ops {
		if ops[i].Verb != store.Verify {
			w.who[store.Key(ops[i].Kind, ops[i].Name)] = who
		}
	}
}

func (w *writers) forget(ops []store.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range ops {
		delete(w.who, store.Key(ops[i].Kind, ops[i].Name))
	}
}

// of returns who writes all of the changed objects, "" if that is nobody of this
// process, or not one alone.
func (w *writers) of(changes []store.Change) (who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range changes {
		by := w.who[changes[i].Key()]
		if by == "" || i > 0 && by != who {
			return ""
		}
		who = by
	}
	return who
}

// mostNamed is how many keys a line of the log names.
const mostNamed = 20

// keysOf names what changed, the first of very many.
func keysOf(changes []store.Change) string {
	var keys []string
	for i := range changes[:min(len(changes), mostNamed)] {
		keys = append(keys, changes[i].Key())
	}
	slices.Sort(keys) // they come in no order
	return strings.Join(keys, ", ")
}
