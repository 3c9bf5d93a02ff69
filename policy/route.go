package policy

import (
	"cmp"
	"iter"

	"lictor/internal/uri"
	"lictor/policy/internal/trie"
)

var noPath uri.Path

// Route finds the API and service of a request: a mapped host, else an API whose
// filters match, else the first path segment (X2). A host that a service claims
// goes before filters that name no host (K2). With ByNothing nobody
// is named: 404 no_service. It allocates nothing.
func (s *Set) Route(r *Request) Route {
	if r.Path == nil {
		r.Path = &noPath
	}
	r.scratch.asked = false
	if s == nil {
		return bySegment(r.Path)
	}
	if m := s.mapping(r.Host); m != nil {
		return Route{By: ByHost, API: m.Domain, Service: m.service, Rest: r.Path.Canonical, Backends: m.backends, Rule: m.rule, closed: shut(m.closed, m.rule)}
	}
	best := rank{as: toRoute}
	best.search(s.routes, r, r.Path.Canonical)
	if best.host == noHost { // who writes a host into the policy has it
		if t := s.claimed(r); t.By == ByRegistration {
			return t
		}
	}
	if e := best.entry; e != nil {
		a := e.api
		t := Route{By: ByFilter, closed: e.closed, API: a.Name, Service: a.service, Rest: r.Path.Canonical, Rule: a.rule}
		if name, rest, _ := r.Path.Segment(); name == a.Name || name == a.service {
			t.Rest, t.Stripped = rest, true
		}
		t.Backends, t.Protected = a.backends, a.ProtectedHeaders
		return t
	}
	t := bySegment(r.Path)
	if t.By == BySegment {
		s.asAPI(&t)
	}
	return t
}

// Rename gives a route by segment the name under which a resolver knows the
// service, where that is not the spelling of the path: rules go by the service,
// however it was asked for (X3, E7).
func (s *Set) Rename(t *Route, service string) {
	switch {
	case t.By != BySegment || t.Service == service:
		return
	case t.API != t.Service: // the path names the API, and that the service
		t.Service = service
		return
	}
	t.API, t.Service = service, service
	t.Backends, t.Protected, t.Rule, t.closed = nil, nil, Rule{}, Rule{}
	if s != nil {
		s.asAPI(t)
	}
}

// Knows reports whether ACLs, plugin mappings or an API object name an API.
func (s *Set) Knows(api string) bool {
	if s == nil {
		return false
	}
	hash := hashString(api)
	_, closed := s.acls.Get(hash, api)
	_, made := s.apis.Get(hash, api)
	return closed || made || s.plugins[api] != nil
}

// asAPI adds what an API object of the route's name says.
func (s *Set) asAPI(t *Route) {
	if s.apis.Len() == 0 {
		return
	}
	if a, ok := s.apis.Get(hashString(t.API), t.API); ok {
		t.Backends, t.Protected, t.Rule = a.backends, a.ProtectedHeaders, a.rule
		t.closed = shut(a.closed, a.rule)
		if len(a.Filters) == 0 { // else it is reached by them alone: they may be what narrows it
			t.Service = a.service
		}
	}
}

// shut is the rule that closes a route, the zero Rule if none does.
func shut(closed bool, by Rule) Rule {
	if !closed {
		return Rule{}
	}
	by.Note = "it can not be read, so it closes what it would have guarded"
	return by
}

func bySegment(p *uri.Path) Route {
	name, rest, ok := p.Segment()
	if !ok {
		return Route{Rest: p.Canonical}
	}
	return Route{By: BySegment, API: name, Service: name, Rest: rest, Stripped: true}
}

// AllBackends yields every list of backends that is written into an API, a mapped
// domain or a plugin. One may come more than once.
func (s *Set) AllBackends() iter.Seq[*Backends] {
	return func(yield func(*Backends) bool) {
		if s == nil {
			return
		}
		more := true
		give := func(b *Backends) bool {
			more = b == nil || yield(b)
			return more
		}
		s.apis.All(func(_ string, a *liveAPI) bool { return give(a.backends) })
		for _, domains := range []trie.Trie[string, *liveMapping]{s.domains, s.wildcards} {
			if more {
				domains.All(func(_ string, m *liveMapping) bool { return give(m.backends) })
			}
		}
		for _, api := range s.plugins {
			api[typeForwardAuth].all(func(c *candidate) bool { return more && give(c.config.(*ForwardAuth).permit.backends) })
		}
	}
}

// liveAPI is an API object in force.
type liveAPI struct {
	*API
	rule     Rule
	created  uint64
	backends *Backends
	service  string // that its requests go to, unless there are backends
	closed   bool   // stands in for one that can not be read
}

// anyFilter stands for the filters of an API that can not be read: any request
// may have been meant.
const anyFilter = ""

// routeTable holds the APIs that route by filters (C30), each filter under its
// hosts, or under its paths, or in rest, so that only few are looked at.
type routeTable struct {
	hosts map[string][]*routeEntry // exact, and with a leading dot "*.x"
	paths map[uint64][]*routeEntry // no host; by the hash of a prefix
	depth int
	rest  []*routeEntry // neither host nor path
}

// routeEntry is one way into an API: its inline filters and one of the others.
type routeEntry struct {
	api     *liveAPI
	filters []*liveFilter // all have to match
	props   int
	closed  Rule // zero, or what can not be read of the API: the way ends here
}

// rank is the best way in so far. They are ordered (C30): exact host > wildcard
// host > longest path > more properties > older.
type rank struct {
	service string // whose parts alone count; "" = every API does
	as      sense  // how methods are compared
	host    hostClass
	path    int
	entry   *routeEntry
}

func (a rank) beats(b rank) bool {
	if b.entry == nil {
		return true
	}
	return cmp.Or(
		cmp.Compare(a.host, b.host),
		cmp.Compare(a.path, b.path),
		cmp.Compare(a.entry.props, b.entry.props),
		cmp.Compare(b.entry.api.created, a.entry.api.created),
		cmp.Compare(b.entry.api.Name, a.entry.api.Name)) > 0
}

// look calls f with every list of ways of which a request may take one, with a
// reading of its path.
func (t *routeTable) look(r *Request, path string, f func([]*routeEntry)) {
	if len(t.hosts) > 0 && r.Host != "" {
		f(t.hosts[r.Host])
		for i := 0; i < len(r.Host); i++ {
			if r.Host[i] == '.' {
				f(t.hosts[r.Host[i:]])
			}
		}
	}
	if len(t.paths) > 0 {
		eachPrefix(path, t.depth, func(hash uint64, _ string) bool {
			f(t.paths[hash])
			return false
		})
	}
	f(t.rest)
}

// search looks for a better way in with a reading of the path.
func (best *rank) search(t *routeTable, r *Request, path string) {
	if t != nil {
		t.look(r, path, func(list []*routeEntry) { best.consider(list, r, path) })
	}
}

// takes reports whether a request may take the way with a reading of its path.
func (e *routeEntry) takes(r *Request, path string, as sense) bool {
	for _, f := range e.filters {
		if !f.routes(r, path, as) {
			return false
		}
	}
	return true
}

func (best *rank) consider(list []*routeEntry, r *Request, path string) {
	for _, e := range list {
		if best.service != "" && !e.api.isPartOf(best.service) || !e.takes(r, path, best.as) {
			continue
		}
		x := rank{service: best.service, as: best.as, entry: e, path: -1}
		for _, f := range e.filters {
			x.host = max(x.host, f.hostClass(r.Host))
			if f.hasPaths() {
				x.path = max(x.path, f.pathLength(r, path, best.as))
			}
		}
		if x.beats(*best) {
			*best = x
		}
	}
}

// compileRoutes files every API that has filters, and once more those that are
// parts of another service. A table that would be empty is nil.
func (b *Builder) compileRoutes() (all, parts *routeTable) {
	for _, a := range b.routing {
		for _, e := range b.routeEntries(a) {
			all = all.with(e)
			if a.isPart() {
				parts = parts.with(e)
			}
		}
	}
	return all, parts
}

// routeEntries are the ways into an API: one for each named filter, with all
// inline ones. An unknown filter is no way in. If the API or one of its filters
// can not be read, all ways end at it, and those that are not known are as wide
// as they may have been: what it would have taken must not go elsewhere.
func (b *Builder) routeEntries(a *liveAPI) []*routeEntry {
	var inline, named []*liveFilter
	lost, anyNamed := false, false
	closed := shut(a.closed, a.rule)
	for _, name := range a.Filters {
		f, ok := b.set.filters.Get(hashString(name), name)
		switch {
		case name == anyFilter:
			named = append(named, &liveFilter{Filter: &Filter{}})
		case ok && f.broken:
			closed = shut(true, Rule{Key: f.key, Index: f.index})
			named = append(named, f)
		case ok && f.Inline:
			inline = append(inline, f)
			continue
		case ok:
			named = append(named, f)
		case isUUID(name):
			lost = true
		}
		anyNamed = true
	}
	entry := func(filters []*liveFilter) *routeEntry {
		e := &routeEntry{api: a, filters: filters, closed: closed}
		for _, f := range filters {
			e.props += f.properties()
		}
		return e
	}
	switch {
	case lost && closed.Key == "":
		return nil
	case !anyNamed:
		return []*routeEntry{entry(inline)}
	}
	var entries []*routeEntry
	for _, f := range named {
		filters := append([]*liveFilter{f}, inline...)
		if closed.Key != "" {
			filters = filters[:1] // an inline one may be what can not be read
		}
		entries = append(entries, entry(filters))
	}
	return entries
}

// with returns t, or a new table if it is nil, with one more entry.
func (t *routeTable) with(e *routeEntry) *routeTable {
	if t == nil {
		t = &routeTable{hosts: make(map[string][]*routeEntry), paths: make(map[uint64][]*routeEntry)}
	}
	t.file(e)
	return t
}

// file puts an entry under the hosts of the first of its filters that has any,
// else under the paths, else with the rest.
func (t *routeTable) file(e *routeEntry) {
	for _, f := range e.filters {
		for h := range f.hosts {
			t.hosts[h] = append(t.hosts[h], e)
		}
		if f.hosts != nil {
			return
		}
	}
	for _, f := range e.filters {
		for hash := range f.paths.by {
			t.paths[hash] = append(t.paths[hash], e)
		}
		if t.depth = max(t.depth, f.paths.depth); f.hasPaths() {
			return
		}
	}
	t.rest = append(t.rest, e)
}
