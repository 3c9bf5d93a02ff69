package access

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// freeScope returns the id for a new mapping, or refuses it if a plugin of the
// type is mapped with the same scope. The id is a hash of type and scope: of two
// clients that make the same mapping at once, one finds the id taken (C14).
func (s *shortForm) freeScope(t *edit.Txn, plugin *edit.Object, m *draft) (string, error) {
	kind := plugin.Content.(*policy.Plugin).Name
	want, err := m.scope(kind)
	if err != nil {
		return "", err
	}
	all, err := t.List(policy.KindPluginMappings)
	if err != nil {
		return "", err
	}
	for _, o := range all {
		if apiOf(o) != m.givenText("api") {
			continue
		}
		same, err := s.hasScope(t, o, kind, want)
		if err != nil {
			return "", err
		}
		if same {
			return "", takenScope(kind)
		}
	}
	sum := sha256.Sum256([]byte(want))
	id := uuid.NewHash(sha256.New(), uuid.NameSpaceOID, sum[:], 8).String()
	o, err := t.Get(policy.Key{Kind: policy.KindPluginMappings, Name: id})
	if err != nil || o == nil {
		return id, err
	}
	if same, err := s.hasScope(t, o, kind, want); err != nil || same {
		if err == nil {
			err = takenScope(kind)
		}
		return "", err
	}
	return newID(), nil // the mapping of that id has another scope by now
}

func takenScope(kind string) error {
	return admin.Taken("", fmt.Sprintf("plugin %s already exists with this scope", kind))
}

// hasScope reports whether a mapping holds a plugin of a type with that scope.
func (s *shortForm) hasScope(t *edit.Txn, o *edit.Object, kind, want string) (bool, error) {
	x := o.Content.(*policy.PluginMapping)
	of := false
	for _, id := range x.Plugins {
		p, err := t.Get(policy.Key{Kind: policy.KindPlugins, Name: id})
		if err != nil {
			return false, err
		}
		of = of || p != nil && p.Content.(*policy.Plugin).Name == kind
	}
	if !of {
		return false, nil
	}
	is := scopeText{kind: kind, api: x.API, consumers: x.Consumers, groups: x.Groups}
	for _, name := range x.Filters {
		f, err := t.Get(policy.Key{Kind: policy.KindFilters, Name: name})
		if err != nil {
			return false, err
		}
		if f != nil && f.Content.(*policy.Filter).Inline {
			is.inline = *f.Content.(*policy.Filter)
		} else {
			is.filters = append(is.filters, name)
		}
	}
	return is.String() == want, nil
}

// scope returns the text of the scope of a mapping that is being made.
func (d *draft) scope(kind string) (string, error) {
	is := scopeText{kind: kind, api: d.givenText("api")}
	refs, _ := d.given["consumers"].([]string)
	for _, ref := range refs {
		id, err := d.consumerID(ref)
		if err != nil {
			return "", err
		}
		is.consumers = append(is.consumers, id)
	}
	is.groups, _ = d.given["groups"].([]string)
	is.filters, _ = d.given["filters"].([]string)
	for name, to := range propertiesOf(&is.inline) {
		*to, _ = d.given[name].([]string)
	}
	return is.String(), nil
}

// scopeText is a scope; its String is the same for equal scopes, in whatever order
// their lists are.
type scopeText struct {
	kind, api                  string
	consumers, groups, filters []string
	inline                     policy.Filter
}

func (s scopeText) String() string {
	sorted := func(list []string) []string {
		list = slices.Clone(list)
		slices.Sort(list)
		return slices.Compact(list)
	}
	f := &s.inline
	_ = policy.Check("", f) // upper case where case does not count
	return fmt.Sprintf("%q %q %q %q %q %q %q %q %q %q", s.kind, s.api, sorted(s.consumers), sorted(s.groups), sorted(s.filters),
		sorted(f.Methods), sorted(f.Hosts), sorted(f.Paths), sorted(f.IPs), sorted(f.Locations))
}
