package impact

import (
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
)

// roadKind says how the requests of a road find their API, unless a filter takes
// them before (X2).
type roadKind uint8

const (
	bySegment roadKind = iota // the first segment names it
	byDomain                  // a mapping that is the same in both policies has the host
	byNothing                 // neither: only a filter can take them
)

// road is all requests with a first segment, or to a mapped domain. Each request
// is on one road, so the roads are looked at one by one, each cut by the rules that
// its requests meet.
type road struct {
	w       *world
	kind    roadKind
	key     string // of the road: "/shop", "shop.example.org", "/" for any other service, "" for none
	segment string // of its paths; "" = the first segment is not one, or is nobody's
	apis    []string
	// wide: the first segment may stay in front of the path that goes on, and its
	// readings may lead anywhere.
	wide     bool
	services []string        // that its requests may go to, or be asked as
	asked    map[string]bool // APIs that a reading may lead to by its first segment
	filters  map[string]bool // that its requests meet
	routing  map[string]bool // those of them that choose the API
	calls    map[string]bool
}

// root is the prefix of all paths of the road.
func (r *road) root() string {
	if r.kind == bySegment {
		return "/" + r.segment
	}
	return ""
}

// roads returns the road of each name that something speaks of, one for all other
// services, one for paths that name none, and one for each mapped domain.
func (w *world) roads() []*road {
	names := make(map[string]bool)
	add := func(name string) {
		if isSegment(name) {
			names[name] = true
		}
	}
	for api := range w.known {
		add(api)
	}
	for _, s := range []*side{w.was, w.is} {
		for _, a := range s.apis {
			add(a.ServiceName())
		}
		for _, f := range s.filters {
			for _, p := range f.Mentions().Paths {
				add(firstOf(p))
			}
		}
	}
	for i := range w.entries {
		add(w.entries[i].Service)
		for _, p := range w.entries[i].Paths {
			add(firstOf(p))
		}
	}
	for _, e := range w.scope.entries {
		add(e.Service)
	}
	var all []*road
	for _, name := range sortedKeys(names) {
		if uri.IsServiceName(name) || w.isRouted(name) {
			all = append(all, w.road(bySegment, "/"+name, name))
		}
	}
	all = append(all, w.road(bySegment, "/", w.fresh("any-service")))
	if len(w.routes) > 0 || len(w.moved) > 0 {
		all = append(all, w.road(byNothing, "", ""))
	}
	for _, d := range sortedKeys(union(w.was.domains, w.is.domains)) {
		if w.stays(d) {
			all = append(all, w.road(byDomain, d, ""))
		}
	}
	return all
}

func (w *world) isRouted(name string) bool {
	return slices.ContainsFunc(w.routes, func(y way) bool { return y.api == name || y.service == name })
}

// road finds out what the requests of a road may meet.
func (w *world) road(kind roadKind, key, segment string) *road {
	r := &road{w: w, kind: kind, key: key, segment: segment, filters: make(map[string]bool), routing: make(map[string]bool), calls: make(map[string]bool), asked: make(map[string]bool)}
	apis, services := make(map[string]bool), make(map[string]bool)
	switch kind {
	case bySegment:
		apis[segment] = true
		services[segment] = true
		for _, s := range []*side{w.was, w.is} {
			if a := s.apis[segment]; a != nil {
				services[a.ServiceName()] = true
			}
		}
	case byDomain:
		apis[key] = true
		for _, s := range []*side{w.was, w.is} {
			services[serviceOf(s.domains[key])] = true
		}
		r.wide = true
	case byNothing:
		r.wide = true
	}
	r.moved(apis, services)
	if kind != byDomain {
		r.routes(apis, services)
	}
	if delete(services, ""); len(services) > 0 {
		r.services = sortedKeys(services)
	}
	for api := range apis {
		r.rules(api)
	}
	r.rules("")
	r.apis = sortedKeys(apis)
	r.bind()
	return r
}

// serviceOf is the service of discovery that a mapping leads to, "" if it has
// addresses.
func serviceOf(m *policy.Mapping) string {
	if m == nil || len(m.Backends) != 1 {
		return ""
	}
	name, _ := strings.CutPrefix(m.Backends[0], "service:")
	if name == m.Backends[0] {
		return ""
	}
	return name
}

// moved adds the domains that one policy alone maps: each may
// have requests of any road.
func (r *road) moved(apis, services map[string]bool) {
	for _, d := range r.w.moved {
		r.wide = true
		apis[d] = true
		for _, s := range []*side{r.w.was, r.w.is} {
			services[serviceOf(s.domains[d])] = true
		}
	}
}

// routes adds the ways that may take requests of the road.
func (r *road) routes(apis, services map[string]bool) {
	w := r.w
	var taken []way
	for _, y := range w.routes {
		if r.kind == bySegment && !y.mayTake(r.segment) {
			continue
		}
		taken = append(taken, y)
		if r.kind == byNothing || y.api != r.segment && y.service != r.segment {
			r.wide = true
		}
	}
	if r.wide && len(taken) > 0 { // a filter takes them, so all that other readings lead to is asked as well
		taken = w.routes
		for api := range w.known {
			r.asked[api] = true
			apis[api], services[api] = true, true
		}
	}
	for _, y := range taken {
		apis[y.api] = true
		services[y.api], services[y.service] = true, true
		for _, f := range y.filters {
			r.filters[f], r.routing[f] = true, true
		}
	}
}

// rules adds what ACLs and plugin mappings of an API speak of.
func (r *road) rules(api string) {
	for _, s := range []*side{r.w.was, r.w.is} {
		for _, a := range s.acls[api] {
			callsOf(r.calls, a.Consumers, a.Groups)
			r.meets(a.Filters)
		}
		for _, m := range s.mapped[api] {
			callsOf(r.calls, m.Consumers, m.Groups)
			r.meets(m.Filters)
		}
	}
}

func (r *road) meets(filters []string) {
	for _, f := range filters {
		r.filters[f] = true
	}
}

// bind adds all that ACLs speak of, where they bind their subjects everywhere (C6).
func (r *road) bind() {
	if !r.w.scope.bind {
		return
	}
	for _, s := range []*side{r.w.was, r.w.is} {
		for _, a := range s.aclOf {
			callsOf(r.calls, a.Consumers, a.Groups)
		}
	}
}

// touched reports whether the change can touch a request of the road whoever asks,
// whatever it asks for and from wherever.
func (r *road) touched() bool {
	c := r.w.scope
	if c.every || slices.ContainsFunc(r.apis, func(api string) bool { return c.apis[api] && !slices.Contains(r.w.moved, api) }) {
		return true
	}
	return slices.ContainsFunc(c.entries, func(e entry) bool { return e.Service != "" && slices.Contains(r.services, e.Service) })
}

// inReach reports whether the change can touch any request of the road.
func (r *road) inReach() bool {
	if r.touched() || r.w.people.differ || len(r.w.moved) > 0 {
		return true
	}
	return slices.ContainsFunc(r.w.scope.entries, func(e entry) bool { return e.Service == "" && r.mayMeet(e.Paths) })
}

// mayMeet reports whether a path of the road, or what is behind the segment of its
// service, can have one of some prefixes; nil is no prefix but any path.
func (r *road) mayMeet(paths []string) bool {
	return r.wide || paths == nil || slices.ContainsFunc(paths, func(p string) bool {
		return p == "" || firstOf(p) == r.segment || slices.Contains(r.services, firstOf(p))
	})
}

// atoms are the rules that requests of the road may be compared with.
func (r *road) atoms() (all []atom) {
	w := r.w
	for _, e := range w.entries {
		if r.mayMeet(e.Paths) {
			all = append(all, e)
		}
	}
	for _, name := range sortedKeys(r.filters) {
		was, is := w.was.filters[name], w.is.filters[name]
		key := policy.Key{Kind: policy.KindFilters, Name: name}
		if !w.scope.changed[key] {
			is = nil // it is the same
		}
		for id, f := range map[string]*policy.Filter{"f:" + name: was, "g:" + name: is} {
			if f != nil {
				all = append(all, atom{id: id, routes: r.routing[name], Mentions: f.Mentions()})
			}
		}
	}
	return all
}

// of returns the key of the road by the first segment that a path without a mapped
// host is on.
func (r *road) of(path string) string { return r.w.roadOf(path) }

func (w *world) roadOf(path string) string {
	switch first := firstOf(path); {
	case !strings.HasPrefix(path, "/"), first == "":
		return ""
	case w.segments[first]:
		return "/" + first
	case uri.IsServiceName(first):
		return "/"
	}
	return ""
}
