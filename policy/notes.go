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
	notes := notesOf(k, o, nil)
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
	each := func(field string, names []string, has func(string) bool, text string) {
		for i, name := range names {
			if !has(name) && len(notes) < maxProblems {
				notes = append(notes, Problem{Field: fmt.Sprintf("%s[%d]", field, i), Text: fmt.Sprintf("%.200q: %s", name, text)})
			}
		}
	}
	consumers := func(list []string) { each("consumers", list, s.hasConsumer, "no consumer has this id or name") }
	groups := func(list []string) {
		each("groups", list, s.hasGroup, "there is no such group, and no consumer is in it")
	}
	filters := func(list []string) { each("filters", list, s.hasFilter, "there is no such filter") }
	plugins := func(list []string) { each("plugins", list, s.hasPlugin, "there is no such plugin") }
	api := func(name string) {
		if name != "" && known != nil && !s.names(name) && !known(name) {
			notes = append(notes, Problem{Field: "api", Text: fmt.Sprintf("%.200q: no service, domain or API of this name is known", name)})
		}
	}
	service := func(field, name string) {
		if name != "" && known != nil && !known(name) {
			notes = append(notes, Problem{Field: field, Text: fmt.Sprintf("%.200q: no service of this name is known", name)})
		}
	}
	switch x := o.(type) {
	case *List:
		consumers(x.Consumers)
		groups(x.Groups)
	case *Credential:
		if !s.hasConsumer(x.Consumer) {
			notes = append(notes, Problem{Field: "consumer", Text: fmt.Sprintf("%.200q: no consumer has this id or name", x.Consumer)})
		}
	case *Group:
		plugins(x.Plugins)
	case *ACL:
		api(x.API)
		consumers(x.Consumers)
		groups(x.Groups)
		filters(x.Filters)
	case *PluginMapping:
		api(x.API)
		plugins(x.Plugins)
		consumers(x.Consumers)
		groups(x.Groups)
		filters(x.Filters)
	case *API:
		service("service", x.Service)
		service("backends", serviceIn(x.Backends))
		filters(x.Filters)
	case *Mapping:
		service("backends", serviceIn(x.Backends))
	}
	return notes
}

func (s *Set) hasConsumer(ref string) bool { return s.consumer(ref) != nil }

func (s *Set) hasGroup(name string) bool {
	h := hashString(name)
	_, made := s.groups.Get(h, name)
	_, used := s.members.Get(h, name)
	return made || used
}

func (s *Set) hasFilter(name string) bool {
	_, ok := s.filters.Get(hashString(name), name)
	return ok
}

func (s *Set) hasPlugin(id string) bool {
	_, ok := s.pluginIDs.Get(hashString(id), id)
	return ok
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
