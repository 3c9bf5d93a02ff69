package access

import (
	"net/http"
	"net/url"
	"slices"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// anyMapping serves /mappings, where what is given decides whether it is an ACL
// or a plugin mapping (C10).
type anyMapping struct{ *Config }

// mapping has the fields of ACLs and of plugin mappings.
var mapping = resource{
	one: "mapping", schemaName: "AnyMapping", name: "id",
	about: "ACLs and plugin mappings together: with any plugin in it, directly or through a group, it is a plugin mapping.",
	fields: append(slices.DeleteFunc(slices.Clone(pluginMappings.fields), func(f field) bool { return f.name == "plugins" }),
		field{name: "plugins", kind: policy.TypeList, about: "ids of plugins; an ACL has none"},
		*acls.field("mode"),
		field{name: "type", fixed: true, enum: []string{"acl", "plugin"}, about: "what it became"}),
}

func (m *anyMapping) mappingRoutes() []admin.Route {
	doc := describer{tag: "Mappings", one: "mapping: with any plugin in it a plugin mapping, else an ACL", schema: mapping.schema(), needed: []string{"api"}, query: mapping.query()}
	return []admin.Route{route("GET", "/mappings", m.listBoth, doc.describeList()), route("POST", "/mappings", m.createEither, doc.describeCreate())}
}

func typeOf(o *edit.Object) (*resource, string) {
	if o.Key.Kind == policy.KindACLs {
		return &acls, "acl"
	}
	return &pluginMappings, "plugin"
}

func (m *anyMapping) showEither(v *viewer, o *edit.Object) (object, error) {
	res, name := typeOf(o)
	shown, err := v.show(res, o, nil)
	return append(shown, member{"type", name}), err
}

func (m *anyMapping) listBoth(w http.ResponseWriter, r *http.Request) error {
	p, err := readPage(r, &mapping)
	if err != nil {
		return err
	}
	v := m.viewer(r.Context())
	var all []*edit.Object
	for _, kind := range []policy.Kind{policy.KindACLs, policy.KindPluginMappings} {
		list, err := v.objects(kind)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b *edit.Object) int { return placeOf(a).compare(placeOf(b)) })
	if all, err = narrow(p, all, func(o *edit.Object) (object, error) { return m.showEither(v, o) }); err != nil {
		return err
	}
	part, next := p.cut(all)
	data := make([]object, len(part))
	for i, o := range part {
		if data[i], err = m.showEither(v, o); err != nil {
			return err
		}
	}
	writePage(w, r, p, len(all), next, data)
	return nil
}

func (m *anyMapping) createEither(w http.ResponseWriter, r *http.Request) error {
	given, err := mapping.read(r)
	if err != nil {
		return err
	}
	if given["type"] != nil {
		return admin.Invalid("type", "type cannot be set")
	}
	var o *edit.Object
	err = m.change(w, r, func(t *edit.Txn) error {
		res, err := m.kindOfMapping(t, given)
		if err != nil {
			return err
		}
		for name := range given {
			if res.field(name) == nil && name != "plugins" {
				return admin.Invalid(name, name+" is an unknown field of a "+res.one)
			}
		}
		d, err := m.draft(t, res, create, nil, given)
		if err != nil {
			return err
		}
		o, err = d.write()
		return err
	})
	if err != nil {
		return err
	}
	shown, err := m.showEither(m.viewerWithWarnings(r.Context()), o)
	if err != nil {
		return err
	}
	_, kind := typeOf(o)
	w.Header().Set("Location", "/mappings/"+kind+"s/"+url.PathEscape(o.Key.Name))
	answer(w, http.StatusCreated, o, shown)
	return nil
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
