package consul

import (
	"bytes"
	"context"
	"slices"
	"strings"

	client "lictor/internal/consul"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// doubt holds what vanished in a way that is not believed (X6). The deletion of
// single objects is believed, also of the last one.
func (s *session) doubt(ctx context.Context, gone []store.Change, unmoved bool) error {
	gone = slices.DeleteFunc(gone, func(c store.Change) bool { return s.meant.Cover(s.c.mirror.Known(c)) })
	if len(gone) == 0 {
		return nil
	}
	why, err := s.doubtAnswer(ctx, unmoved)
	if err != nil {
		return err
	}
	if why != "" {
		s.hold(gone, why)
		return nil
	}
	now, err := s.c.now(ctx)
	if err != nil {
		return err
	}
	kinds := map[string][]store.Change{}
	for _, c := range gone {
		kinds[c.Kind] = append(kinds[c.Kind], c)
	}
	if !s.survived(s.c.mirror.Kinds()...) {
		return s.doubtEmpty(ctx, gone, now)
	}
	for kind, gone := range kinds {
		if s.survived(kind) || s.c.mirror.CountShown(kind) < mirror.LeastOfKind {
			continue
		}
		if single, err := s.deletedSingly(ctx, gone, now); err != nil {
			return err
		} else if !single {
			s.hold(gone, "all of the kind "+kind+" vanished at once")
		}
	}
	return nil
}

// doubtAnswer returns why the answers of Consul that something is gone are not
// believed, or "".
func (s *session) doubtAnswer(ctx context.Context, unmoved bool) (string, error) {
	seen := s.c.newest.Load()
	now, err := s.c.now(ctx)
	switch {
	case err != nil:
		return "", err
	case client.WentBack(seen, now) && s.loaded:
		return "", errHistory // to be read from the start
	case s.c.lost || client.WentBack(seen, now):
		return "consul lost its history", nil
	case unmoved:
		return "objects are gone though nothing was written", nil
	}
	may, err := s.c.mayRead(ctx)
	if err == nil && !may {
		return "the token lost its rights", nil
	}
	return "", err
}

// survived reports whether an object of these kinds that was there before is
// still there. One that was made anew did not survive: an import that follows a
// deletion brings objects back one by one, and what is not back yet is not
// deleted.
func (s *session) survived(kinds ...string) bool {
	for _, kind := range kinds {
		for o := range s.c.mirror.OfKind(kind) {
			c, changed := s.pending[o.Key()]
			if !o.Held && (!changed || !c.Deleted && c.CreateIndex == o.CreateIndex) {
				return true
			}
		}
	}
	return false
}

// doubtEmpty holds what is gone where nothing is left of what was known.
func (s *session) doubtEmpty(ctx context.Context, gone []store.Change, now uint64) error {
	marked := false
	_, err := s.c.read(ctx, store.ClearedName, client.Query{}, func(e *entry) error {
		marked = marked || string(e.key) == s.c.root+store.ClearedName && e.modify > s.known()
		return nil
	})
	if err != nil || marked {
		return err
	}
	left := 0
	for _, n := range s.lay.all() {
		left += n.stored()
	}
	if left == 0 {
		found := false
		_, err := s.c.read(ctx, "", client.Query{Consistent: true}, func(e *entry) error {
			key, ok := bytes.CutPrefix(e.key, []byte(s.c.root))
			_, _, is := objectAt(string(key), len(e.value) > 0)
			found = found || ok && is
			return nil
		})
		if err != nil {
			return err
		}
		if found {
			return errUnstable
		}
	}
	if len(gone) == 1 {
		return nil
	}
	if single, err := s.deletedSingly(ctx, gone, now); err != nil || single {
		return err
	}
	s.hold(gone, "everything vanished at once")
	return nil
}

// deletedSingly reports whether objects were deleted one by one, and only seen
// together. Consul remembers for a while at which index a key was deleted; of a
// deleted prefix it remembers the prefix, and answers for every key with the
// index of the whole KV, which is at least now, or of an earlier deletion of that
// key, which is older than what is gone.
func (s *session) deletedSingly(ctx context.Context, gone []store.Change, now uint64) (bool, error) {
	keys := leaves(gone)
	was := make(map[string]uint64, len(gone))
	for _, c := range gone {
		was[c.Key()] = s.c.mirror.Known(c).Index
	}
	indexes := map[uint64]bool{}
	for _, key := range keys[:min(len(keys), store.MaxOps)] {
		a, err := s.c.probe(ctx, key, client.Query{})
		if err != nil {
			return false, err
		}
		if !a.Empty {
			continue // a longer key is there, which says nothing about this one
		}
		if a.Index > now || a.Index <= was[key] || indexes[a.Index] {
			return false, nil
		}
		indexes[a.Index] = true
	}
	for index := range indexes {
		if len(indexes) == 1 && index == now {
			return false, nil // as is said of every key that never was
		}
	}
	return len(indexes) > 0, nil
}

// leaves returns the keys of which no other key is the beginning: to ask for a
// key is to ask for all that begin with it.
func leaves(gone []store.Change) []string {
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
func (s *session) hold(gone []store.Change, why string) {
	mark := store.ClearedMark(gone[0].Kind, "")
	if slices.ContainsFunc(gone, func(c store.Change) bool { return c.Kind != gone[0].Kind }) {
		mark = store.ClearedName
	}
	s.c.log.Error("objects vanished from the policy and stay in force, as this looks like an accident",
		"key", s.c.root, "objects", len(gone), "reason", why, "to_mean_it_put", s.c.root+mark)
	for _, change := range gone {
		key := change.Key()
		o, err := s.c.mirror.Get(change.Kind, change.Name)
		if err != nil {
			continue // it came and went unseen
		}
		o.Held, o.Why = true, why
		s.lay.find([]byte(key)).put(key, &item{object: &o})
		s.pending[key] = store.Change{Object: o}
	}
}

// release lets go of what is held and whose loss is meant.
func (s *session) release(meant *mirror.Meaning) {
	for _, n := range s.lay.all() {
		for key, it := range n.items {
			if o := it.object; o.Held && meant.Cover(o) {
				n.drop(key)
				s.pending[key] = store.Change{Object: store.Object{Kind: o.Kind, Name: o.Name, Held: true}, Deleted: true}
			}
		}
	}
}
