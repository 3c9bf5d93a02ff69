package consul

import (
	"bytes"
	"context"
	"slices"
	"strings"

	client "lictor/internal/consul"
	"lictor/policy/store"
)

// readAll reads nodes and returns them without doubles. If one of them is not
// read by itself, the whole is read and published, and nil returned.
func (s *session) readAll(ctx context.Context, dirty []*node) ([]*node, error) {
	var done []*node
	read := map[*node]bool{}
	for _, n := range dirty {
		if n == s.lay.rest {
			return nil, s.whole(ctx)
		}
		if read[n] {
			continue
		}
		read[n] = true
		done = append(done, n)
		if err := s.readNode(ctx, n); err != nil {
			return nil, err
		}
		if n == s.lay.mark {
			return nil, s.whole(ctx) // which does what the mark says
		}
	}
	return done, nil
}

// readNode brings a node up to date: by the keys that changed, where that is cheaper
// and can be told, else by reading all of it.
func (s *session) readNode(ctx context.Context, n *node) error {
	if s.c.byKeys(n, 1) {
		if done, err := s.readKeys(ctx, n); done || err != nil {
			return err
		}
	}
	s.round++
	a, err := s.c.read(ctx, n.prefix, client.Query{Known: n.index}, func(e *entry) error {
		key, ok := bytes.CutPrefix(e.key, []byte(s.c.root))
		if !ok || !bytes.HasPrefix(key, []byte(n.within)) {
			return nil
		}
		return s.take(n, key, e)
	})
	if err != nil {
		return err
	}
	s.sweep(n)
	n.index, n.empty = a.Index, a.Empty
	return nil
}

// take notes an entry of an answer.
func (s *session) take(n *node, key []byte, e *entry) error {
	o, err := n.take(key, e, s.round, &s.scratch)
	if o != nil {
		s.pending[o.Key()] = store.Change{Object: *o}
	}
	return err
}

// sweep notes what the last answer on n did not have, and returns how many that are.
func (s *session) sweep(n *node) int {
	all := n.sweep(s.round)
	for _, o := range all {
		gone := store.Change{Object: *o, Deleted: true}
		gone.Value = nil
		s.pending[o.Key()] = gone
	}
	return len(all)
}

// unsettled returns the nodes that moved since they were read, last being the
// one that was read last, which proves nothing to ask.
func (s *session) unsettled(ctx context.Context, last *node) (moved []*node, err error) {
	others := false // something but the sharded kind changed
	for _, change := range s.pending {
		others = others || change.Kind != s.lay.shard
	}
	if others {
		if moved, err = s.movedShards(ctx); err != nil {
			return nil, err
		}
	}
	for _, n := range s.lay.nodes {
		if n.shard || n == last {
			continue
		}
		a, err := s.c.probe(ctx, n.prefix, client.Query{})
		if err != nil {
			return nil, err
		}
		if n.moved(a) {
			moved = append(moved, n)
		}
	}
	return moved, nil
}

// movedShards returns the shards that moved since they were read. One look at
// the index of them all is mostly enough; to ask each costs Consul more.
func (s *session) movedShards(ctx context.Context) (moved []*node, err error) {
	if s.lay.shard == "" {
		return nil, nil
	}
	all, err := s.c.probe(ctx, s.lay.shard, client.Query{})
	if err != nil || all.Index == s.shardsAt || all.Empty && !slices.ContainsFunc(s.lay.nodes, func(n *node) bool { return n.shard && !n.empty }) {
		return nil, err
	}
	for _, n := range s.lay.nodes {
		if !n.shard {
			continue
		}
		a, err := s.c.probe(ctx, n.prefix, client.Query{})
		if err != nil {
			return nil, err
		}
		if n.moved(a) {
			moved = append(moved, n)
		}
	}
	s.shardsAt = 0
	if len(moved) == 0 {
		s.shardsAt = all.Index
	}
	return moved, nil
}

// unwatched reports whether there is a name that no watch and no whole answer
// knows: another kind, or a key beside the kinds.
func (s *session) unwatched(names []string) bool {
	for _, name := range names {
		kind := strings.TrimSuffix(name, "/")
		if s.lay.byKind[kind] == nil && kind != s.lay.shard && kind != store.ClearedName && !s.tops[name] {
			return true
		}
	}
	return false
}
