package consul

import (
	"slices"
	"strings"
	"time"

	"lictor/resolver"
)

// belief is what is remembered of a service's instances beyond the catalog:
// which of them passed last and are in doubt, and since when.
type belief struct {
	doubts map[string]time.Time
}

// believed is the outcome of [belief.judge].
type believed struct {
	instances []*resolver.Instance
	held      bool      // some are kept against the answer
	deadline  time.Time // when to judge again, even if nothing changes; zero = never
}

// judge says what an answer of Consul makes of the instances known so far (D8).
//
// What the service's own checks say, maintenance and deregistration are
// verdicts and are obeyed. Where Consul does not know, the instances that
// passed last stay as a last resort for hold, if no other is left. While it is
// believed to have lost something (now is before until), instances that it
// lists no more, or is in doubt about, stay as they were.
//
// An instance that did not change keeps its pointer.
func (b *belief) judge(known []*resolver.Instance, listed []sighting, now, until time.Time, hold time.Duration) believed {
	var out believed
	lost := now.Before(until)
	doubts := make(map[string]time.Time)
	var resort []int // places in out.instances of those that may be a last resort
	for i := range listed {
		s := &listed[i]
		old := same(known, s)
		next := s.Instance
		if s.doubt != "" {
			next.Note = s.doubt
			since, before := b.doubts[s.ID]
			if !before && old != nil && old.Usable() {
				since, before = now, true
			}
			if before {
				doubts[s.ID] = since
			}
			switch {
			case lost && old != nil && old.Usable():
				next.State, next.Note = old.State, old.Note
				out.keep(until)
			case before && now.Sub(since) < hold:
				resort = append(resort, len(out.instances))
			}
		}
		if old != nil && *old == next {
			out.instances = append(out.instances, old)
		} else {
			out.instances = append(out.instances, &next)
		}
	}
	if lost {
		for _, old := range known {
			if old.Usable() && !contains(listed, old) {
				out.instances = append(out.instances, old)
				out.keep(until)
			}
		}
	}
	if !slices.ContainsFunc(out.instances, (*resolver.Instance).Usable) {
		for _, at := range resort {
			out.resort(at, known, doubts, hold)
		}
	}
	slices.SortFunc(out.instances, func(a, b *resolver.Instance) int { return strings.Compare(a.ID, b.ID) })
	b.doubts = doubts
	return out
}

// resort makes an instance that is in doubt a last resort until its time is over.
func (b *believed) resort(at int, known []*resolver.Instance, doubts map[string]time.Time, hold time.Duration) {
	i := *b.instances[at]
	i.State = resolver.LastResort
	b.instances[at] = reuse(known, &i)
	b.keep(doubts[i.ID].Add(hold))
}

// same returns the known instance at the address of s, and of those the one
// with its ID: under a new ID it is the same process, at a new address it is not.
func same(known []*resolver.Instance, s *sighting) *resolver.Instance {
	var at *resolver.Instance
	for _, k := range known {
		if k.Address == s.Address && (at == nil || k.ID == s.ID) {
			at = k
		}
	}
	return at
}

// contains reports whether the known instance is listed, by ID or address.
func contains(listed []sighting, known *resolver.Instance) bool {
	return slices.ContainsFunc(listed, func(s sighting) bool {
		return s.ID == known.ID || s.Address == known.Address
	})
}

// reuse returns the known instance that equals next, else next.
func reuse(known []*resolver.Instance, next *resolver.Instance) *resolver.Instance {
	for _, k := range known {
		if *k == *next {
			return k
		}
	}
	return next
}

// keep notes that something is kept against the answer, until the given time.
func (b *believed) keep(until time.Time) {
	b.held = true
	if b.deadline.IsZero() || until.Before(b.deadline) {
		b.deadline = until
	}
}
