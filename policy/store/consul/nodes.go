package consul

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	client "lictor/internal/consul"
	"lictor/policy/store"
)

const hexDigits = "0123456789abcdef"

// mostKinds bounds the watches besides those of shardedKind; the kinds beyond
// share a place.
const mostKinds = 16

// leastConns is what the client must have: each watch waits on a connection, and
// what is read and written at once finds one.
const leastConns = mostKinds + len(hexDigits) + 8

// node is a prefix that is watched and read as one.
type node struct {
	prefix string // below policy/; a kind has no slash, so that its names fold
	within string // with which keys of the node begin: "acls/"
	shard  bool   // a part of the sharded kind
	index  uint64 // of the content; 0 = to be read
	empty  bool
	items  map[string]*item // by key below policy/
	size   int              // bytes of their values
}

// item is an object of a node, as last read.
type item struct {
	object *store.Object
	seen   uint64 // round in which it was last seen in an answer
}

// put enters an object, in the place of what the node had at its key.
func (n *node) put(key string, it *item) {
	n.drop(key)
	n.items[key] = it
	n.size += len(it.object.Value)
}

// drop takes an object out, if it is there.
func (n *node) drop(key string) {
	if it := n.items[key]; it != nil {
		n.size -= len(it.object.Value)
		delete(n.items, key)
	}
}

// has reports whether a key belongs to the node, of the keys that begin with its
// prefix.
func (n *node) has(key string) bool { return strings.HasPrefix(key, n.within) }

// moved reports whether an answer says that the node's content is not what is
// known. The index of an empty prefix is that of the whole KV and says nothing.
func (n *node) moved(a client.Meta) bool {
	return a.Empty != n.empty || !a.Empty && a.Index != n.index
}

// layout is how the keys are split at present.
type layout struct {
	shard  string  // the kind that is split by the first digit of its names; "" = none
	nodes  []*node // those that are watched
	byKind map[string]*node
	shards map[byte]*node
	rest   *node // everything that belongs to no other; in the small layout everything
	mark   *node // the cleared mark; nil in the small layout
	split  bool
}

func newLayout(shard string) *layout {
	all := &node{items: map[string]*item{}}
	return &layout{shard: shard, nodes: []*node{all}, rest: all}
}

// newSplitLayout splits by kinds, and one of them by the digits of its names.
func newSplitLayout(shard string, kinds []string) *layout {
	l := &layout{shard: shard, split: true, byKind: map[string]*node{}, shards: map[byte]*node{}, rest: &node{items: map[string]*item{}}}
	l.mark = &node{prefix: store.ClearedName, within: store.ClearedName, items: map[string]*item{}}
	l.nodes = append(l.nodes, l.mark)
	for _, kind := range kinds {
		if l.byKind[kind] != nil || kind == shard || !store.ValidKind(kind) || len(l.nodes) == mostKinds {
			continue
		}
		n := &node{prefix: kind, within: kind + "/", items: map[string]*item{}}
		l.byKind[kind] = n
		l.nodes = append(l.nodes, n)
	}
	if shard == "" {
		return l
	}
	for _, digit := range []byte(hexDigits) {
		prefix := shard + "/" + string(digit)
		n := &node{prefix: prefix, within: prefix, shard: true, items: map[string]*item{}}
		l.shards[digit] = n
		l.nodes = append(l.nodes, n)
	}
	return l
}

// find returns the node to which a key belongs.
func (l *layout) find(key []byte) *node {
	if !l.split {
		return l.rest
	}
	kind, name, found := bytes.Cut(key, []byte("/"))
	switch {
	case store.IsMark(string(key)) && string(key) != store.ClearedName:
		return l.mark
	case !found:
		return l.rest
	case string(kind) != l.shard:
		if n := l.byKind[string(kind)]; n != nil {
			return n
		}
	case len(name) > 0:
		if n := l.shards[name[0]]; n != nil {
			return n
		}
	}
	return l.rest
}

// all yields the watched nodes and the rest.
func (l *layout) all() []*node {
	if !l.split {
		return l.nodes
	}
	return append([]*node{l.rest}, l.nodes...)
}

// fill puts the objects of a mirror into the nodes of an empty layout.
func (l *layout) fill(objects []store.Change) {
	for i := range objects {
		key := objects[i].Key()
		l.find([]byte(key)).put(key, &item{object: &objects[i].Object})
	}
}

// take looks at an entry of an answer. It returns the object if it is new or
// different, and nil if nothing changed or the key is no object. Data are
// compared, not indexes: a Consul that lost its memory counts them out again.
func (n *node) take(key []byte, e *entry, round uint64, scratch *[]byte) (*store.Object, error) {
	known := n.items[string(key)]
	value, err := decodeValue(e.value, scratch)
	if err != nil {
		return nil, fmt.Errorf("value of %s: %w", key, err)
	}
	if known != nil {
		known.seen = round
		o := known.object
		if o.Index == e.modify && o.CreateIndex == e.create && !o.Held && bytes.Equal(o.Value, value) {
			return nil, nil
		}
	}
	text := string(key)
	kind, name, ok := objectAt(text, len(value) > 0)
	if !ok {
		return nil, nil
	}
	o := &store.Object{Kind: kind, Name: name, Value: append([]byte{}, value...), Index: e.modify, CreateIndex: e.create}
	n.put(text, &item{object: o, seen: round})
	return o, nil
}

// objectAt returns the kind and name of the object that a key of Consul is. It is
// the one place that says which keys are none: those with a dot in front, and
// folders, unless they have a value, for then somebody meant an object.
func objectAt(key string, hasValue bool) (kind, name string, ok bool) {
	kind, name, ok = store.SplitKey(key)
	if !ok && hasValue && key != "" && key[0] != '.' {
		return "", key, true
	}
	return kind, name, ok
}

// decodeValue decodes base64 into scratch and returns it.
func decodeValue(text []byte, scratch *[]byte) ([]byte, error) {
	if need := base64.StdEncoding.DecodedLen(len(text)); need > len(*scratch) {
		*scratch = make([]byte, 2*need)
	}
	k, err := base64.StdEncoding.Decode(*scratch, text)
	return (*scratch)[:k], err
}

// sweep removes what was not seen in a round, and returns it. What is held is
// not there and does not vanish.
func (n *node) sweep(round uint64) []*store.Object {
	var gone []*store.Object
	for key, it := range n.items {
		if it.seen != round && !it.object.Held {
			gone = append(gone, it.object)
			n.drop(key)
		}
	}
	return gone
}

// stored is how many objects of the node the store shows.
func (n *node) stored() int {
	count := 0
	for _, it := range n.items {
		if !it.object.Held {
			count++
		}
	}
	return count
}

// kinds returns the kinds of the objects, for a split.
func (l *layout) kinds() []string {
	seen := map[string]bool{}
	var kinds []string
	for _, n := range l.all() {
		for key := range n.items {
			kind, _, found := strings.Cut(key, "/")
			if found && !seen[kind] {
				seen[kind] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}
