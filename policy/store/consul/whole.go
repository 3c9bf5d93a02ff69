package consul

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	client "lictor/internal/consul"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// whole reads everything in one answer, which is one state of the store, and
// publishes it.
func (s *session) whole(ctx context.Context) (err error) {
	waiters := s.c.takeWaiters()
	defer func() { s.c.settle(waiters, err) }()
	if !s.loaded {
		if err := s.meet(ctx); err != nil {
			return err
		}
	}
	a, found, err := s.readWhole(ctx)
	if err != nil {
		return err
	}
	s.meant = s.c.mirror.SetMarks(found)
	s.release(s.meant)
	s.missed = s.isMissed()
	if err := s.settleOn(ctx, a.Index, a.Index == s.c.lastRoot); err != nil {
		return err
	}
	s.meant.Obeyed()
	s.c.lastRoot = a.Index
	if s.c.lost {
		s.c.lost = false
		s.c.newest.Store(a.Index)
	}
	s.loaded = true
	return nil
}

// isMissed reports whether something is pending that a watch should have told.
func (s *session) isMissed() bool {
	for key := range s.pending {
		if n := s.lay.find([]byte(key)); n != s.lay.rest || !s.lay.split {
			return true
		}
	}
	return false
}

// meet asks, before anything is believed, whether this is the Consul we knew
// and whether we may see everything.
func (s *session) meet(ctx context.Context) error {
	seen := s.c.newest.Load()
	now, err := s.c.now(ctx)
	if err != nil {
		return err
	}
	s.c.lost = s.c.lost || client.WentBack(seen, now)
	return s.allowed(ctx)
}

// readWhole reads everything into the nodes and the pending changes, and
// returns the marks that are there. In the split layout the indexes of
// the nodes do not follow from that of the whole; they stay, and what is read
// twice because of it costs nothing. Which of them are empty does follow, and has to:
// one that was so, and is again, has not moved.
func (s *session) readWhole(ctx context.Context) (a client.Meta, found mirror.Marks, err error) {
	s.round++
	s.size, s.tops, found = 0, map[string]bool{}, mirror.Marks{}
	q := client.Query{Consistent: !s.loaded, Known: s.explained} // nothing is in force yet of which a part could be missed
	a, err = s.c.read(ctx, "", q, func(e *entry) error {
		s.size += int64(len(e.key) + len(e.value))
		key, ok := bytes.CutPrefix(e.key, []byte(s.c.root))
		if !ok {
			return nil
		}
		if store.IsMark(string(key)) {
			found[string(key)] = e.modify
			return nil
		}
		if top := topOf(key); !s.tops[string(top)] {
			s.tops[string(top)] = true
		}
		return s.take(s.lay.find(key), key, e)
	})
	if err != nil {
		return client.Meta{}, nil, err
	}
	for _, n := range s.lay.all() {
		s.sweep(n)
		if n.empty = n.stored() == 0; n == s.lay.mark {
			n.empty = len(found) == 0
		}
	}
	s.explained, s.shardsAt = a.Index, 0
	if !s.lay.split {
		s.lay.rest.index, s.lay.rest.empty = a.Index, a.Empty
	}
	return a, found, nil
}

// topOf is the part of a key up to the first slash, with it.
func topOf(key []byte) []byte {
	if i := bytes.IndexByte(key, '/'); i >= 0 {
		return key[:i+1]
	}
	return key
}

// allowed refuses to believe what a token sees that may not see everything.
// Consul says when it filtered an answer, but not to the anonymous.
func (s *session) allowed(ctx context.Context) error {
	may, err := s.c.mayRead(ctx)
	if err == nil && !may {
		err = fmt.Errorf("%w: consul denies to read %s", errRights, s.c.root)
	}
	return err
}

// settleOn publishes what is pending, which together with what is known is one
// state of the store, unless a loss in it is not believed.
func (s *session) settleOn(ctx context.Context, index uint64, unmoved bool) error {
	var gone []store.Change
	for _, change := range s.pending {
		if change.Deleted && !change.Held {
			gone = append(gone, change)
		}
	}
	if len(gone) > 0 {
		if err := s.doubt(ctx, gone, unmoved); err != nil {
			return err
		}
	}
	changes := slices.Collect(maps.Values(s.pending))
	clear(s.pending)
	s.c.mirror.Publish(store.Update{Changes: changes, Index: index})
	s.c.mirror.Contact()
	s.c.showHeld()
	return nil
}
