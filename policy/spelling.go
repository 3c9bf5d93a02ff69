package policy

import (
	"cmp"
	"slices"
	"strings"

	"lictor/internal/uri"
)

// A service's name, be it by itself or the first segment of a path, is filed without
// its case, and compared as it is spelled. Only where the registry does not mind the
// case of names (E7), what restricts is compared without it as well: no spelling is a
// way round a rule that denies. What grants says what it grants, and no spelling of a
// client's makes more of it.

// stepPath hashes one more byte of a path in which so many slashes came before, or it
// is one. In the first segment its case does not count.
func stepPath(h uint64, c byte, slashes int) uint64 {
	if slashes == 1 {
		c = lower(c)
	}
	return step(h, c)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// sameName reports whether two names are those of one service.
func sameName(a, b string, anyCase bool) bool { return a == b || anyCase && strings.EqualFold(a, b) }

// samePath reports whether two paths are the same, apart from how their first segment
// spells a service.
func samePath(a, b string, anyCase bool) bool {
	if a == b || !anyCase || len(a) != len(b) {
		return a == b
	}
	end := len(a)
	if i := strings.IndexByte(strings.TrimPrefix(a, "/"), '/'); i >= 0 {
		end = i + 1
	}
	return strings.EqualFold(a[:end], b[:end]) && a[end:] == b[end:]
}

// eachPrefix calls f with the prefixes of a path by whole segments, without last slash
// and the shortest first, down to so many slashes, and with the hash under which each
// is filed. It stops where f reports true, and reports that.
func eachPrefix(path string, deepest int, f func(hash uint64, prefix string) bool) bool {
	h, slashes := pathSeed, 0
	for i := 0; i < len(path) && slashes <= deepest; i++ {
		if path[i] == '/' {
			if f(finish(h), path[:i]) {
				return true
			}
			slashes++
		}
		h = stepPath(h, path[i], slashes)
	}
	return slashes <= deepest && f(finish(h), path)
}

// pathSet is a set of prefixes of paths, without last slash.
type pathSet struct {
	by    map[uint64][]string // by the hash under which each is filed
	depth int                 // most slashes in any
}

func (s *pathSet) add(path string) {
	if s.by == nil {
		s.by = make(map[uint64][]string)
	}
	hash := hashPath(path)
	s.by[hash] = append(s.by[hash], path)
	s.depth = max(s.depth, strings.Count(path, "/"))
}

// longest is the length of the longest that covers a path by whole segments, -1 if
// none does.
func (s *pathSet) longest(path string, anyCase bool) int {
	longest := -1
	eachPrefix(path, s.depth, func(hash uint64, prefix string) bool {
		for _, p := range s.by[hash] {
			if samePath(p, prefix, anyCase) {
				longest = len(prefix)
			}
		}
		return false
	})
	return longest
}

// OtherName returns the i-th other name that rules call the API of a route by, ""
// behind the last one: the host as the service claims it, as with a mapping (K2), and
// the other spellings of a service's name where its registry does not mind (E7). A
// request is decided under each of them ([Set.As]) before it is under its own.
func (s *Set) OtherName(t *Route, i int) string {
	if s == nil {
		return ""
	}
	own := cmp.Or(t.Alias, t.API)
	if t.By == ByRegistration && s.Knows(t.Claim) {
		if i == 0 {
			return t.Claim
		}
		i--
	}
	if !t.AnyCase || t.By != BySegment && !sameName(own, t.Service, true) {
		return "" // or it is a name of the policy's alone
	}
	return s.spelling(own, i)
}

// spelling returns the i-th other spelling of a name that rules know, "" behind the
// last one. It allocates for a name with capitals alone.
func (s *Set) spelling(name string, i int) string {
	key := strings.ToLower(name)
	all, _ := s.spellings.Get(hashString(key), key)
	for _, one := range all {
		if one == name {
			continue
		}
		if i == 0 {
			return one
		}
		i--
	}
	if i == 0 && key != name && s.Knows(key) {
		return key
	}
	return ""
}

// Named reports whether the first segment of a path is the name of the route's service,
// in whatever case.
func (t *Route) Named(p *uri.Path) bool {
	name, _, _ := p.Segment()
	return t.AnyCase && t.Stripped && sameName(name, t.Service, true)
}

// As gives a route another name that rules may call its API by. Where it goes stays.
func (s *Set) As(t *Route, name string) {
	service, backends := t.Service, t.Backends
	t.Alias, t.API, t.Protected, t.Rule, t.closed = cmp.Or(t.Alias, t.API), name, nil, Rule{}, Rule{}
	s.asAPI(t)
	t.Service, t.Backends = service, backends
}

// respell files the name of an API under what it is without case, if it has capitals
// and rules know it, or takes it out.
func (b *Builder) respell(name string) {
	key := strings.ToLower(name)
	if key == name {
		return
	}
	hash := hashString(key)
	all, _ := b.set.spellings.Get(hash, key)
	at, filed := slices.BinarySearch(all, name)
	switch known := b.set.Knows(name); {
	case known == filed:
		return
	case known:
		all = slices.Insert(slices.Clone(all), at, name)
	default:
		all = slices.Delete(slices.Clone(all), at, at+1)
	}
	set(&b.set.spellings, hash, key, all, len(all) > 0)
}

// otherCase asks the APIs that the request would be one of if its path spelled the
// service otherwise: an API that a filter leads to, and the part of the service in
// which the path lies.
func (d *decision) otherCase() bool {
	if !d.route.AnyCase || d.set.routes == nil || d.route.By == ByHost {
		return true
	}
	if !d.passesRead(d.req.Path.Canonical) {
		return false
	}
	own := sameName(d.route.API, d.route.Service, true)
	if name, _, _ := d.req.Path.Segment(); d.set.parts == nil || d.route.By == ByFilter || !own && name == d.route.API {
		return true // as [Set.Narrow] leaves an API that is none of the service's
	}
	best := rank{service: d.route.Service, as: toRestrict}
	best.search(d.set.parts, d.req, d.req.Path.Canonical)
	if named := d.named(); named != nil {
		best.search(d.set.parts, d.req, named.Canonical)
	}
	e := best.entry
	return e == nil || e.api.Name == d.route.API || d.passesAny(e.api.Name, e.closed)
}
