package edit

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// ErrPart ends a change that is too large to be made at once: what it wrote so
// far is written, and it runs again for the rest.
var ErrPart = errors.New("a part of the change")

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
}

// Result is what a change did.
type Result struct {
	Index uint64 // of all objects written
	// Unseen: the write stands, but this node does not work with it yet.
	Unseen bool
}

// Do runs change and writes what it asks for, again and again until nothing
// that it read has changed in between. What change returns as an error ends it.
func (p *Policy) Do(ctx context.Context, change func(*Txn) error) (Result, error) {
	wait := firstWait
	for try := 0; try < maxTries; {
		t := &Txn{ctx: ctx, policy: p, seen: make(map[policy.Key]*Object), next: make(map[policy.Key]*Object)}
		wanted := change(t)
		if wanted != nil && !errors.Is(wanted, ErrPart) {
			return Result{}, wanted
		}
		result, err := t.commit()
		if err == nil && wanted != nil {
			continue
		}
		if _, conflict := errors.AsType[*store.ConflictError](err); !conflict {
			return result, err
		}
		try++
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
			return Result{}, err
		}
		wait = min(2*wait, lastWait)
	}
	return Result{}, ErrBusy
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
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
		case !changed, o == nil && seen == nil:
		case o == nil:
			op.Verb = store.Delete
			deletes++
		default:
			op.Verb, op.Value = store.Put, o.Value
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
