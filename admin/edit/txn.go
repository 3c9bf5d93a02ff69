package edit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lictor/internal/pace"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// ErrPart is what a change returns to have what it put and deleted so far written,
// and to be run again for the rest: see [Txn.Full]. An error of [Policy.Do] that
// wraps it says that only parts of the change were written.
var ErrPart = errors.New("only a part of the change was made")

// ErrBusy is the error of a change that was tried many times, while others changed
// what it had read each time.
var ErrBusy = errors.New("others keep changing the same objects")

const (
	maxTries  = 24
	firstWait = 2 * time.Millisecond // before the second try, with jitter; it doubles up to lastWait
	lastWait  = 200 * time.Millisecond
)

// Txn is one try of a change. It is written only if what was read by Get is still
// the same. Only the function that was given it may use it, while it runs. Errors are
// to be returned from that function as they are.
type Txn struct {
	ctx    context.Context
	policy *Policy
	seen   map[policy.Key]*Object // as in the store; nil: there is none
	next   map[policy.Key]*Object // as it is to be; nil: deleted
	order  []policy.Key           // the keys of seen, as they were read
	moved  []policy.Key           // the keys of next, as they were written
	used   map[policy.Key]bool    // those of seen that Use was called for
}

// Result is what a change did.
type Result struct {
	Index  uint64 // the store's, of all objects that were written; 0 if none was
	Unseen bool   // it is written, but not in force on this node yet
}

// Do runs change and writes what it put and deleted, again and again until nothing
// that it read has changed meanwhile; it waits for the store, and for changes that
// are in its way, until ctx ends. An error of change is returned as it is, unless it
// is ErrPart; others are ErrBusy, and those of the store and ctx.
func (p *Policy) Do(ctx context.Context, change func(*Txn) error) (_ Result, err error) {
	wait, parts := firstWait, 0
	defer func() {
		if err != nil && parts > 0 {
			err = fmt.Errorf("%w: %w", ErrPart, err)
		}
	}()
	for try := 0; try < maxTries; {
		t := &Txn{ctx: ctx, policy: p, seen: make(map[policy.Key]*Object), next: make(map[policy.Key]*Object), used: make(map[policy.Key]bool)}
		wanted := change(t)
		var result Result
		err := wanted
		if wanted == nil || errors.Is(wanted, ErrPart) {
			result, err = t.commit()
		}
		if err == nil && wanted != nil {
			parts++
			continue
		}
		if _, conflict := errors.AsType[*store.ConflictError](err); !conflict {
			return result, err
		}
		if try++; try == 1 {
			// Those who got into each other's way go on one by one, so that any
			// number of them comes to an end.
			if err := p.take(ctx); err != nil {
				return Result{}, err
			}
			defer func() { <-p.turn }()
		}
		if err := pace.Sleep(ctx, wait/2+rand.N(wait)); err != nil {
			return Result{}, err
		}
		wait = min(2*wait, lastWait)
	}
	return Result{}, ErrBusy
}

func (p *Policy) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns an object as this change has left it so far, nil if there is none. It
// waits for the store.
func (t *Txn) Get(key policy.Key) (*Object, error) {
	if o, changed := t.next[key]; changed {
		return o, nil
	}
	if o, seen := t.seen[key]; seen {
		return o, nil
	}
	o, err := t.policy.Get(t.ctx, key)
	if err != nil {
		return nil, err
	}
	t.seen[key] = o
	t.order = append(t.order, key)
	return o, nil
}

// Consumer is [Policy.Consumer].
func (t *Txn) Consumer(ref string) *policy.Identity { return t.policy.Consumer(ref) }

// List is [Policy.List]. It does not know of the changes made here, and what it
// returns may have changed by the time the change is written: Get checks that.
func (t *Txn) List(kind policy.Kind) ([]*Object, error) { return t.policy.List(t.ctx, kind) }

// Use is Get for an object that this change makes another one refer to. The object is
// written again, unchanged, so that a deletion of it at the same moment fails: for
// that it has changed.
func (t *Txn) Use(key policy.Key) (*Object, error) {
	o, err := t.Get(key)
	if o != nil && err == nil {
		t.used[key] = true
	}
	return o, err
}

// Current reads an object, and then waits until the lists of this node are newer: all
// that refers to the object by then (see Use) is in them. It is to be called before a
// deletion looks for what refers to the object.
func (t *Txn) Current(key policy.Key) error {
	if _, err := t.Get(key); err != nil {
		return err
	}
	return t.policy.store.Refresh(t.ctx)
}

// Put has content written under key, and returns the object; its Index is set once
// Do returned. content is not to be changed any more. An error is of the type
// [policy.Problems] if something is wrong with it.
func (t *Txn) Put(key policy.Key, content policy.Object) (*Object, error) {
	old, err := t.Get(key)
	if err != nil {
		return nil, err
	}
	if wrong := policy.Check(key.Name, content); len(wrong) > 0 {
		return nil, wrong
	}
	value, err := document.JSON(content)
	if err != nil {
		return nil, err
	}
	o := &Object{Key: key, Value: value, Content: content}
	if old != nil {
		o.Created = old.Created
	}
	t.set(key, o)
	return o, nil
}

// Delete has an object deleted. There need not be one.
func (t *Txn) Delete(key policy.Key) error {
	if _, err := t.Get(key); err != nil {
		return err
	}
	t.set(key, nil)
	return nil
}

// Limits of a part of a change: half of what a transaction may have, for objects
// that are only checked are a part of the transaction as well.
const (
	partOps   = 48
	partBytes = store.MaxBytes / 2
)

// Full reports whether the change is as large as one transaction may be, so that it
// should return [ErrPart].
func (t *Txn) Full() bool {
	if len(t.order) >= partOps {
		return true
	}
	size := 0
	for _, o := range t.next {
		if o != nil {
			size += len(o.Value)
		}
	}
	return size >= partBytes
}

func (t *Txn) set(key policy.Key, o *Object) {
	if _, again := t.next[key]; !again {
		t.moved = append(t.moved, key)
	}
	t.next[key] = o
}

func (t *Txn) commit() (Result, error) {
	ops := t.ops()
	if len(t.moved) == 0 {
		return Result{}, nil
	}
	index, err := t.policy.store.Write(t.ctx, ops)
	result := Result{Index: index}
	if errors.Is(err, store.ErrNotSeen) {
		result.Unseen, err = true, nil
	}
	if err != nil {
		return Result{}, err
	}
	for _, o := range t.next {
		if o != nil {
			o.Index = index
			if o.Created == 0 {
				o.Created = index
			}
		}
	}
	return result, nil
}

// ops are the writes, and the checks of what was only read.
func (t *Txn) ops() []store.Op {
	var ops []store.Op
	puts, deletes := 0, 0
	for _, key := range t.order {
		seen := t.seen[key]
		op := store.Op{Kind: string(key.Kind), Name: key.Name, Verb: store.Verify}
		if op.Check.Absent = seen == nil; !op.Check.Absent {
			op.Check.Index = seen.Index
		}
		switch o, changed := t.next[key]; {
		case !changed && t.used[key] && len(seen.Value) <= maxRenewed:
			op.Verb, op.Value = store.Put, renewed(seen.Value)
		case !changed, o == nil && seen == nil:
		case o == nil:
			op.Verb = store.Delete
			deletes++
		default:
			op.Verb, op.Value = store.Put, o.Value
			if t.used[key] && seen != nil && bytes.Equal(o.Value, seen.Value) {
				op.Value = renewed(seen.Value)
			}
			puts++
		}
		ops = append(ops, op)
	}
	// That the whole policy is gone is believed only with the mark (X6), which goes
	// as soon as there is a policy again.
	objects := t.policy.store.Status().Objects
	switch {
	case puts == 0 && deletes > 1 && deletes >= objects:
		ops = append(ops, store.Op{Name: store.ClearedName, Verb: store.Put, Value: []byte("emptied on purpose, by the admin API\n")})
	case puts > 0 && objects == 0:
		ops = append(ops, store.Op{Name: store.ClearedName, Verb: store.Delete})
	}
	return ops
}

// maxRenewed bounds the value of an object that Use has written again, for the size
// of a transaction is limited. Larger ones are only checked.
const maxRenewed = 64 << 10

// renewed returns a value that means the same in other bytes: to Consul, a write of
// the same bytes is no change.
func renewed(value []byte) []byte {
	if bytes.HasSuffix(value, []byte("\n\n")) {
		return value[:len(value)-1]
	}
	return append(slices.Clone(value), '\n')
}
