package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// PluginTable describes the configuration of one plugin type: its settings,
// which documents and the admin API have under "config".
type PluginTable struct {
	Plugin string // what [Plugin.Name] says
	Fields []Field
}

// Choices returns the settings that can be given together, one list for each
// choice between some that cannot: first without those that stand in for others.
func (t *PluginTable) Choices() [][]Field {
	var first, second []Field
	left := make(map[string]bool)
	for _, f := range t.Fields {
		left[f.Instead] = true
	}
	for _, f := range t.Fields {
		if f.Instead == "" {
			first = append(first, f)
		}
		if !left[f.Name] {
			second = append(second, f)
		}
	}
	if len(first) == len(t.Fields) {
		return [][]Field{first}
	}
	return [][]Field{first, second}
}

// PluginTables returns the tables of all plugin types.
func PluginTables() []PluginTable {
	all := make([]PluginTable, len(pluginTypes))
	for i, t := range pluginTypes {
		all[i] = PluginTable{Plugin: t.name(), Fields: t.settings()}
	}
	return all
}

func pluginNames() []string {
	names := make([]string, len(pluginTypes))
	for i, t := range pluginTypes {
		names[i] = t.name()
	}
	return names
}

// values are the settings of a configuration that are good, by their name in
// the table: a string, []string, bool or int64.
type values map[string]any

func (v values) text(name string) string   { s, _ := v[name].(string); return s }
func (v values) truth(name string) bool    { b, _ := v[name].(bool); return b }
func (v values) whole(name string) int64   { n, _ := v[name].(int64); return n }
func (v values) list(name string) []string { l, _ := v[name].([]string); return l }

// readSettings reads a configuration by a table of settings, and tells what is
// wrong with it.
func readSettings(table []Field, config map[string]any, wrong wrongFunc) values {
	good := make(values, len(config))
	spelled := make(map[string]string, len(config)) // how each setting was given
	for _, name := range slices.Sorted(maps.Keys(config)) {
		i := slices.IndexFunc(table, func(f Field) bool { return f.Name == name || f.Alias == name })
		if i < 0 {
			wrong("config."+name, "is an unknown field")
			continue
		}
		f := &table[i]
		if other := spelled[f.Name]; other != "" {
			wrong("config."+name, "is the same as %s, want one of them", other)
			continue
		}
		spelled[f.Name] = name
		switch value, want := f.setting(config[name]); {
		case want == "":
			good[f.Name] = value
		case f.Secret:
			wrong("config."+name, "is something else, want %s", want)
		default:
			wrong("config."+name, "is %v, want %s", config[name], want)
		}
	}
	for i := range table {
		if f := &table[i]; f.Needed && spelled[f.Name] == "" {
			wrong("config."+f.Name, "is missing")
		}
	}
	return good
}

// setting reads the value of a setting as a decoder made it, or returns what is
// wanted instead.
func (f *Field) setting(v any) (value any, want string) {
	ok := false
	switch f.Type {
	case TypeList:
		value, ok = stringList(v)
		want = "a list of strings"
	case TypeTruth:
		value, ok = v.(bool)
		want = "true or false"
	case TypeWhole:
		n, is := integer(v)
		value, ok = n, is && n >= f.Least && (f.Most == 0 || n <= f.Most)
		want = fmt.Sprintf("a whole number above %d", f.Least-1)
	default:
		s, is := v.(string)
		value, ok = s, is && (f.Enum == nil || slices.Contains(f.Enum, s))
		if want = "a string"; f.Enum != nil {
			want = alternatives(f.Enum)
		}
	}
	if ok {
		return value, ""
	}
	return nil, want
}

func stringList(v any) ([]string, bool) {
	if list, ok := v.([]string); ok {
		return list, true
	}
	list, ok := v.([]any)
	var names []string
	for _, one := range list {
		s, isString := one.(string)
		ok = ok && isString
		names = append(names, s)
	}
	return names, ok
}

// integer takes the kinds of number that decoders make.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) <= maxLimit
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	}
	return 0, false
}

// settingAt is where an element of a setting that is a list stands.
func settingAt(setting string, i int) string { return fmt.Sprintf("config.%s[%d]", setting, i) }

// HiddenSecret stands for a secret.
const HiddenSecret = "[secret]"

// Shown returns the configuration as it may be shown: without secrets. It is
// Config itself if there are none.
func (p *Plugin) Shown() map[string]any {
	t := pluginTypeOf(p.Name)
	if t < 0 {
		return p.Config
	}
	shown := p.Config
	for _, f := range pluginTypes[t].settings() {
		for _, name := range []string{f.Name, f.Alias} {
			if f.Secret && p.Config[name] != nil {
				shown = maps.Clone(shown)
				if shown[name] = HiddenSecret; f.Type == TypeList {
					shown[name] = []string{HiddenSecret}
				}
			}
		}
	}
	return shown
}

// SecretSettings are the names of the settings of any plugin that hold secrets.
func SecretSettings() (names []string) {
	for _, t := range pluginTypes {
		for _, f := range t.settings() {
			if f.Secret {
				names = append(names, f.Name)
			}
			if f.Secret && f.Alias != "" {
				names = append(names, f.Alias)
			}
		}
	}
	return names
}

// Secrets returns the secrets of the configuration, whatever its type is. ok is false
// if one is no text, so that nobody can tell what stands there.
func (p *Plugin) Secrets() (secrets []string, ok bool) {
	for _, name := range SecretSettings() {
		if p.Config[name] == nil {
			continue
		}
		list, ok := stringList(p.Config[name])
		if text, isText := p.Config[name].(string); isText {
			list, ok = []string{text}, true
		}
		if !ok {
			return nil, false
		}
		secrets = append(secrets, list...)
	}
	return secrets, true
}
