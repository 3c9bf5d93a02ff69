package policy

import (
	"slices"
	"strings"

	"lictor/internal/uri"
)

// Lost says what of a document was written and could not be read.
type Lost struct {
	Any    bool     // any field may have been written but those in Given
	Given  []string // fields that could be read
	Fields []string // fields that could not
}

// has reports whether nobody knows what was written for a field.
func (l *Lost) has(field string) bool {
	return slices.Contains(l.Fields, field) || l.Any && !slices.Contains(l.Given, field)
}

// note adds the field that a problem such as "entries[3]" is about.
func (l *Lost) note(problem string) {
	if i := strings.IndexAny(problem, ".["); i >= 0 {
		problem = problem[:i]
	}
	if problem != "" {
		l.Fields = append(l.Fields, problem)
	}
}

// standIn is what takes the place of a value that can not be read and has no
// former good value (X6). It closes what the value would have guarded, as far as
// that can be read in it, and where it cannot, all that it might have guarded.
// Its Object is nil if there was nothing to guard.
func standIn(c *Change) *object {
	next := &object{index: c.Index, created: c.Created, broken: true}
	read, lost := c.Object, Lost{Any: c.Lost.Any, Given: c.Lost.Given, Fields: slices.Clone(c.Lost.Fields)}
	if read == nil || read.Kind() != c.Key.Kind {
		read, lost = New(c.Key.Kind), Lost{Any: true}
	}
	check(c.Key.Name, read, func(field, _ string, _ ...any) { lost.note(field) })
	if isList := c.Key.Kind == KindBlacklist || c.Key.Kind == KindWhitelist; isList || !strings.HasPrefix(c.Key.Name, ".") {
		next.Object = read.closing(c.Key.Name, &lost)
	} // else no object can have this name: it is the mark of some tool, such as consul lock
	next.digest = digestOf(c.Key, next)
	return next
}

// reports reports whether a broken object says that it is in report mode, so
// that it would have closed nothing.
func (l *Lost) reports(m Mode) bool { return m.Reports() && !l.has("mode") }

func (l *List) closing(_ string, lost *Lost) Object {
	if lost.reports(l.Mode) {
		return nil
	}
	next := &List{Allow: l.Allow, Direction: l.Direction, Mode: Enforce}
	if lost.has("direction") {
		next.Direction = Both
	}
	return next
}

// A consumer or key that cannot be read is nobody's.
func (*Consumer) closing(string, *Lost) Object   { return nil }
func (*Credential) closing(string, *Lost) Object { return nil }

// closing of a group: where it is mapped, its plugins are unknown.
func (*Group) closing(name string, _ *Lost) Object { return &Group{Name: name} }

// closing of a filter keeps what can be read of it. It grants nothing, and
// restricts and routes whatever the rest may have covered.
func (f *Filter) closing(name string, lost *Lost) Object {
	next := &Filter{Name: name, Inline: f.Inline}
	for _, row := range TableOf(KindFilters).Fields {
		if list, ok := row.Of(f).(*[]string); ok && !lost.has(row.Name) {
			*row.Of(next).(*[]string) = *list
		}
	}
	return next
}

// closing of a plugin: where it applied, a key is demanded.
func (p *Plugin) closing(name string, lost *Lost) Object {
	off := p.Enabled != nil && !*p.Enabled && !lost.has("enabled")
	if off || lost.reports(p.Mode) {
		return nil
	}
	next := &Plugin{ID: name, Name: keyAuth{}.name(), Mode: Enforce}
	if !lost.has("global") {
		next.Global = p.Global
	}
	return next
}

// closing of an ACL lets nobody use its API, or any if that is not known.
func (a *ACL) closing(name string, lost *Lost) Object {
	if lost.reports(a.Mode) {
		return nil
	}
	next := &ACL{ID: name, Mode: Enforce}
	if !lost.has("api") {
		next.API = a.API
	}
	return next
}

// closing of a plugin mapping demands a key of its API, or of all. The plugins
// that can be read in it count as mapped.
func (m *PluginMapping) closing(name string, lost *Lost) Object {
	next := &PluginMapping{ID: name, Plugins: m.Plugins, Groups: m.Groups}
	if !lost.has("api") {
		next.API = m.API
	}
	return next
}

// closing of an API closes it, and takes what may have been routed to it.
func (a *API) closing(name string, lost *Lost) Object {
	next := &API{Name: name, Service: a.Service, Filters: a.Filters}
	if lost.has("filters") {
		next.Filters = []string{anyFilter}
	}
	return next
}

// closing of a mapping closes its domain, which is in the name of the key.
func (m *Mapping) closing(name string, _ *Lost) Object {
	if domain, err := uri.ParseDomain(name); err != nil || domain != name {
		return nil
	}
	return &Mapping{Domain: name}
}
