package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// Idle tells of what in a policy makes no difference, because something else in it
// does the same or more: an entry that a wider one covers, an ACL whose subjects
// another one lets in anyway, an object that says the same as another one, a plugin
// that holds nowhere (R5). It is for people who write a policy and costs more than a
// running lictor would want to pay; what cannot be read is left out. The notes are
// in the order of their keys, the keys without the store's prefix.
func Idle(changes []Change) []Note {
	var w idle
	for i := range changes {
		if c := &changes[i]; c.Err == nil && c.Object != nil {
			w.add(c.Key, c.Object)
		}
	}
	w.judge()
	slices.SortStableFunc(w.notes, func(a, b Note) int { return strings.Compare(a.Path, b.Path) })
	return w.notes
}

// idle looks for what makes no difference.
type idle struct {
	lists    [2]covering // of blacklists and of whitelists
	acls     map[string][]*ACL
	plugins  []*Plugin
	groups   []*Group
	mappings []*PluginMapping
	twins    map[string]Key // the first object that says this
	notes    []Note
	told     map[string]int // notes by key
}

func (w *idle) add(k Key, o Object) {
	switch x := o.(type) {
	case *List:
		w.lists[listKind(x.Allow)].addList(k.Name, x)
	case *ACL:
		if w.acls == nil {
			w.acls = make(map[string][]*ACL)
		}
		w.acls[x.API] = append(w.acls[x.API], x)
	case *Plugin:
		w.plugins = append(w.plugins, x)
	case *Group:
		w.groups = append(w.groups, x)
	case *PluginMapping:
		w.mappings = append(w.mappings, x)
	}
	w.twin(k, o)
}

func listKind(allow bool) int {
	if allow {
		return whitelists
	}
	return blacklists
}

func (w *idle) note(k Key, p Problem) {
	if w.told == nil {
		w.told = make(map[string]int)
	}
	path := k.String()
	if w.told[path]++; w.told[path] <= maxProblems {
		w.notes = append(w.notes, Note{path, p})
	}
}

// twin notes an object that says the same as one before it.
func (w *idle) twin(k Key, o Object) {
	var said string
	switch x := o.(type) {
	case *ACL:
		said = fmt.Sprintf("%q", []any{x.API, sorted(x.Consumers), sorted(x.Groups), sorted(x.Filters), x.Mode})
	case *PluginMapping:
		said = fmt.Sprintf("%q", []any{x.API, sorted(x.Plugins), sorted(x.Consumers), sorted(x.Groups), sorted(x.Filters)})
	case *Filter:
		if x.Inline {
			return // each belongs to its own ACL or mapping
		}
		said = fmt.Sprintf("%q", []any{sorted(x.Methods), sorted(x.Hosts), sorted(x.Paths), sorted(x.IPs), sorted(x.Locations)})
	default:
		return
	}
	said = string(k.Kind) + said
	if first, ok := w.twins[said]; ok {
		w.note(k, Problem{Text: fmt.Sprintf("says the same as %s/%s", first.Kind, first.Name)})
		return
	}
	if w.twins == nil {
		w.twins = make(map[string]Key)
	}
	w.twins[said] = k
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func (w *idle) judge() {
	for kind, k := range [...]Kind{blacklists: KindBlacklist, whitelists: KindWhitelist} {
		for _, r := range w.lists[kind].rules {
			if by := w.lists[kind].coverOf(r); by != nil {
				w.note(Key{k, r.list}, r.from.problem(r.at, fmt.Sprintf("%.200q can never make a difference, because %.200q of %s/%s covers it", r.text, by.text, k, by.list)))
			}
		}
	}
	for _, acls := range w.acls {
		w.judgeACLs(acls)
	}
	w.judgePlugins()
}

// judgeACLs compares the ACLs of one API.
func (w *idle) judgeACLs(acls []*ACL) {
	for _, a := range acls {
		for _, by := range acls {
			if a == by || !by.lets(a) || a.lets(by) && by.ID >= a.ID {
				continue
			}
			if a.said() == by.said() {
				break // a twin, which is told as such
			}
			w.note(Key{KindACLs, a.ID}, Problem{Text: fmt.Sprintf("can never make a difference, because acls/%s lets the same requests pass", by.ID)})
			break
		}
	}
}

func (a *ACL) said() string {
	return fmt.Sprintf("%q", []any{sorted(a.Consumers), sorted(a.Groups), sorted(a.Filters), a.Mode})
}

// lets reports whether an ACL lets all pass that another one of its API does, by
// what stands in the two alone. Whom an ACL names may be bound by it (C6), so one
// that is for anyone does not stand for one that names somebody.
func (a *ACL) lets(other *ACL) bool {
	filters := len(a.Filters) == 0 || slices.Equal(sorted(a.Filters), sorted(other.Filters))
	if a.Mode.Reports() != other.Mode.Reports() || !filters || a.anyone() != other.anyone() {
		return false
	}
	return includes(a.Consumers, other.Consumers) && includes(a.Groups, other.Groups)
}

func (a *ACL) anyone() bool { return len(a.Consumers)+len(a.Groups) == 0 }

func includes(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// judgePlugins looks for those that hold nowhere.
func (w *idle) judgePlugins() {
	mapped := make(map[string]bool)
	for _, m := range w.mappings {
		for _, id := range m.Plugins {
			mapped[id] = true
		}
		for _, g := range w.groups {
			if slices.Contains(m.Groups, g.Name) {
				for _, id := range g.Plugins {
					mapped[id] = true
				}
			}
		}
	}
	for _, p := range w.plugins {
		switch k := (Key{KindPlugins, p.ID}); {
		case !p.enabled():
			w.note(k, Problem{Field: "enabled", Text: "it never runs, because it is switched off"})
		case p.Global != nil && !*p.Global && !mapped[p.ID]:
			w.note(k, Problem{Field: "global", Text: "it never runs, because it is not global and no mapping names it"})
		}
	}
}

// placedRule is an entry of a list and where it stands.
type placedRule struct {
	listRule
	from *List
	at   int // index in its entries
}

// covering finds the entries that cover another one, by where they are filed.
type covering struct {
	rules    []*placedRule
	hosts    map[string][]*placedRule
	paths    map[string][]*placedRule // by path, with a host or without
	services map[string][]*placedRule
	addrs    bart.Table[[]*placedRule]
}

func (c *covering) addList(name string, l *List) {
	if c.hosts == nil {
		c.hosts, c.paths, c.services = make(map[string][]*placedRule), make(map[string][]*placedRule), make(map[string][]*placedRule)
	}
	for i, text := range l.Entries {
		e, err := parseEntry(text)
		if err != nil {
			continue
		}
		r := &placedRule{listRule{entry: e, list: name, text: text}, l, i}
		c.rules = append(c.rules, r)
		switch {
		case r.isPath():
			c.paths[r.paths[0]] = append(c.paths[r.paths[0]], r)
		case r.service != "":
			c.services[r.service] = append(c.services[r.service], r)
		case r.host != "":
			c.hosts[r.host] = append(c.hosts[r.host], r)
		default:
			old, _ := c.addrs.Get(r.prefix)
			c.addrs.Insert(r.prefix, append(slices.Clone(old), r))
		}
	}
}

// coverOf returns an entry that covers another one wherever that speaks, nil if
// none does.
func (c *covering) coverOf(r *placedRule) *placedRule {
	for bucket := range c.above(r) {
		for _, by := range bucket {
			if by != r && by.covers(r) && (!r.covers(by) || by.before(r)) {
				return by
			}
		}
	}
	return nil
}

// before orders entries that cover each other.
func (r *placedRule) before(other *placedRule) bool {
	if r.list == other.list {
		return r.at < other.at
	}
	return r.list < other.list
}

// above yields the entries that may cover another one.
func (c *covering) above(r *placedRule) iter.Seq[[]*placedRule] {
	return func(yield func([]*placedRule) bool) {
		switch {
		case r.service != "":
			yield(c.services[r.service])
			return
		case r.prefix.IsValid():
			for _, bucket := range c.addrs.Supernets(r.prefix) {
				if !yield(bucket) {
					return
				}
			}
			return
		}
		for host := r.host; host != ""; {
			if !yield(c.hosts[host]) {
				return
			}
			_, host, _ = strings.Cut(host, ".")
		}
		for path := first(r.paths); r.isPath(); path = path[:strings.LastIndexByte(path, '/')] {
			if !yield(c.paths[path]) || path == "" {
				return
			}
		}
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// covers reports whether an entry speaks wherever another one does, and as much.
func (r *placedRule) covers(other *placedRule) bool {
	switch {
	case r.from.Mode.Reports() && !other.from.Mode.Reports(),
		r.from != other.from && r.from.hasSubject(),
		r.port != 0 && r.port != other.port,
		r.method != "" && r.method != other.method:
		return false
	}
	for side, direction := range [...]Direction{gateway: Ingress, egress: Egress} {
		if other.from.Direction.covers(direction) && other.speaksAt(side) && !(r.from.Direction.covers(direction) && r.speaksAt(side)) {
			return false
		}
	}
	return r.reaches(&other.entry)
}

// reaches compares what two entries cover, apart from method and port.
func (e *entry) reaches(other *entry) bool {
	switch {
	case e.service != "" || other.service != "":
		return e.service == other.service
	case e.prefix.IsValid() || other.prefix.IsValid():
		return e.prefix.IsValid() && other.prefix.IsValid() && e.prefix.Bits() <= other.prefix.Bits() && e.prefix.Contains(other.prefix.Addr())
	case e.isPath():
		return other.isPath() && (e.host == "" || e.host == other.host) && !slices.ContainsFunc(other.paths, func(p string) bool { return !e.isAbove(p) })
	}
	below := strings.HasSuffix(other.host, "."+e.host)
	switch e.scope {
	case hostExact:
		return other.host == e.host && other.scope == hostExact
	case hostSubdomains:
		return below || other.host == e.host && other.scope == hostSubdomains
	}
	return below || other.host == e.host
}

// isAbove reports whether the path of an entry covers another path by whole segments.
func (e *entry) isAbove(path string) bool {
	return slices.ContainsFunc(e.paths, func(p string) bool {
		return p == path || strings.HasPrefix(path, p) && path[len(p)] == '/'
	})
}
