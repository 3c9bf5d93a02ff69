package consul

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	client "lictor/internal/consul"
	"lictor/policy/store"
)

// byKeys reports whether it costs less to ask about each key of a node, and to read
// so many of them one by one, than to read all of it.
func (c *Store) byKeys(n *node, read int) bool {
	all := len(n.items)
	return all > 0 && c.keyCost*(all+read)+n.size/all*read < n.size
}

// readKeys brings a node up to date by reading only those of its keys that changed:
// Consul tells which keys there are, and, in a transaction that only checks, which of
// those that are known have another index than they had. It reports false where that
// is no cheaper than to read the whole node, or tells less: by an index that went back,
// an answer that does not fit the others, or if nothing is found that the index comes of.
//
// Several answers are one state of the node if its index is the same after the last
// as it was at the first. They are asked for of a leader that knows all that was
// written before, so that none is older than the one before it.
func (s *session) readKeys(ctx context.Context, n *node) (done bool, err error) {
	for range settleRounds {
		names, first, err := s.c.list(ctx, n.prefix, client.Query{Form: keysForm, Consistent: true})
		switch {
		case err != nil || first.Empty || n.empty || n.index == 0 || first.Index < n.index:
			return false, err
		case first.Index == n.index:
			return true, nil // a write that was seen already
		}
		s.round++
		ok, err := s.readChanged(ctx, n, names)
		if !ok {
			return false, err
		}
		last, err := s.c.probe(ctx, n.prefix, client.Query{Consistent: true})
		if err != nil {
			return false, err
		}
		if last.Index == first.Index && !last.Empty {
			gone := s.sweep(n)
			n.index, n.empty = first.Index, false
			return gone > 0 || n.highest() == first.Index, nil
		}
	}
	return false, nil
}

// highest is the highest index of the objects of a node, which is that of the node
// itself unless something was deleted since.
func (n *node) highest() (index uint64) {
	for _, it := range n.items {
		index = max(index, it.object.Index)
	}
	return index
}

// readChanged reads those of the keys that are new or changed, and notes the others
// as seen.
func (s *session) readChanged(ctx context.Context, n *node, names []string) (ok bool, err error) {
	var read []string
	var known []*store.Object
	for _, key := range names {
		switch it := n.items[key]; {
		case !n.has(key):
		case it == nil || it.object.Held:
			read = append(read, key)
		default:
			it.seen = s.round
			known = append(known, it.object)
		}
	}
	changed, err := s.c.changed(ctx, known)
	if err != nil {
		return false, ctx.Err() // it is not needed: reading all says what is wrong
	}
	for _, o := range changed {
		read = append(read, o.Key())
	}
	if !s.c.byKeys(n, len(read)) {
		return false, nil
	}
	for _, key := range read {
		if err := s.readKey(ctx, n, key); err != nil {
			return false, ctx.Err()
		}
	}
	return true, nil
}

var errOtherKey = errors.New("consul does not have a key that it named")

// readKey reads one key, which is there.
func (s *session) readKey(ctx context.Context, n *node, key string) error {
	found := false
	_, err := s.c.ask(ctx, key, client.Query{Consistent: true}, func(body io.Reader) error {
		return scanEntries(body, func(e *entry) error {
			if found = string(e.key) == s.c.root+key; !found {
				return errOtherKey
			}
			return s.take(n, []byte(key), e)
		})
	})
	if err == nil && !found {
		err = errOtherKey
	}
	return err
}

// changed returns those of the objects that Consul has at another index, or not at
// all. It reads no values.
func (c *Store) changed(ctx context.Context, objects []*store.Object) ([]*store.Object, error) {
	var changed []*store.Object
	for part := range slices.Chunk(objects, store.MaxOps) {
		checks := make(api.TxnOps, len(part))
		for i, o := range part {
			checks[i] = &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCheckIndex, Key: c.root + o.Key(), Index: o.Index}}
		}
		said, err := c.check(ctx, checks)
		if err != nil {
			return nil, err
		}
		for _, e := range said {
			if e.OpIndex < 0 || e.OpIndex >= len(part) || !strings.HasPrefix(e.What, "failed ") {
				return nil, errUnstable // where rights are missing, nothing is compared
			}
			changed = append(changed, part[e.OpIndex])
		}
	}
	return changed, nil
}

// check sends a transaction that only checks, and returns which checks failed: all of
// them, as Consul goes on after the first.
func (c *Store) check(ctx context.Context, checks api.TxnOps) (api.TxnErrors, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	said, err := c.transact(ctx, quorumForm, checks)
	switch {
	case err != nil:
		return nil, err
	case len(said.Errors) == 0 && len(said.Results) != len(checks):
		return nil, errUnstable
	}
	return said.Errors, nil
}
