package eureka

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lictor/resolver"
)

// registry is what a server told last: its instances, of all statuses.
type registry map[key]record

func newRegistry(records []record) registry {
	g := make(registry, len(records))
	for _, r := range records {
		if !r.deleted {
			g[r.key] = r
		}
	}
	return g
}

// apply returns the registry with the changes of a delta. The server repeats
// changes for minutes, so it does not matter how often one is applied.
func (g registry) apply(changes []record) registry {
	next := maps.Clone(g)
	for _, r := range changes {
		if r.deleted {
			delete(next, r.key)
		} else {
			next[r.key] = r
		}
	}
	return next
}

// hash counts the instances by status, as apps__hashcode does: DOWN_1_UP_3_.
func (g registry) hash() string {
	counts := make(map[string]int)
	for _, r := range g {
		counts[r.status]++
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		b.WriteString(name + "_" + strconv.Itoa(counts[name]) + "_")
	}
	return b.String()
}

// services returns the registry's services. Those that are the same in old,
// and their instances, keep their pointers.
func (g registry) services(old *resolver.Catalog) map[string]*resolver.Service {
	found := make(map[string]*resolver.Service)
	for _, r := range g {
		s := found[r.app]
		if s == nil {
			s = &resolver.Service{Name: r.app, Loaded: true}
			found[r.app] = s
		}
		if r.problem != "" {
			s.Problems = append(s.Problems, r.problem)
			continue
		}
		inst := &r.inst
		if before := instanceOf(old.Lookup(r.app), r.id); before != nil && *before == *inst {
			inst = before
		}
		s.Instances = append(s.Instances, inst)
	}
	for _, s := range found {
		sortInstances(s)
		slices.Sort(s.Problems)
	}
	return found
}

func sortInstances(s *resolver.Service) {
	slices.SortFunc(s.Instances, func(a, b *resolver.Instance) int { return cmp.Compare(a.ID, b.ID) })
}

// instanceOf finds an instance; they are sorted by id.
func instanceOf(s *resolver.Service, id string) *resolver.Instance {
	if s == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(s.Instances, id, func(i *resolver.Instance, id string) int { return cmp.Compare(i.ID, id) }); ok {
		return s.Instances[i]
	}
	return nil
}

// belief decides when a loss is believed (E9, D8). An answer in which
// everything vanishes, or at least three and more than half of the services,
// is what a server gives that has just started, or that lost its peers: until
// it has said so for hold, without a break, what it does not list stays.
type belief struct {
	hold  time.Duration
	since time.Time // of the first answer that is not believed; zero = all is
}

// judge returns the services to be served after an answer, and what is held
// back of it, "" if nothing is.
func (b *belief) judge(known *resolver.Catalog, told map[string]*resolver.Service, now time.Time) (map[string]*resolver.Service, string) {
	before, gone, missing := 0, 0, false
	for s := range known.All() {
		if !s.Usable() {
			continue
		}
		before++
		next := told[s.Name]
		if next == nil || len(next.Instances) == 0 {
			gone++
		}
		missing = missing || lacks(next, s)
	}
	switch suspicious := gone > 0 && (gone == before || gone >= 3 && 2*gone > before); {
	case b.hold == 0, !missing, b.since.IsZero() && !suspicious:
		b.since = time.Time{}
		return told, ""
	case b.since.IsZero():
		b.since = now
	case now.Sub(b.since) >= b.hold:
		b.since = time.Time{}
		return told, ""
	}
	why := "the registry lost services or instances at once, they are kept until " + b.since.Add(b.hold).UTC().Format(time.RFC3339)
	for s := range known.All() {
		if lacks(told[s.Name], s) {
			told[s.Name] = merge(told[s.Name], s, why)
		}
	}
	return told, why
}

// broken is told that an answer is missing: a loss must be repeated without a
// break to be believed.
func (b *belief) broken(now time.Time) {
	if !b.since.IsZero() {
		b.since = now
	}
}

// lacks reports whether a usable instance of old is not listed in next.
func lacks(next, old *resolver.Service) bool {
	return slices.ContainsFunc(old.Instances, func(i *resolver.Instance) bool { return i.Usable() && instanceOf(next, i.ID) == nil })
}

// merge returns next with the usable instances of old that it lacks.
func merge(next, old *resolver.Service, why string) *resolver.Service {
	s := &resolver.Service{Name: old.Name, Loaded: true, Held: why}
	if next != nil {
		s.Instances, s.Problems = slices.Clone(next.Instances), next.Problems
	}
	for _, i := range old.Instances {
		if i.Usable() && instanceOf(next, i.ID) == nil {
			s.Instances = append(s.Instances, i)
		}
	}
	sortInstances(s)
	return s
}

// emptied reports whether a service lost its last usable instance without
// the server saying why: its instances are not listed any more.
func emptied(known *resolver.Catalog, told map[string]*resolver.Service) bool {
	for s := range known.All() {
		if s.Usable() && (told[s.Name] == nil || len(told[s.Name].Instances) == 0) {
			return true
		}
	}
	return false
}

// same reports whether two services are equal; instances are compared by pointer.
func same(a, b *resolver.Service) bool {
	return a != nil && b != nil && a.Held == b.Held && slices.Equal(a.Instances, b.Instances) && slices.Equal(a.Problems, b.Problems)
}
