package live

import (
	"context"
	"crypto/sha256"
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

	mu      sync.Mutex            // guards what follows, and what is in it
	pending map[string][]*writing // by key, those that came first before the others
}

// writing is what somebody is about to make of an object. Others may be about to make
// something else of it: which of them a change is, its value says.
type writing struct {
	key, who string
	deleted  bool
	sum      [sha256.Size]byte // of the value, as [audit.sum] has it, if it is not deleted
	passed   bool              // another change of the object was delivered meanwhile
}

// Write implements [store.Store].
func (w *writers) Write(ctx context.Context, ops []store.Op) (uint64, error) {
	who := store.WriterOf(ctx)
	if who == "" {
		return w.Store.Write(ctx, ops)
	}
	mine := w.note(ops, who)
	index, err := w.Store.Write(ctx, ops)
	if errors.Is(err, store.ErrNotSeen) || errors.Is(err, store.ErrUnknown) {
		return index, err // the change may yet be delivered
	}
	left := w.forget(mine)
	by, from := split(who)
	if err != nil {
		w.audit.refused(ops, by, from, err)
		return index, err
	}
	for _, one := range left {
		if one.passed {
			w.audit.replaced(one, by, from, index)
		}
	}
	return index, nil
}

// Bounds on the writings that are remembered, of which some may never be delivered.
const (
	mostWriters = 4096 // objects
	mostAtOnce  = 64   // of one object, as many as the admin listener has connections
)

// split parts what [store.WithWriter] says into a name and an address.
func split(who string) (by, from string) {
	if i := strings.LastIndexByte(who, ' '); i >= 0 {
		return who[:i], who[i+1:]
	}
	return "admin", who
}

// writerOf returns the name and address of who made a change, "" if that is nobody
// of this process.
func (w *writers) writerOf(c *store.Change) (by, from string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.find(c); one != nil {
		return split(one.who)
	}
	return "", ""
}

// find returns the writing that a change is, nil if there is none. w.mu is held.
func (w *writers) find(c *store.Change) *writing {
	all := w.pending[c.Key()]
	if len(all) == 0 {
		return nil
	}
	sum := w.audit.sum(c.Kind, c.Value)
	for _, one := range all {
		if one.deleted == c.Deleted && (one.deleted || one.sum == sum) {
			return one
		}
	}
	return nil
}

// seen forgets who made the changes, which are delivered.
func (w *writers) seen(changes []store.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return
	}
	for i := range changes {
		if one := w.find(&changes[i]); one != nil {
			w.drop(one)
		}
		for _, other := range w.pending[changes[i].Key()] {
			other.passed = true
		}
	}
}

// note remembers what somebody is about to write.
func (w *writers) note(ops []store.Op, who string) (mine []*writing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil || len(w.pending) >= mostWriters {
		w.pending = make(map[string][]*writing)
	}
	for i := range ops {
		if ops[i].Verb == store.Verify {
			continue
		}
		one := &writing{key: store.Key(ops[i].Kind, ops[i].Name), who: who, deleted: ops[i].Verb == store.Delete}
		if !one.deleted {
			one.sum = w.audit.sum(ops[i].Kind, ops[i].Value)
		}
		if all := w.pending[one.key]; len(all) >= mostAtOnce {
			w.drop(all[0])
		}
		w.pending[one.key] = append(w.pending[one.key], one)
		mine = append(mine, one)
	}
	return mine
}

// forget forgets what was written, and returns what of it was not delivered.
func (w *writers) forget(mine []*writing) (left []*writing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range mine {
		if w.drop(one) {
			left = append(left, one)
		}
	}
	return left
}

// drop takes a writing out, and reports whether it was still there. w.mu is held.
func (w *writers) drop(one *writing) bool {
	all := w.pending[one.key]
	at := slices.Index(all, one)
	switch {
	case at < 0:
		return false
	case len(all) == 1:
		delete(w.pending, one.key)
	default:
		w.pending[one.key] = slices.Delete(all, at, at+1)
	}
	return true
}

// of returns who writes all of the changed objects, "" if that is nobody of this
// process, or not one alone.
func (w *writers) of(changes []store.Change) (who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range changes {
		one := w.find(&changes[i])
		if one == nil || i > 0 && one.who != who {
			return ""
		}
		who = one.who
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
