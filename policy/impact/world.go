package impact

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
)

// world is what both policies speak of, before it is known on which road.
type world struct {
	was, is *side
	scope   *scope

	entries  []atom // of lists that the gateway enforces, but those of closed
	closed   closed
	routes   []way           // into APIs, by filters
	known    map[string]bool // APIs that have rules of their own
	moved    []string        // domains that one policy alone maps, or maps otherwise
	segments map[string]bool // first segments that have a road of their own
	words    map[string]bool // segments and labels that are spoken of
	people   *people
	crossed  bool // some plugin cors is in force
}

// atom is a rule's own cut through the world: the id is the rule's, and of those
// that always say the same it is one.
type atom struct {
	id      string
	changed bool // an entry that denies, and that one policy alone has
	routes  bool // it is compared when the API is looked for: the longest of its paths counts, and whether a host is named exactly
	denies  bool // it takes a method in any case, and no port
	allows  bool // it is of a whitelist, which does not look behind the segment of the service
	policy.Mentions
}

// way is one way into an API: its filters have to match all together (C30).
type way struct {
	api, service string
	filters      []string
	side         *side
}

// closed is what entries of blacklists refuse in both policies, by a host, a path
// or an address alone: there nothing can change.
type closed struct {
	entries int
	hosts   map[string][]policy.HostMention // by host
	paths   map[string]bool
	first   map[string][]string // of paths, by their first segment
	spans   []span              // of addresses, apart and in order
}

func newWorld(was, is *side, c *scope) *world {
	w := &world{was: was, is: is, scope: c, known: make(map[string]bool), words: make(map[string]bool),
		closed: closed{hosts: make(map[string][]policy.HostMention), paths: make(map[string]bool), first: make(map[string][]string)}}
	var spans []span
	for _, kind := range []policy.Kind{policy.KindBlacklist, policy.KindWhitelist} {
		a, b := enforced(was, kind), enforced(is, kind)
		for _, text := range slices.Sorted(maps.Keys(union(a, b))) {
			e := entry{text: text, allow: kind == policy.KindWhitelist, shared: a[text] && b[text]}
			m, ok := policy.EntryMentions(text)
			if e.Mentions = m; ok {
				spans = w.enter(&e, spans)
			}
		}
	}
	w.closed.spans = merged(spans)
	for _, s := range []*side{was, is} {
		w.enterSide(s)
	}
	for d := range union(was.domains, is.domains) {
		w.word(d)
		if !w.stays(d) {
			w.moved = append(w.moved, d)
		}
	}
	slices.Sort(w.moved)
	slices.SortFunc(w.routes, func(a, b way) int { return cmp.Or(cmp.Compare(a.api, b.api), slices.Compare(a.filters, b.filters)) })
	w.people = newPeople(was, is)
	return w
}

// enter files an entry of a list.
func (w *world) enter(e *entry, spans []span) []span {
	for _, p := range e.Paths {
		w.word(p)
	}
	for _, h := range e.Hosts {
		w.word(h.Host)
	}
	if !e.allow && e.shared && e.alone() {
		w.closed.entries++
		for _, h := range e.Hosts {
			w.closed.hosts[h.Host] = append(w.closed.hosts[h.Host], h)
		}
		for _, p := range e.Paths {
			w.closed.paths[p] = true
			w.closed.first[firstOf(p)] = append(w.closed.first[firstOf(p)], p)
		}
		for _, p := range e.Prefixes {
			spans = append(spans, spanOf(p))
		}
		return spans
	}
	a := atom{id: "e:" + e.text, changed: !e.shared && !e.allow, denies: !e.allow, allows: e.allow, Mentions: e.Mentions}
	if e.allow {
		a.id = "w:" + e.text
		if e.shared && e.alone() && e.Port == 0 {
			a.id = "w" // each admits alone, and says no more than another
		}
	}
	w.entries = append(w.entries, a)
	return spans
}

func (w *world) enterSide(s *side) {
	for _, f := range s.filters {
		m := f.Mentions()
		for _, p := range m.Paths {
			w.word(p)
		}
		for _, h := range m.Hosts {
			w.word(h.Host)
		}
	}
	for _, api := range slices.Concat(slices.Collect(maps.Keys(s.acls)), slices.Collect(maps.Keys(s.mapped))) {
		if api != "" {
			w.known[api] = true
		}
	}
	for name, a := range s.apis {
		w.words[name], w.words[a.ServiceName()] = true, true
		w.known[name] = true
		if len(a.Filters) > 0 {
			w.routes = append(w.routes, s.ways(a)...)
		}
	}
	for api := range w.known {
		w.words[api] = true
	}
	for _, p := range s.plugins {
		w.crossed = w.crossed || p.Name == "cors" && (p.Enabled == nil || *p.Enabled) && !p.Mode.Reports()
	}
}

// word notes the segments of a path, or the labels of a host, as taken.
func (w *world) word(s string) {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == '.' }) {
		w.words[part] = true
	}
}

// fresh returns a word that nothing speaks of, so that what is made of it is told
// apart by nothing.
func (w *world) fresh(word string) string {
	for w.words[word] {
		word += "x"
	}
	return word
}

// ways are the ways into an API that has filters: one for each named filter, with
// all inline ones. A filter that does not exist is no way, which makes one fewer
// here or there: more ways than there are cut finer, and no other way.
func (s *side) ways(a *policy.API) (all []way) {
	var inline, named []string
	for _, f := range a.Filters {
		if x := s.filters[f]; x != nil && x.Inline {
			inline = append(inline, f)
		} else {
			named = append(named, f)
		}
	}
	if len(named) == 0 {
		return []way{{a.Name, a.ServiceName(), inline, s}}
	}
	for _, f := range named {
		all = append(all, way{a.Name, a.ServiceName(), append([]string{f}, inline...), s})
	}
	return all
}

// mayTake reports whether a way may be that of a path on a road by its segment.
func (y *way) mayTake(segment string) bool {
	for _, name := range y.filters {
		f := y.side.filters[name]
		if f == nil || len(f.Paths) == 0 {
			continue
		}
		if !slices.ContainsFunc(f.Mentions().Paths, func(p string) bool { return p == "" || firstOf(p) == segment }) {
			return false
		}
	}
	return true
}

// refuses reports whether a host is refused by its name in both policies.
func (c *closed) refuses(host string) bool {
	if len(c.hosts) == 0 {
		return false
	}
	for rest := host; rest != ""; {
		for _, m := range c.hosts[rest] {
			if m.Covers(host) {
				return true
			}
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	return false
}

// covers reports whether a path is refused in both policies.
func (c *closed) covers(path string) bool {
	if len(c.paths) == 0 {
		return false
	}
	for p := range prefixes(path) {
		if c.paths[p] {
			return true
		}
	}
	return false
}

// prefixes yields what of a path is a prefix by whole segments, the longest first,
// without last slash.
func prefixes(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := len(path); i >= 0; i-- {
			if (i == len(path) || path[i] == '/') && !yield(path[:i]) {
				return
			}
		}
	}
}

// firstOf is the first segment of a path.
func firstOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// afterFirst is a path without its first segment, "/" at least.
func afterFirst(path string) string {
	if i := strings.IndexByte(path[min(1, len(path)):], '/'); i >= 0 {
		return path[1+i:]
	}
	return "/"
}

// isSegment reports whether a name can be that of a road by its segment.
func isSegment(name string) bool {
	p, _, err := uri.ParsePath("/"+name, nil)
	return err == nil && !p.HasQuery && !p.Odd() && p.Canonical == "/"+name && name != "" && !strings.Contains(name, "/")
}
