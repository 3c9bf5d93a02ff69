package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Note is worth telling about an object that is in force: it refers to nothing,
// or something in it can match nothing. Nothing is refused for it.
type Note struct {
	Path string `json:"key"` // with the store's prefix
	Problem
}

// Notes tells of all objects of the set, in the order of their keys. known
// reports whether a name is that of a service; nil if that cannot be told, as
// where a policy is read from files.
func (s *Set) Notes(known func(service string) bool) []Note {
	if s == nil {
		return nil
	}
	var keys []Key
	s.noted.All(func(k Key, _ *object) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, Key.Compare)
	var all []Note
	for _, k := range keys {
		o, _ := s.noted.Get(k.hash(), k)
		for _, p := range append(s.references(o.Object, known), o.notes...) {
			all = append(all, Note{s.prefix + k.String(), p})
		}
	}
	return all
}

// NotesOn tells what Notes would tell of one object if it stood beside those of
// the set, for instance before it is written.
func (s *Set) NotesOn(k Key, o Object, known func(service string) bool) Problems {
	var entries Problems
	if l, ok := o.(*List); ok {
		entries = readLines(l).notes
	}
	notes := notesOf(k, o, entries)
	if s != nil {
		notes = append(s.references(o, known), notes...)
	}
	return notes
}

// worthNoting reports whether there is or may be something to tell of an object.
func (o *object) worthNoting() bool {
	if len(o.notes) > 0 {
		return true
	}
	switch x := o.Object.(type) {
	case *List:
		return x.hasSubject()
	case *Mapping:
		return serviceIn(x.Backends) != ""
	case *Consumer, *Filter, *Plugin, nil:
		return false
	}
	return true
}

// references notes every name in an object that nothing has.
func (s *Set) references(o Object, known func(service string) bool) (notes Problems) {
	note := func(field, name, text string) {
		if text != "" && len(notes) < maxProblems {
			notes = append(notes, Problem{Field: field, Text: fmt.Sprintf("%.200q: %s", name, text)})
		}
	}
	service := func(name, field, text string) {
		if name != "" && known != nil && !known(name) {
			note(field, name, text)
		}
	}
	switch x := o.(type) {
	case *Consumer:
		return nil // its groups exist because it is in them
	case *Credential:
		note("consumer", x.Consumer, s.lacks(KindConsumers, x.Consumer))
	case *ACL, *PluginMapping:
		if api := APIOf(o); !s.names(api) {
			service(api, "api", "no service, domain or API of this name is known")
		}
	case *API:
		service(x.Service, "service", noService)
		service(serviceIn(x.Backends), "backends", noService)
	case *Mapping:
		service(serviceIn(x.Backends), "backends", noService)
	}
	if m, ok := o.(*PluginMapping); ok && len(m.Consumers)+len(m.Groups) > 0 {
		for i, id := range m.Plugins {
			if p, ok := s.pluginIDs.Get(hashString(id), id); ok && p.kind == typeCORS {
				note(fmt.Sprintf("plugins[%d]", i), id, "a preflight says nobody's name, so cors does not hold where consumers or groups narrow it: map it to an API or filters")
			}
		}
	}
	table := TableOf(o.Kind())
	for i := range table.Fields {
		f := &table.Fields[i]
		if f.Refers == "" {
			continue
		}
		for n, name := range *f.Of(o).(*[]string) {
			note(fmt.Sprintf("%s[%d]", f.Name, n), name, s.lacks(f.Refers, name))
		}
	}
	return notes
}

const noService = "no service of this name is known"

// lacks says that no object of a kind has a name; "" if one has it.
func (s *Set) lacks(kind Kind, name string) (text string) {
	has, h := false, hashString(name)
	switch kind {
	case KindConsumers:
		has, text = s.consumer(name) != nil, "no consumer has this id or name"
	case KindGroups:
		_, made := s.groups.Get(h, name)
		_, used := s.members.Get(h, name)
		has, text = made || used, "there is no such group, and no consumer is in it"
	case KindFilters:
		_, has = s.filters.Get(h, name)
		text = "there is no such filter"
	case KindPlugins:
		_, has = s.pluginIDs.Get(h, name)
		text = "there is no such plugin"
	}
	if has {
		return ""
	}
	return text
}

// names reports whether an API object or a mapped domain has a name.
func (s *Set) names(api string) bool {
	h := hashString(api)
	if _, ok := s.apis.Get(h, api); ok {
		return true
	}
	if parent, wild := strings.CutPrefix(api, "*."); wild {
		_, ok := s.wildcards.Get(hashString(parent), parent)
		return ok
	}
	_, ok := s.domains.Get(h, api)
	return ok
}
