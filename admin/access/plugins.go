package access

import (
	"maps"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/admin/form"
	"lictor/policy"
)

var plugins = resource{
	kind: policy.KindPlugins, one: "plugin", schemaName: "Plugin", name: "id",
	about: "Configurations of plugins. One that was never mapped holds everywhere; from its first mapping on only where it is mapped.",
	fields: []field{
		{name: "id", about: "yours, or made by lictor"},
		{name: "name", needed: true, enum: []string{"key-auth", "rate-limiting"}, about: "the type of the plugin"},
		{name: "config", kind: settings, apart: true, about: "its settings, also spelled config.second=10"},
		{name: "enabled", kind: truth, about: "false: as if it were not there"},
		{name: "global", kind: truth, sticky: true, about: "it holds everywhere; false from its first mapping on"},
		{name: "mode", enum: []string{"enforce", "report"}, about: "report: only logged and counted"},
	},
	derived: true,
	fill:    fillPlugin,
	show:    showPlugin,
	gone: func(t *edit.Txn, o *edit.Object) error {
		return unused(t, o, "plugin", pluginsOf, policy.KindPluginMappings, policy.KindGroups)
	},
}

// pluginSettings are the settings of all plugins. Their types are for forms, in
// which everything is text, and for the description.
var pluginSettings = settingsOf(
	field{name: "key_names", kind: list, about: "of key-auth: headers and arguments of the query that may hold the key; apikey if it is not given"},
	field{name: "keynames", kind: list, about: "another spelling of key_names"},
	field{name: "hide_credentials", kind: truth, about: "of key-auth: the key is not passed on"},
	field{name: "scope", enum: []string{"node", "split"}, about: "of rate-limiting: each lictor counts for itself, or they share the limit"},
)

var periods = []string{"second", "minute", "hour", "day", "month", "year"}

// settingsOf adds the limits of every period, in both spellings.
func settingsOf(others ...field) []field {
	for _, period := range periods {
		others = append(others,
			field{name: period, kind: number, about: "of rate-limiting: requests per " + period},
			field{name: period + "s", kind: number, about: "another spelling of " + period})
	}
	return others
}

// setting returns the type of a setting; one that is not known is text.
func setting(name string) fieldKind {
	for _, f := range pluginSettings {
		if f.name == name {
			return f.kind
		}
	}
	return text
}

func pluginsOf(o *edit.Object) []string {
	switch x := o.Content.(type) {
	case *policy.PluginMapping:
		return x.Plugins
	case *policy.Group:
		return x.Plugins
	}
	return nil
}

func fillPlugin(d *draft) error {
	if d.doc["id"] == nil {
		d.doc["id"] = newID()
	}
	if name, _ := d.doc["name"].(string); name == "" {
		return admin.Invalid("name", "name is required")
	}
	if err := d.fillConfig(); err != nil {
		return err
	}
	if global, _ := d.given["global"].(bool); global && d.old != nil {
		// It could not hold everywhere while it is mapped, and would all of a sudden when it is no more.
		return unused(d.Txn, d.old, "plugin", pluginsOf, policy.KindPluginMappings)
	}
	return nil
}

// fillConfig puts the settings given over those there are, or in their place.
func (d *draft) fillConfig() error {
	given, ok := d.given["config"].(form.Fields)
	if !ok {
		if d.gave("config") {
			delete(d.doc, "config")
		}
		return nil
	}
	config := map[string]any{}
	if before, ok := d.doc["config"].(map[string]any); ok && d.verb == change {
		config = maps.Clone(before)
	}
	for name, value := range given {
		v, err := settingOf("config."+name, setting(name), value)
		switch {
		case err != nil:
			return badBody(err)
		case v == nil:
			delete(config, name)
		default:
			config[name] = v
		}
		// A setting takes the place of what it was called otherwise before.
		if other := otherSpelling(name); other != "" {
			if _, both := given[other]; !both {
				delete(config, other)
			}
		}
	}
	d.doc["config"] = config
	return nil
}

func settingOf(field string, kind fieldKind, value any) (any, error) {
	if value == nil || form.Empty(value) {
		return nil, nil
	}
	if _, nested := value.(form.Fields); nested {
		return form.Plain(value), nil
	}
	switch kind {
	case list:
		return form.List(field, value)
	case truth:
		return form.Truth(field, value)
	case number:
		return form.Whole(field, value)
	}
	return form.Plain(value), nil
}

// otherSpelling is the other name of a setting, "" if it has none.
func otherSpelling(name string) string {
	switch singular := strings.TrimSuffix(name, "s"); {
	case name == "keynames":
		return "key_names"
	case name == "key_names":
		return "keynames"
	case !isPeriod(name):
		return ""
	case singular == name:
		return name + "s"
	default:
		return singular
	}
}

func isPeriod(name string) bool { return slices.Contains(periods, strings.TrimSuffix(name, "s")) }

func showPlugin(v *viewer, o *edit.Object, out map[string]any) error {
	p := o.Content.(*policy.Plugin)
	mapped, err := v.mapped(p.ID)
	out["global"] = !mapped && (p.Global == nil || *p.Global)
	out["enabled"] = p.Enabled == nil || *p.Enabled
	if p.Config == nil {
		out["config"] = map[string]any{}
	} else {
		out["config"] = p.Config
	}
	return err
}

// pluginID checks a reference to a plugin.
func (d *draft) pluginID(ref string) (string, error) {
	o, err := d.Use(policy.Key{Kind: policy.KindPlugins, Name: ref})
	if err == nil && o == nil {
		err = missing("plugins", "plugin", ref)
	}
	return ref, err
}

// markMapped notes that plugins are no longer global, for good (C12).
func (d *draft) markMapped(ids []string) error {
	for _, id := range ids {
		o, err := d.Get(policy.Key{Kind: policy.KindPlugins, Name: id})
		if err != nil {
			return err
		}
		if o == nil || o.Problems != nil {
			continue
		}
		p := *o.Content.(*policy.Plugin)
		if p.Global != nil && !*p.Global {
			continue
		}
		p.Global = new(bool)
		if _, err := d.Put(o.Key, &p); err != nil {
			return err
		}
	}
	return nil
}
