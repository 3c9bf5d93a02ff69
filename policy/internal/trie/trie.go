// Package trie is a persistent hash map. A change makes a new map that shares all
// but the way to the changed entry with the old one, so that who reads the old one
// keeps what it had, and a change costs the same with ten entries as with a million.
package trie

import (
	"math/bits"
	"slices"
)

// Trie is a persistent hash map: it never changes, [Trie.With] and [Trie.Without]
// return another one. The zero Trie is empty. It may be read from any number of
// goroutines.
//
// Callers give the hash of each key, which saves computing it twice. Equal keys
// must have equal hashes. Keys with equal hashes cost a comparison each, so that
// hashes of what strangers write must not be foreseeable.
type Trie[K comparable, V any] struct {
	root *node[K, V]
	len  int
}

// Len returns the number of entries.
func (t Trie[K, V]) Len() int { return t.len }

// node holds up to 32 slots, by five bits of the hash a level; a slot is an
// entry or a child. Past the last level entries of equal hash lie side by side.
type node[K comparable, V any] struct {
	entryMap, childMap uint32
	entries            []entry[K, V]
	children           []*node[K, V]
}

type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

const (
	bitsPerLevel = 5
	lastBit      = 60 // bits used up; below it only equal hashes meet
)

// Get returns the value of a key. ok is false, and the value zero, if there is none.
func (t Trie[K, V]) Get(hash uint64, key K) (v V, ok bool) {
	n := t.root
	for shift := uint(0); n != nil; shift += bitsPerLevel {
		if shift >= lastBit {
			for i := range n.entries {
				if n.entries[i].key == key {
					return n.entries[i].value, true
				}
			}
			return v, false
		}
		bit := uint32(1) << (hash >> shift & 31)
		if n.childMap&bit != 0 {
			n = n.children[bits.OnesCount32(n.childMap&(bit-1))]
			continue
		}
		if n.entryMap&bit != 0 {
			e := &n.entries[bits.OnesCount32(n.entryMap&(bit-1))]
			if e.hash == hash && e.key == key {
				return e.value, true
			}
		}
		return v, false
	}
	return v, false
}

// With returns a trie in which key has the value, besides all that t has.
func (t Trie[K, V]) With(hash uint64, key K, value V) Trie[K, V] {
	root, added := t.root.with(entry[K, V]{hash, key, value}, 0)
	if added {
		t.len++
	}
	t.root = root
	return t
}

// Without returns a trie that has what t has, but for key.
func (t Trie[K, V]) Without(hash uint64, key K) Trie[K, V] {
	if _, ok := t.Get(hash, key); !ok {
		return t
	}
	return Trie[K, V]{root: t.root.without(hash, key, 0), len: t.len - 1}
}

// Hashes calls yield with the hash of every entry, in no order.
func (t Trie[K, V]) Hashes(yield func(uint64)) { t.root.hashes(yield) }

func (n *node[K, V]) hashes(yield func(uint64)) {
	if n == nil {
		return
	}
	for i := range n.entries {
		yield(n.entries[i].hash)
	}
	for _, c := range n.children {
		c.hashes(yield)
	}
}

// All calls yield with every entry, in no order, until it returns false.
func (t Trie[K, V]) All(yield func(K, V) bool) { t.root.all(yield) }

func (n *node[K, V]) all(yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.entries {
		if !yield(n.entries[i].key, n.entries[i].value) {
			return false
		}
	}
	for _, c := range n.children {
		if !c.all(yield) {
			return false
		}
	}
	return true
}

func (n *node[K, V]) with(e entry[K, V], shift uint) (*node[K, V], bool) {
	if n == nil {
		n = &node[K, V]{}
	}
	next := *n
	if shift >= lastBit {
		i := slices.IndexFunc(n.entries, func(o entry[K, V]) bool { return o.key == e.key })
		next.entries = slices.Clone(n.entries)
		if i >= 0 {
			next.entries[i] = e
			return &next, false
		}
		next.entries = append(next.entries, e)
		return &next, true
	}
	bit := uint32(1) << (e.hash >> shift & 31)
	ci, ei := bits.OnesCount32(n.childMap&(bit-1)), bits.OnesCount32(n.entryMap&(bit-1))
	switch {
	case n.childMap&bit != 0:
		child, added := n.children[ci].with(e, shift+bitsPerLevel)
		next.children = slices.Clone(n.children)
		next.children[ci] = child
		return &next, added
	case n.entryMap&bit == 0:
		next.entryMap |= bit
		next.entries = insert(n.entries, ei, e)
		return &next, true
	case n.entries[ei].key == e.key:
		next.entries = slices.Clone(n.entries)
		next.entries[ei] = e
		return &next, false
	}
	// Two keys meet in one slot: both move a level down.
	child, _ := (*node[K, V])(nil).with(n.entries[ei], shift+bitsPerLevel)
	child, _ = child.with(e, shift+bitsPerLevel)
	next.entryMap &^= bit
	next.entries = remove(n.entries, ei)
	next.childMap |= bit
	next.children = insert(n.children, ci, child)
	return &next, true
}

// without removes a key that is there; an empty node is nil.
func (n *node[K, V]) without(hash uint64, key K, shift uint) *node[K, V] {
	next := *n
	bit := uint32(1) << (hash >> shift & 31)
	if shift >= lastBit {
		i := slices.IndexFunc(n.entries, func(o entry[K, V]) bool { return o.key == key })
		next.entries = remove(n.entries, i)
	} else if n.childMap&bit == 0 {
		next.entryMap &^= bit
		next.entries = remove(n.entries, bits.OnesCount32(n.entryMap&(bit-1)))
	} else {
		ci := bits.OnesCount32(n.childMap & (bit - 1))
		if child := n.children[ci].without(hash, key, shift+bitsPerLevel); child != nil {
			next.children = slices.Clone(n.children)
			next.children[ci] = child
		} else {
			next.childMap &^= bit
			next.children = remove(n.children, ci)
		}
	}
	if len(next.entries) == 0 && len(next.children) == 0 {
		return nil
	}
	return &next
}

// insert and remove copy, for the old node keeps its slice.
func insert[T any](s []T, i int, v T) []T {
	next := make([]T, len(s)+1)
	copy(next, s[:i])
	next[i] = v
	copy(next[i+1:], s[i:])
	return next
}

func remove[T any](s []T, i int) []T {
	next := make([]T, len(s)-1)
	copy(next, s[:i])
	copy(next[i:], s[i+1:])
	return next
}
