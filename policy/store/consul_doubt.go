package store

import (
	"context"
	"slices"
	"strings"
)

// doubt returns why a loss of objects is not believed, or "" (X6). The deletion
// of single objects is believed, also of the last one.
func (s *session) doubt(ctx context.Context, gone []Change, unmoved bool) (string, error) {
	if s.c.mirror.wasCleared() {
		return "", nil
	}
	seen := s.c.newest.Load()
	now, err := s.c.now(ctx)
	switch {
	case err != nil:
		return "", err
	case now < seen && s.loaded:
		return "", errHistory // to be read from the start
	case s.c.lost || now < seen:
		return "consul lost its history", nil
	case unmoved:
		return "objects are gone though nothing was written", nil
	}
	may, err := s.c.mayRead(ctx)
	switch {
	case err != nil:
		return "", err
	case !may:
		return "the token lost its rights", nil
	}
	for _, n := range s.lay.all() {
		if n.stored() > 0 {
			return "", nil
		}
	}
	return s.doubtEmpty(ctx, gone, now)
}

// doubtEmpty is doubt where nothing at all is left.
func (s *session) doubtEmpty(ctx context.Context, gone []Change, now uint64) (string, error) {
	mark, err := s.c.probe(ctx, ClearedName, 0)
	if err != nil || !mark.empty {
		return "", err
	}
	again, err := s.c.head(ctx, query{keys: true, consistent: true, timeout: queryTimeout})
	if err != nil {
		return "", err
	}
	if !again.empty {
		return "", errUnstable
	}
	if len(gone) == 1 {
		return "", nil
	}
	single, err := s.deletedSingly(ctx, gone, now)
	if err != nil || single {
		return "", err
	}
	return "everything vanished at once", nil
}

// deletedSingly reports whether objects were deleted one by one, and only seen
// together. Consul remembers for a while at which index a key was deleted; of a
// deleted prefix it remembers the prefix, and answers for every key with the
// index of the whole KV, which is at least now.
func (s *session) deletedSingly(ctx context.Context, gone []Change, now uint64) (bool, error) {
	keys := leaves(gone)
	indexes := map[uint64]bool{}
	for _, key := range keys[:min(len(keys), MaxOps)] {
		a, err := s.c.probe(ctx, key, 0)
		if err != nil {
			return false, err
		}
		if !a.empty || a.index > now || indexes[a.index] {
			return false, nil
		}
		indexes[a.index] = true
	}
	return len(indexes) > 1, nil
}

// leaves returns the keys of which no other key is the beginning: to ask for a
// key is to ask for all that begin with it.
func leaves(gone []Change) []string {
	keys := make([]string, len(gone))
	for i := range gone {
		keys[i] = gone[i].Key()
	}
	slices.Sort(keys)
	var alone []string
	for i, key := range keys {
		if i+1 == len(keys) || !strings.HasPrefix(keys[i+1], key) {
			alone = append(alone, key)
		}
	}
	return alone
}

// hold keeps objects in force that vanished.
func (s *session) hold(gone []Change, why string) {
	s.c.log.Error("objects vanished from the policy and stay in force, as this looks like an accident",
		"key", s.c.root, "objects", len(gone), "reason", why, "to_mean_it_put", s.c.root+ClearedName)
	s.c.heldWhy = why
	for _, change := range gone {
		key := change.Key()
		o, err := s.c.mirror.get(change.Kind, change.Name)
		if err != nil {
			continue // it came and went unseen
		}
		o.Held = true
		s.lay.find([]byte(key)).items[key] = &item{object: &o}
		s.pending[key] = Change{Object: o}
	}
}

// release lets go of what is held, for the loss is meant.
func (s *session) release() {
	for _, n := range s.lay.all() {
		for key, it := range n.items {
			if it.object.Held {
				delete(n.items, key)
				s.pending[key] = Change{Object: Object{Kind: it.object.Kind, Name: it.object.Name, Held: true}, Deleted: true}
			}
		}
	}
}
