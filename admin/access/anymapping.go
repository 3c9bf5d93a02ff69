package access

import (
	"net/http"
	"net/url"
	"slices"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// anyMapping are ACLs and plugin mappings together, where what is given decides
// which of the two it is (C10). They are changed as what they are.
type anyMapping struct{ *Config }

// mapping has the fields of ACLs and of plugin mappings.
var mapping = resource{
	one: "mapping", schemaName: "AnyMapping", name: "id", derived: true,
	about: "ACLs and plugin mappings together: with any plugin in it, directly or through a group, it is a plugin mapping.",
	fields: append(slices.DeleteFunc(slices.Clone(pluginMappings.fields), func(f field) bool { return f.name == "plugins" }),
		field{name: "plugins", kind: policy.TypeList, about: "ids of plugins; an ACL has none"},
		*acls.field("mode"),
		field{name: "type", fixed: true, enum: []string{"acl", "plugin"}, about: "what it became"}),
}

func typeOf(o *edit.Object) (*resource, string) {
	if o.Key.Kind == policy.KindACLs {
		return &acls, "acl"
	}
	return &pluginMappings, "plugin"
}

func (m *anyMapping) show(v *viewer, i item) (object, error) {
	res, name := typeOf(i.Object)
	shown, err := v.show(res, i.Object, nil)
	return append(shown, member{"type", name}), err
}

func (m *anyMapping) all(v *viewer, _ *http.Request) (all []item, err error) {
	for _, kind := range []policy.Kind{policy.KindACLs, policy.KindPluginMappings} {
		list, err := v.objects(kind)
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			all = append(all, item{Object: o})
		}
	}
	slices.SortFunc(all, func(a, b item) int { return a.place().compare(b.place()) })
	return all, nil
}

func (m *anyMapping) write(t *edit.Txn, _ *http.Request, v verb, _ item, given map[string]any) (i item, err error) {
	if given["type"] != nil {
		return i, admin.Invalid("type", "type cannot be set")
	}
	res, err := m.kindOfMapping(t, given)
	if err != nil {
		return i, err
	}
	for name := range given {
		if res.field(name) == nil && name != "plugins" {
			return i, admin.Invalid(name, name+" is an unknown field of a "+res.one)
		}
	}
	d, err := m.draft(t, res, v, nil, given)
	if err != nil {
		return i, err
	}
	i.Object, err = d.write()
	return i, err
}

// find and remove: no path leads to a single one.
func (m *anyMapping) find(*edit.Txn, *http.Request) (item, error) { return item{}, nil }
func (m *anyMapping) remove(*edit.Txn, item) error                { return admin.NotFound() }

func (m *anyMapping) location(_ *http.Request, i item) string {
	_, name := typeOf(i.Object)
	return "/mappings/" + name + "s/" + url.PathEscape(i.Key.Name)
}

// kindOfMapping returns what a body of POST /mappings asks for: a plugin mapping
// if it names a plugin, or a group that holds some; else an ACL.
func (m *anyMapping) kindOfMapping(t *edit.Txn, given map[string]any) (*resource, error) {
	if ids, _ := given["plugins"].([]string); len(ids) > 0 {
		return &pluginMappings, nil
	}
	names, _ := given["groups"].([]string)
	for _, name := range names {
		o, err := t.Get(policy.Key{Kind: policy.KindGroups, Name: name})
		if err != nil {
			return nil, err
		}
		if o != nil && len(o.Content.(*policy.Group).Plugins) > 0 {
			return &pluginMappings, nil
		}
	}
	return &acls, nil
}
