package access

import (
	"net/http"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// shortForm serves /apis/{api}/plugins, where a plugin and its mapping are shown
// and written as one object (C14).
type shortForm struct{ *Config }

// pair is such an object: a mapping and one of its plugins.
type pair struct {
	mapping, plugin *edit.Object
}

// both is the resource whose fields are those of a plugin and its mapping.
var both = resource{
	one: "plugin", schemaName: "APIPlugin", name: "id",
	about: "Plugins of one API: a plugin and its mapping in one request.",
	fields: append(append(slices.Clone(plugins.fields),
		field{name: "mapping", fixed: true, about: "id of the mapping that says where the plugin holds"}),
		slices.DeleteFunc(slices.Clone(pluginMappings.fields), func(f field) bool { return f.name == "id" || f.name == "plugins" })...),
}

func (s *shortForm) routes() []admin.Route {
	const path, item = "/apis/{api}/plugins", "/apis/{api}/plugins/{id}"
	doc := describer{tag: "Plugins", one: "plugin and its mapping", schema: both.schema(), needed: []string{"name"}, query: both.query()}
	return []admin.Route{
		route("GET", path, s.list, doc.describeList()),
		route("POST", path, s.create, doc.describeCreate()),
		route("GET", item, s.get, doc.describeGet()),
		route("PATCH", item, func(w http.ResponseWriter, r *http.Request) error { return s.update(w, r, change) },
			doc.describeUpdate("Change what is given of the plugin and its mapping", 200)),
		route("PUT", item, func(w http.ResponseWriter, r *http.Request) error { return s.update(w, r, replace) },
			doc.describeReplace("Replace the plugin and its mapping whole, or make them")),
		route("DELETE", item, s.remove, doc.describeRemove()),
	}
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

func apiOfPath(r *http.Request) (string, error) {
	api := r.PathValue("api")
	if !validAPI(api) {
		return "", admin.NotFound()
	}
	return api, nil
}

func (s *shortForm) create(w http.ResponseWriter, r *http.Request) error {
	given, err := both.read(r)
	if err != nil {
		return err
	}
	var p pair
	err = s.change(w, r, func(t *edit.Txn) (err error) {
		p, err = s.make(t, r, given)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", strings.TrimSuffix(r.URL.EscapedPath(), "/")+"/"+p.plugin.Key.Name)
	return s.answer(w, r, http.StatusCreated, p)
}

// make writes a new plugin and its mapping.
func (s *shortForm) make(t *edit.Txn, r *http.Request, given map[string]any) (p pair, err error) {
	if given["mapping"] != nil {
		return p, admin.Invalid("mapping", "mapping cannot be set")
	}
	ofPlugin, ofMapping := split(given)
	d, err := s.draft(t, &plugins, create, nil, ofPlugin)
	if err != nil {
		return p, err
	}
	if d.ref = r.PathValue("id"); d.ref != "" {
		d.verb = replace
	}
	if p.plugin, err = d.write(); err != nil {
		return p, err
	}
	m, err := s.draft(t, &pluginMappings, create, nil, ofMapping)
	if err != nil {
		return p, err
	}
	if err := withinAPI.set(m, r.PathValue("api")); err != nil {
		return p, err
	}
	m.given["plugins"] = []string{p.plugin.Key.Name}
	if m.given["id"], err = s.freeScope(t, p.plugin, m); err != nil {
		return p, err
	}
	if p.mapping, err = m.write(); err != nil {
		return p, err
	}
	p.plugin, err = t.Get(p.plugin.Key) // now marked as mapped
	return p, err
}

// pairs returns the plugins of an API, oldest mapping first.
func (s *shortForm) pairs(v *viewer, api string) ([]pair, error) {
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
	var pairs []pair
	for _, m := range mappings {
		if apiOf(m) != api {
			continue
		}
		for _, id := range m.Content.(*policy.PluginMapping).Plugins {
			if p := byID[id]; p != nil {
				pairs = append(pairs, pair{m, p})
			}
		}
	}
	return pairs, nil
}

// find returns the plugin that a path names, by its id or its mapping's.
func (s *shortForm) find(t *edit.Txn, r *http.Request) (p pair, err error) {
	api, err := apiOfPath(r)
	if err != nil {
		return p, err
	}
	all, err := s.pairs(s.viewer(r.Context()), api)
	if err != nil {
		return p, err
	}
	ref := r.PathValue("id")
	at := slices.IndexFunc(all, func(p pair) bool { return p.plugin.Key.Name == ref || p.mapping.Key.Name == ref })
	if at < 0 {
		return p, nil
	}
	if p.mapping, err = t.Get(all[at].mapping.Key); err != nil || p.mapping == nil {
		return pair{}, err
	}
	if p.plugin, err = t.Get(all[at].plugin.Key); err != nil || p.plugin == nil {
		return pair{}, err
	}
	return p, nil
}

func (s *shortForm) showPair(v *viewer, p pair) (object, error) {
	shown, err := v.show(&plugins, p.plugin, nil)
	if err != nil {
		return nil, err
	}
	of, err := v.show(&pluginMappings, p.mapping, nil)
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

func (s *shortForm) answer(w http.ResponseWriter, r *http.Request, status int, p pair) error {
	shown, err := s.showPair(s.viewerWithWarnings(r.Context()), p)
	if err == nil {
		answer(w, status, p.plugin, shown)
	}
	return err
}

func (s *shortForm) list(w http.ResponseWriter, r *http.Request) error {
	api, err := apiOfPath(r)
	if err != nil {
		return err
	}
	p, err := readPage(r, &both)
	if err != nil {
		return err
	}
	v := s.viewer(r.Context())
	all, err := s.pairs(v, api)
	if err != nil {
		return err
	}
	if all, err = narrow(p, all, func(one pair) (object, error) { return s.showPair(v, one) }); err != nil {
		return err
	}
	// All plugins of one mapping are on the same page.
	var mappings []*edit.Object
	for _, one := range all {
		if n := len(mappings); n == 0 || mappings[n-1] != one.mapping {
			mappings = append(mappings, one.mapping)
		}
	}
	part, next := p.cut(mappings)
	data := []object{}
	for _, one := range all {
		if !slices.Contains(part, one.mapping) {
			continue
		}
		shown, err := s.showPair(v, one)
		if err != nil {
			return err
		}
		data = append(data, shown)
	}
	writePage(w, r, p, len(all), next, data)
	return nil
}

func (s *shortForm) get(w http.ResponseWriter, r *http.Request) error {
	var p pair
	_, err := s.Policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		p, err = s.find(t, r)
		return err
	})
	if err == nil && p.plugin == nil {
		err = admin.NotFound()
	}
	if err != nil {
		return err
	}
	return s.answer(w, r, http.StatusOK, p)
}

func (s *shortForm) update(w http.ResponseWriter, r *http.Request, v verb) error {
	given, err := both.read(r)
	if err != nil {
		return err
	}
	var p pair
	status := http.StatusOK
	err = s.change(w, r, func(t *edit.Txn) (err error) {
		if p, err = s.find(t, r); err != nil {
			return err
		}
		if err := precondition(r, p.plugin); err != nil {
			return err
		}
		if status = http.StatusOK; p.plugin == nil {
			if v == change {
				return admin.NotFound()
			}
			status = http.StatusCreated
			p, err = s.make(t, r, given)
			return err
		}
		p, err = s.rewrite(t, r, v, p, given)
		return err
	})
	if err != nil {
		return err
	}
	return s.answer(w, r, status, p)
}

// rewrite changes a plugin and its mapping.
func (s *shortForm) rewrite(t *edit.Txn, r *http.Request, v verb, old pair, given map[string]any) (p pair, err error) {
	if id, said := given["mapping"]; said && id != old.mapping.Key.Name {
		return p, admin.Invalid("mapping", "mapping cannot be changed")
	}
	ofPlugin, ofMapping := split(given)
	d, err := s.draft(t, &plugins, v, old.plugin, ofPlugin)
	if err != nil {
		return p, err
	}
	if p.plugin, err = d.write(); err != nil {
		return p, err
	}
	m, err := s.draft(t, &pluginMappings, v, old.mapping, ofMapping)
	if err != nil {
		return p, err
	}
	if err := withinAPI.set(m, r.PathValue("api")); err != nil {
		return p, err
	}
	m.given["plugins"] = old.mapping.Content.(*policy.PluginMapping).Plugins
	if p.mapping, err = m.write(); err != nil {
		return p, err
	}
	p.plugin, err = t.Get(p.plugin.Key)
	return p, err
}

// remove takes the plugin out of the mapping; what nothing refers to any more
// goes with it.
func (s *shortForm) remove(w http.ResponseWriter, r *http.Request) error {
	err := s.change(w, r, func(t *edit.Txn) error {
		p, err := s.find(t, r)
		if err != nil {
			return err
		}
		if err := precondition(r, p.plugin); err != nil {
			return err
		}
		if p.plugin == nil {
			return admin.NotFound()
		}
		return s.drop(t, p)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *shortForm) drop(t *edit.Txn, p pair) error {
	m := *p.mapping.Content.(*policy.PluginMapping)
	id := p.plugin.Key.Name
	if err := t.Current(p.plugin.Key); err != nil {
		return err
	}
	elsewhere := inUse(t, "plugin", id, func(o *edit.Object) []string {
		if o.Key == p.mapping.Key {
			return nil
		}
		return pluginsOf(o)
	}, policy.KindPluginMappings, policy.KindGroups)
	m.Plugins = slices.DeleteFunc(slices.Clone(m.Plugins), func(one string) bool { return one == id })
	var err error
	if len(m.Plugins) > 0 {
		_, err = t.Put(p.mapping.Key, &m)
	} else {
		err = pluginMappings.delete(t, p.mapping)
	}
	if err != nil || elsewhere != nil {
		return err
	}
	return t.Delete(p.plugin.Key)
}
