package impact

import (
	"maps"
	"slices"

	"lictor/policy"
)

// Bounds on finding which of several changed objects made a difference: each is taken
// back in turn. Past them a line is told by the rule that refuses.
const (
	maxReverts = 64
	maxCauses  = 500_000 // questions
)

// reverted is the policy after the change, less one changed object.
type reverted struct {
	key policy.Key
	set *policy.Set
}

// causes finds which changed object made a difference.
type causes struct {
	reverts []reverted
	asked   int
}

// newCauses makes the policies with one object taken back, from the builder that made
// the one after the change. Of one changed object there is nothing to find out.
func newCauses(b *policy.Builder, was, is *side, c *scope) *causes {
	x := &causes{}
	if len(c.changed) < 2 || len(c.changed) > maxReverts {
		return x
	}
	of := func(s *side, k policy.Key) policy.Change {
		if o := s.objects[k]; o != nil {
			return *o
		}
		return policy.Change{Key: k}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.changed), policy.Key.Compare) {
		r := reverted{key: k, set: is.set}
		if k.Kind != policy.KindCredentials { // they are known by whom they belong to
			r.set, _ = b.Apply(3, []policy.Change{of(was, k)})
			b.Apply(3, []policy.Change{of(is, k)})
		}
		x.reverts = append(x.reverts, r)
	}
	return x
}

// of returns the key of a changed object without whose change the class would be decided
// as before; the rule that refuses, if it is one of several. false: no single one is.
func (x *causes) of(refuses string, prefix string, was *answer, before, after *question) (string, bool) {
	var found []string
	for i := range x.reverts {
		r := &x.reverts[i]
		if x.asked++; x.asked > maxCauses {
			break
		}
		if r.decides(was, before, after) {
			found = append(found, prefix+r.key.String())
		}
	}
	switch {
	case slices.Contains(found, refuses):
		return refuses, true
	case len(found) > 0:
		return found[0], true
	}
	return "", false
}

// decides reports whether a class is decided as before the change with one object taken
// back.
func (r *reverted) decides(was *answer, before, after *question) bool {
	side := *after.side
	side.set = r.set
	q := *after
	q.side = &side
	switch r.key.Kind {
	case policy.KindCredentials:
		c := before.side.credentials[r.key.Name]
		if c == nil {
			c = after.side.credentials[r.key.Name]
		}
		if owner := before.side.consumer(c.Consumer); owner == "" || owner != before.who && owner != after.who {
			return false
		}
		q.request.As = before.request.As
	case policy.KindConsumers:
		if r.key.Name == before.who {
			q.request.As = before.request.As
		}
	}
	a := q.ask()
	return a.passes == was.passes
}
