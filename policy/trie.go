package policy

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// trie is a persistent hash map: with and without return a new one that shares
// all but the way to the changed entry, so an old Set keeps what it had while a
// change costs the same with ten entries as with a million. The zero trie is
// empty. Callers give the hash, which saves computing it twice.
type trie[K comparable, V any] struct {
	root *trieNode[K, V]
	len  int
}

// trieNode holds up to 32 slots, by five bits of the hash a level; a slot is an
// entry or a child. Past the last level entries of equal hash lie side by side.
type trieNode[K comparable, V any] struct {
	entryMap, childMap uint32
	entries            []trieEntry[K, V]
	children           []*trieNode[K, V]
}

type trieEntry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

const (
	trieBits  = 5
	trieDepth = 60 // bits used up; below it only equal hashes meet
)

// seed makes hashes unforeseeable; it is the same for the whole process, as
// tries outlive Sets.
var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

// get returns the value of a key.
func (t trie[K, V]) get(hash uint64, key K) (v V, ok bool) {
	n := t.root
	for shift := uint(0); n != nil; shift += trieBits {
		if shift >= trieDepth {
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

// with returns a trie in which key has a value.
func (t trie[K, V]) with(hash uint64, key K, value V) trie[K, V] {
	root, added := t.root.with(trieEntry[K, V]{hash, key, value}, 0)
	if added {
		t.len++
	}
	t.root = root
	return t
}

// without returns a trie that does not hold key.
func (t trie[K, V]) without(hash uint64, key K) trie[K, V] {
	if _, ok := t.get(hash, key); !ok {
		return t
	}
	return trie[K, V]{root: t.root.without(hash, key, 0), len: t.len - 1}
}

// hashes yields the hash of every entry.
func (t trie[K, V]) hashes(yield func(uint64)) { t.root.hashes(yield) }

func (n *trieNode[K, V]) hashes(yield func(uint64)) {
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

// all yields every entry, in no order.
func (t trie[K, V]) all(yield func(K, V) bool) { t.root.all(yield) }

func (n *trieNode[K, V]) all(yield func(K, V) bool) bool {
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

func (n *trieNode[K, V]) with(e trieEntry[K, V], shift uint) (*trieNode[K, V], bool) {
	if n == nil {
		n = &trieNode[K, V]{}
	}
	next := *n
	if shift >= trieDepth {
		i := slices.IndexFunc(n.entries, func(o trieEntry[K, V]) bool { return o.key == e.key })
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
		child, added := n.children[ci].with(e, shift+trieBits)
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
	child, _ := (*trieNode[K, V])(nil).with(n.entries[ei], shift+trieBits)
	child, _ = child.with(e, shift+trieBits)
	next.entryMap &^= bit
	next.entries = remove(n.entries, ei)
	next.childMap |= bit
	next.children = insert(n.children, ci, child)
	return &next, true
}

// without removes a key that is there; an empty node is nil.
func (n *trieNode[K, V]) without(hash uint64, key K, shift uint) *trieNode[K, V] {
	next := *n
	bit := uint32(1) << (hash >> shift & 31)
	if shift >= trieDepth {
		i := slices.IndexFunc(n.entries, func(o trieEntry[K, V]) bool { return o.key == key })
		next.entries = remove(n.entries, i)
	} else if n.childMap&bit == 0 {
		next.entryMap &^= bit
		next.entries = remove(n.entries, bits.OnesCount32(n.entryMap&(bit-1)))
	} else {
		ci := bits.OnesCount32(n.childMap & (bit - 1))
		if child := n.children[ci].without(hash, key, shift+trieBits); child != nil {
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
