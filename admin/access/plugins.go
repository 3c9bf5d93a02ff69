package access

import (
	"maps"
	"slices"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/admin/form"
	"lictor/policy"
)

var plugins = resourceOf(policy.KindPlugins, "Plugin", "id", resource{
	fields:  fieldsOf(policy.KindPlugins, []string{"config"}),
	derived: true,
	fill:    fillPlugin,
	show:    showPlugin,
	beforeDelete: func(t *edit.Txn, o *edit.Object) error {
		return unused(t, o.Key, policy.KindPluginMappings, policy.KindGroups)
	},
})

// pluginSettings are the settings of all plugins, in every spelling. Their types
// are for forms, in which everything is text, and for the description.
var pluginSettings = allSettings()

// setting is a setting of a plugin in one of its spellings.
type setting struct {
	field
	other string // its other spelling, "" if it has none
}

func allSettings() (all []setting) {
	for _, table := range policy.PluginTables() {
		for i := range table.Fields {
			row := &table.Fields[i]
			f := fromTable(row)
			f.about = "of " + table.Plugin + ": " + row.Doc
			if i := slices.IndexFunc(all, func(s setting) bool { return s.name == f.name }); i >= 0 {
				all[i].about += "; " + f.about // with the same type: a test holds it
				continue
			}
			all = append(all, setting{f, row.Alias})
			if row.Alias != "" {
				f.name, f.about = row.Alias, "another spelling of "+row.Name
				all = append(all, setting{f, row.Name})
			}
		}
	}
	return all
}

// settingOf returns a setting by its name. What is not known is a text, which
// the plugin refuses.
func settingOf(name string) setting {
	if i := slices.IndexFunc(pluginSettings, func(s setting) bool { return s.name == name }); i >= 0 {
		return pluginSettings[i]
	}
	return setting{}
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
		// While it is mapped it would not hold everywhere; it would all of a sudden once the mapping is deleted.
		return unused(d.Txn, d.old.Key, policy.KindPluginMappings)
	}
	return nil
}

// fillConfig sets the plugin's config: PATCH changes the settings that are given,
// anything else replaces them all.
func (d *draft) fillConfig() error {
	given, ok := d.given["config"].(form.Fields)
	if !ok {
		if d.isGiven("config") {
			delete(d.doc, "config")
		}
		return nil
	}
	config := map[string]any{}
	if before, ok := d.doc["config"].(map[string]any); ok && d.verb == change {
		config = maps.Clone(before)
	}
	for name, value := range given {
		known := settingOf(name)
		v, err := typedSetting("config."+name, known.kind, value)
		switch {
		case err != nil:
			return badBody(err)
		case v == nil:
			delete(config, name)
		default:
			config[name] = v
		}
		// The former value may be stored under the other spelling.
		if _, both := given[known.other]; !both {
			delete(config, known.other)
		}
	}
	d.doc["config"] = config
	return nil
}

func typedSetting(field string, kind policy.Type, value any) (any, error) {
	if value == nil || form.Empty(value) {
		return nil, nil
	}
	if _, nested := value.(form.Fields); nested {
		return form.Plain(value), nil
	}
	switch kind {
	case policy.TypeList:
		return form.List(field, value)
	case policy.TypeTruth:
		return form.Truth(field, value)
	case policy.TypeWhole:
		return form.Whole(field, value)
	}
	return form.Plain(value), nil
}

func showPlugin(v *viewer, o *edit.Object, out map[string]any) error {
	p := o.Content.(*policy.Plugin)
	mapped, err := v.mapped(p.ID)
	out["global"] = !mapped && (p.Global == nil || *p.Global)
	out["enabled"] = p.Enabled == nil || *p.Enabled
	if p.Config == nil {
		out["config"] = map[string]any{}
	} else {
		out["config"] = p.Shown()
	}
	return err
}

// pluginID returns the id of a plugin that a reference names, or refuses it.
func (d *draft) pluginID(ref string) (string, error) {
	o, err := d.Use(policy.Key{Kind: policy.KindPlugins, Name: ref})
	if err == nil && o == nil {
		err = missing("plugins", "plugin", ref)
	}
	return ref, err
}

// markMapped writes "global": false into plugins: one that was mapped once never
// holds everywhere again (C12).
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
