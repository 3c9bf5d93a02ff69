package access

import (
	"net/http"
	"slices"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// shortForm are the plugins of one API, where a plugin and its mapping are shown
// and written as one object (C14).
type shortForm struct{ *Config }

// both is the resource whose fields are those of a plugin and its mapping.
var both = resource{
	one: "plugin", schemaName: "APIPlugin", name: "id", derived: true,
	about: "Plugins of one API: a plugin and its mapping in one request.",
	fields: append(append(slices.Clone(plugins.fields),
		field{name: "mapping", fixed: true, about: "id of the mapping that says where the plugin holds"}),
		slices.DeleteFunc(slices.Clone(pluginMappings.fields), func(f field) bool { return f.name == "id" || f.name == "plugins" })...),
}

// split divides the fields of a body into the plugin's and the mapping's.
func split(given map[string]any) (plugin, mapping map[string]any) {
	plugin, mapping = map[string]any{}, map[string]any{}
	for name, value := range given {
		switch {
		case name == "mapping":
		case plugins.field(name) != nil:
			plugin[name] = value
		default:
			mapping[name] = value
		}
	}
	return plugin, mapping
}

// write makes a plugin and its mapping, or changes them.
func (s *shortForm) write(t *edit.Txn, r *http.Request, v verb, old item, given map[string]any) (made item, err error) {
	switch id, said := given["mapping"]; {
	case old.mapping == nil && id != nil:
		return made, admin.Invalid("mapping", "mapping cannot be set")
	case old.mapping != nil && said && id != old.mapping.Key.Name:
		return made, admin.Invalid("mapping", "mapping cannot be changed")
	}
	ofPlugin, ofMapping := split(given)
	d, err := s.draft(t, &plugins, v, old.Object, ofPlugin)
	if err != nil {
		return made, err
	}
	d.ref = r.PathValue("id")
	if made.Object, err = d.write(); err != nil {
		return made, err
	}
	m, err := s.draft(t, &pluginMappings, v, old.mapping, ofMapping)
	if err != nil {
		return made, err
	}
	if err := withinAPI.set(m, r.PathValue("api")); err != nil {
		return made, err
	}
	if old.mapping != nil {
		m.given["plugins"] = old.mapping.Content.(*policy.PluginMapping).Plugins
	} else {
		m.given["plugins"] = []string{made.Key.Name}
		if m.given["id"], err = s.freeScope(t, made.Object, m); err != nil {
			return made, err
		}
	}
	if made.mapping, err = m.write(); err != nil {
		return made, err
	}
	made.Object, err = t.Get(made.Key) // now marked as mapped
	return made, err
}

// all returns the plugins of an API, oldest mapping first. All plugins of one
// mapping are on the same page.
func (s *shortForm) all(v *viewer, r *http.Request) (pairs []item, err error) {
	api := r.PathValue("api")
	if !validAPI(api) {
		return nil, admin.NotFound()
	}
	mappings, err := v.objects(policy.KindPluginMappings)
	if err != nil {
		return nil, err
	}
	all, err := v.objects(policy.KindPlugins)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*edit.Object, len(all))
	for _, o := range all {
		byID[o.Key.Name] = o
	}
	for _, m := range mappings {
		if apiOf(m) != api {
			continue
		}
		for _, id := range m.Content.(*policy.PluginMapping).Plugins {
			if p := byID[id]; p != nil {
				pairs = append(pairs, item{Object: p, mapping: m})
			}
		}
	}
	return pairs, nil
}

// find returns the plugin that a path names, by its id or its mapping's.
func (s *shortForm) find(t *edit.Txn, r *http.Request) (i item, err error) {
	all, err := s.all(s.viewer(r.Context()), r)
	if err != nil {
		return i, err
	}
	ref := r.PathValue("id")
	at := slices.IndexFunc(all, func(i item) bool { return i.Key.Name == ref || i.mapping.Key.Name == ref })
	if at < 0 {
		return i, nil
	}
	if i.mapping, err = t.Get(all[at].mapping.Key); err != nil || i.mapping == nil {
		return item{}, err
	}
	if i.Object, err = t.Get(all[at].Key); err != nil || i.Object == nil {
		return item{}, err
	}
	return i, nil
}

func (s *shortForm) show(v *viewer, i item) (object, error) {
	shown, err := v.show(&plugins, i.Object, nil)
	if err != nil {
		return nil, err
	}
	of, err := v.show(&pluginMappings, i.mapping, nil)
	if err != nil {
		return nil, err
	}
	for _, m := range of {
		switch m.name {
		case "id":
			shown = append(shown, member{"mapping", m.value})
		case "plugins":
		case "warnings", "held", "error":
			shown = shown.merge(m)
		default:
			shown = append(shown, m)
		}
	}
	return shown, nil
}

func (s *shortForm) location(r *http.Request, i item) string { return below(r, i.Key.Name) }

// remove takes the plugin out of its mapping; what nothing refers to any more
// goes with it.
func (s *shortForm) remove(t *edit.Txn, i item) error {
	m := *i.mapping.Content.(*policy.PluginMapping)
	id := i.Key.Name
	if err := t.Current(i.Key); err != nil {
		return err
	}
	elsewhere := inUse(t, i.Key, i.mapping.Key, policy.KindPluginMappings, policy.KindGroups)
	m.Plugins = slices.DeleteFunc(slices.Clone(m.Plugins), func(one string) bool { return one == id })
	var err error
	if len(m.Plugins) > 0 {
		_, err = t.Put(i.mapping.Key, &m)
	} else {
		err = pluginMappings.delete(t, i.mapping)
	}
	if err != nil || elsewhere != nil {
		return err
	}
	return t.Delete(i.Key)
}
