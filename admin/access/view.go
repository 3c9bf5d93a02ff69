package access

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// viewer makes the answers of one request. It reads each kind at most once, and
// belongs to one goroutine.
type viewer struct {
	ctx    context.Context
	policy *edit.Policy
	notes  func(policy.Key, policy.Object) policy.Problems // nil: none are shown

	lists   map[policy.Kind][]*edit.Object
	byGroup map[string][]string       // names of the members
	filters map[string]*policy.Filter // by name
	plugins map[string]bool           // that are mapped
}

func (c *Config) viewer(ctx context.Context) *viewer {
	return &viewer{ctx: ctx, policy: c.Policy, lists: make(map[policy.Kind][]*edit.Object)}
}

// viewerWithWarnings returns a viewer whose answers have warnings, for answers
// about one object.
func (c *Config) viewerWithWarnings(ctx context.Context) *viewer {
	v := c.viewer(context.WithoutCancel(ctx))
	v.notes = c.Notes
	return v
}

func (v *viewer) objects(kind policy.Kind) ([]*edit.Object, error) {
	if all, ok := v.lists[kind]; ok {
		return all, nil
	}
	all, err := v.policy.List(v.ctx, kind)
	if err == nil {
		v.lists[kind] = all
	}
	return all, err
}

// members returns the names of the consumers in a group, oldest first.
func (v *viewer) members(group string) ([]string, error) {
	if v.byGroup == nil {
		all, err := v.objects(policy.KindConsumers)
		if err != nil {
			return nil, err
		}
		v.byGroup = make(map[string][]string)
		for _, o := range all {
			c := o.Content.(*policy.Consumer)
			for _, g := range c.Groups {
				v.byGroup[g] = append(v.byGroup[g], o.Key.Name)
			}
		}
	}
	return append([]string{}, v.byGroup[group]...), nil
}

func (v *viewer) names(refs []string) []string { return namesOf(v.policy.Consumer, refs) }

// namesOf returns refs with ids of consumers replaced by names; an id that nobody
// has stays.
func namesOf(consumer func(ref string) *policy.Identity, refs []string) []string {
	names := append([]string{}, refs...)
	for i, ref := range names {
		if c := consumer(ref); c != nil && c.ID == ref {
			names[i] = c.Name
		}
	}
	return names
}

func (v *viewer) filter(name string) (*policy.Filter, error) {
	if v.filters == nil {
		all, err := v.objects(policy.KindFilters)
		if err != nil {
			return nil, err
		}
		v.filters = make(map[string]*policy.Filter)
		for _, o := range all {
			v.filters[o.Key.Name] = o.Content.(*policy.Filter)
		}
	}
	return v.filters[name], nil
}

// mapped reports whether a mapping names a plugin, or a group that holds it.
func (v *viewer) mapped(id string) (bool, error) {
	if v.plugins == nil {
		mappings, err := v.objects(policy.KindPluginMappings)
		if err != nil {
			return false, err
		}
		groups, err := v.objects(policy.KindGroups)
		if err != nil {
			return false, err
		}
		v.plugins = make(map[string]bool)
		for _, o := range mappings {
			m := o.Content.(*policy.PluginMapping)
			for _, id := range m.Plugins {
				v.plugins[id] = true
			}
			for _, g := range groups {
				if slices.Contains(m.Groups, g.Key.Name) {
					for _, id := range refs(g, policy.KindPlugins) {
						v.plugins[id] = true
					}
				}
			}
		}
	}
	return v.plugins[id], nil
}

// member is a field of an answer.
type member struct {
	name  string
	value any
}

// object is an answer whose fields keep their order.
type object []member

// merge adds a field. If there is one of that name and it is a list, its elements
// are added; else the field stays as it is.
func (o object) merge(m member) object {
	for i := range o {
		if o[i].name != m.name {
			continue
		}
		if before, ok := o[i].value.([]string); ok {
			o[i].value = append(before, m.value.([]string)...)
		}
		return o
	}
	return append(o, m)
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// show returns the answer about an object; once has the fields that are shown only
// in the answer to the request that made it.
func (v *viewer) show(r *resource, o *edit.Object, once map[string]any) (object, error) {
	out, err := documentOf(o)
	if err != nil {
		return nil, err
	}
	if r.show != nil {
		if err := r.show(v, o, out); err != nil {
			return nil, err
		}
	}
	if f := r.field(r.name); f != nil && out[r.name] == nil && !f.hidden {
		out[r.name] = o.Key.Name // the value says nothing else, or cannot be read
	}
	var shown object
	for i := range r.fields {
		f := &r.fields[i]
		value, has := out[f.name]
		if once[f.name] != nil {
			value, has = once[f.name], true
		} else if f.hidden {
			continue
		}
		switch {
		case has && value != nil:
			shown = append(shown, member{f.name, value})
		case f.always:
			shown = append(shown, member{f.name, []string{}})
		}
	}
	if o.Problems != nil {
		shown = append(shown, member{"error", o.Problems.Error()})
	}
	if o.Held {
		shown = append(shown, member{"held", true})
	}
	if v.notes != nil && o.Problems == nil {
		if texts := admin.Warnings(v.notes(o.Key, o.Content)); len(texts) > 0 {
			shown = append(shown, member{"warnings", texts})
		}
	}
	return shown, nil
}
