package live

import (
	"context"
	"errors"
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
	audit *audit

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
	index, err := w.Store.Write(ctx, ops)
	if errors.Is(err, store.ErrNotSeen) || errors.Is(err, store.ErrUnknown) {
		return index, err // the change may yet be delivered
	}
	w.forget(ops)
	if err != nil {
		by, from := split(who)
		w.audit.refused(ops, by, from, err)
	}
	return index, err
}

// mostWriters bounds how many objects are remembered whose write is not delivered.
const mostWriters = 4096

// split parts what [store.WithWriter] says into a name and an address.
func split(who string) (by, from string) {
	if i := strings.LastIndexByte(who, ' '); i >= 0 {
		return who[:i], who[i+1:]
	}
	return "admin", who
}

// writerOf returns the name and address of who writes an object, "" if that is nobody
// of this process.
func (w *writers) writerOf(key string) (by, from string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if who := w.who[key]; who != "" {
		return split(who)
	}
	return "", ""
}

// seen forgets who wrote what was delivered.
func (w *writers) seen(changes []store.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range changes {
		delete(w.who, changes[i].Key())
	}
}

func (w *writers) note(ops []store.Op, who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.who == nil || len(w.who) >= mostWriters {
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
