// Package edit reads and changes the objects of the policy for the admin
// listener's APIs.
//
// A change is a function that reads what it needs from a [Txn], and puts and deletes
// objects there. [Policy.Do] writes all of that or nothing. If anything that the
// function read has changed meanwhile it writes nothing and runs the function again:
// so nobody's change is lost, on whichever node and in whichever way it was made (X7).
package edit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// Object is an object of the policy as it stands in the store. It is shared, and not
// to be changed: [policy.Clone] makes a copy of its Content.
type Object struct {
	Key     policy.Key
	Index   uint64 // the store's index of its last write: it makes the ETag
	Created uint64 // the store's index of its first write: smaller is older
	Value   []byte // the document
	// Content is what could be read of Value; of a kind that is known it is never nil.
	Content policy.Object
	// Problems say why Value is not in force (X6); nil if it is.
	Problems policy.Problems
	// Held says that it is in force although the store does not have it any more,
	// which is not believed. It can be read, changed and deleted like others; a
	// change puts it back into the store.
	Held bool
}

// Policy reads and changes the objects in a store. [New] makes one. Any goroutine
// may call its methods. Their errors are those of the store, or of ctx.
type Policy struct {
	store store.Store
	set   func() *policy.Set

	mu    sync.Mutex                         // guards kinds
	kinds map[policy.Kind]map[string]*Object // as they were listed last, so that what did not change is not parsed again

	turn chan struct{} // holds a token of whoever lost a race: they write one after the other
}

// New returns the policy in a store. set returns the policy that this node has in
// force; it must not block.
func New(s store.Store, set func() *policy.Set) *Policy {
	return &Policy{store: s, set: set, kinds: make(map[policy.Kind]map[string]*Object), turn: make(chan struct{}, 1)}
}

// Consumer returns the consumer whose id is ref, or else whose name is, by the policy
// in force on this node; nil if there is none.
func (p *Policy) Consumer(ref string) *policy.Identity { return p.set().Consumer(ref) }

// List returns the objects of a kind in the order of creation, as this node last
// saw them. It does not wait for the store. The slice is the caller's, the objects
// are not.
func (p *Policy) List(ctx context.Context, kind policy.Kind) ([]*Object, error) {
	stored, err := p.store.List(ctx, string(kind))
	if err != nil {
		return nil, err
	}
	list := make([]*Object, len(stored))
	p.mu.Lock()
	known := p.kinds[kind]
	for i := range stored {
		if o := known[stored[i].Name]; o.is(&stored[i]) {
			list[i] = o
		}
	}
	p.mu.Unlock()
	next := make(map[string]*Object, len(list))
	for i, o := range list {
		if o == nil {
			list[i] = read(&stored[i])
		}
		next[list[i].Key.Name] = list[i]
	}
	p.mu.Lock()
	p.kinds[kind] = next
	p.mu.Unlock()
	slices.SortFunc(list, func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Key.Name, b.Key.Name))
	})
	return list, nil
}

// Get returns an object as it is in the store now, and waits for the store. While
// the store is away it returns the object as this node last saw it. nil: there is
// none.
func (p *Policy) Get(ctx context.Context, key policy.Key) (*Object, error) {
	if !p.store.Status().Live { // asking it might take long
		return p.listed(ctx, key)
	}
	stored, err := p.store.Get(ctx, string(key.Kind), key.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	p.mu.Lock()
	known := p.kinds[key.Kind][key.Name]
	p.mu.Unlock()
	if known.is(&stored) {
		return known, nil
	}
	return read(&stored), nil
}

// listed returns an object as List does, nil if there is none.
func (p *Policy) listed(ctx context.Context, key policy.Key) (*Object, error) {
	list, err := p.List(ctx, key.Kind)
	if i := slices.IndexFunc(list, func(o *Object) bool { return o.Key == key }); i >= 0 {
		return list[i], nil
	}
	return nil, err
}

// is reports whether o was read from this version of an object.
func (o *Object) is(s *store.Object) bool {
	return o != nil && o.Index == s.Index && o.Created == s.CreateIndex && o.Held == s.Held
}

func read(s *store.Object) *Object {
	o := &Object{Key: policy.Key{Kind: policy.Kind(s.Kind), Name: s.Name}, Index: s.Index, Created: s.CreateIndex, Value: s.Value, Held: s.Held}
	var err error
	if o.Content, err = document.Parse(o.Key, s.Value); err != nil {
		o.Problems = problemsOf(err)
	}
	return o
}

func problemsOf(err error) policy.Problems {
	if p, ok := errors.AsType[policy.Problems](err); ok {
		return p
	}
	return policy.Problems{{Text: err.Error()}}
}
