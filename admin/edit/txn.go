package edit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// ErrPart ends a change that is too large to be made at once: what it wrote so
// far is written, and it runs again for the rest. An error of [Policy.Do] that
// is also this one says that only parts were written.
var ErrPart = errors.New("only a part of the change was made")

// ErrBusy says that others changed what a change depends on, each time anew.
var ErrBusy = errors.New("others keep changing the same objects")

const (
	maxTries  = 24
	firstWait = 2 * time.Millisecond // before the second try; doubled up to lastWait, half of it by chance
	lastWait  = 200 * time.Millisecond
)

// Txn is one attempt of a change. What it reads is part of the condition under
// which it is written.
type Txn struct {
	ctx    context.Context
	policy *Policy
	seen   map[policy.Key]*Object // as in the store; nil: there is none
	next   map[policy.Key]*Object // as it is to be; nil: deleted
	order  []policy.Key           // of seen
	moved  []policy.Key           // of next
	used   map[policy.Key]bool    // of seen, see Use
}

// Result is what a change did.
type Result struct {
	Index uint64 // of all objects written
	// Unseen: the write stands, but this node does not work with it yet.
	Unseen bool
}

// Do runs change and writes what it asks for, again and again until nothing
// that it read has changed in between. What change returns as an error ends it.
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
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
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

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns an object as this change leaves it so far, nil if there is none.
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

// List returns the objects of a kind as this node works with them, without the
// changes made here. Nothing checks that they stay so.
func (t *Txn) List(kind policy.Kind) ([]*Object, error) { return t.policy.List(t.ctx, kind) }

// Use notes that this change makes something refer to an object: it is written
// anew with what it says, so that it cannot be deleted at the same moment, for
// that deletion finds it changed. Nil if there is none.
func (t *Txn) Use(key policy.Key) (*Object, error) {
	o, err := t.Get(key)
	if o != nil && err == nil {
		t.used[key] = true
	}
	return o, err
}

// Current returns once the lists of this node are newer than what was read of
// an object, so that whatever used it until then (see Use) is in them, and so
// are references written by hand. It is to be asked before a deletion looks for
// users.
func (t *Txn) Current(key policy.Key) error {
	if _, err := t.Get(key); err != nil {
		return err
	}
	return t.policy.store.Refresh(t.ctx)
}

// Put writes an object, which must be good.
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

// Delete removes an object.
func (t *Txn) Delete(key policy.Key) error {
	if _, err := t.Get(key); err != nil {
		return err
	}
	t.set(key, nil)
	return nil
}

// Limits of a part of a change: half of what a transaction may have, for there
// may be more to check and to write along with it.
const (
	partOps   = 48
	partBytes = store.MaxBytes / 2
)

// Full reports whether what was read and written so far is to be written before
// there is more of it, see [ErrPart].
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
	// The loss of everything at once is believed only with the mark (X6), and
	// the mark is to go as soon as there is something again.
	objects := t.policy.store.Status().Objects
	switch {
	case puts == 0 && deletes > 1 && deletes >= objects:
		ops = append(ops, store.Op{Name: store.ClearedName, Verb: store.Put, Value: []byte("emptied on purpose, by the admin API\n")})
	case puts > 0 && objects == 0:
		ops = append(ops, store.Op{Name: store.ClearedName, Verb: store.Delete})
	}
	return ops
}

// maxRenewed bounds the value of an object that is written anew for its use: a
// transaction has its limits. Larger ones are only checked.
const maxRenewed = 64 << 10

// renewed returns a value that says the same in other bytes: Consul does not
// count a write of the same bytes as one.
func renewed(value []byte) []byte {
	if bytes.HasSuffix(value, []byte("\n\n")) {
		return value[:len(value)-1]
	}
	return append(slices.Clone(value), '\n')
}
