package access

import (
	"slices"

	"lictor/admin/edit"
	"lictor/policy"
)

var groups = resourceOf(policy.KindGroups, "Group", "name", resource{
	fields: fieldsOf(policy.KindGroups, nil,
		field{name: "consumers", after: "name", kind: policy.TypeList, always: true, about: "names of its members; where not given, they stay"},
	),
	derived: true,
	fill:    fillGroup,
	guards: []guard{{fields: []string{"plugins"}, why: "would take its plugins from the APIs that it is mapped to", counts: func(d *draft) (bool, error) {
		return d.mapsGroup(d.old.Key.Name)
	}}},
	show: func(v *viewer, o *edit.Object, out map[string]any) error {
		members, err := v.members(o.Key.Name)
		out["consumers"] = members
		return err
	},
	beforeDelete: func(t *edit.Txn, o *edit.Object) error {
		return unused(t, o.Key, policy.KindConsumers, policy.KindACLs, policy.KindPluginMappings, policy.KindWhitelist)
	},
})

func fillGroup(d *draft) error {
	if err := d.resolveRefs("plugins", d.pluginID); err != nil {
		return err
	}
	name, _ := d.doc["name"].(string)
	if err := d.setMembers(name); err != nil {
		return err
	}
	mapped, err := d.mapsGroup(name)
	if err != nil || !mapped {
		return err
	}
	return d.markMapped(d.strings("plugins"))
}

// setMembers makes the consumers that were given, and no others, members of the
// group.
func (d *draft) setMembers(group string) error {
	if !d.isGiven("consumers") {
		return nil
	}
	key := policy.Key{Kind: policy.KindGroups, Name: group}
	if _, err := d.Use(key); err != nil {
		return err
	}
	if err := d.Current(key); err != nil { // who joined elsewhere just now is to leave, too
		return err
	}
	all, err := d.List(policy.KindConsumers)
	if err != nil {
		return err
	}
	want, err := d.wantedMembers(all)
	if err != nil {
		return err
	}
	for _, o := range all {
		if want[o.Key] || slices.Contains(o.Content.(*policy.Consumer).Groups, group) {
			if err := d.setMember(o.Key, group, want[o.Key]); err != nil {
				return err
			}
			delete(want, o.Key)
		}
	}
	for key := range want { // written after the list was made
		if err := d.setMember(key, group, true); err != nil {
			return err
		}
	}
	return nil
}

// wantedMembers returns the keys of the consumers that were given. all are those
// of the policy in force; few may have been written since then.
func (d *draft) wantedMembers(all []*edit.Object) (map[policy.Key]bool, error) {
	known := make(map[string]policy.Key, 2*len(all))
	for _, o := range all {
		known[o.Content.(*policy.Consumer).ID] = o.Key
	}
	for _, o := range all {
		known[o.Key.Name] = o.Key
	}
	refs, _ := d.given["consumers"].([]string)
	want, fresh := make(map[policy.Key]bool, len(refs)), 0
	for _, ref := range refs {
		if key, ok := known[ref]; ok {
			want[key] = true
			continue
		}
		if fresh++; fresh > maxNewRefs {
			return nil, missing("consumers", "consumer", ref)
		}
		o, err := findConsumer(d.Txn, ref)
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, missing("consumers", "consumer", ref)
		}
		want[o.Key] = true
	}
	return want, nil
}

func (d *draft) setMember(key policy.Key, group string, is bool) error {
	o, err := d.Get(key)
	switch {
	case err != nil:
		return err
	case o == nil && is:
		return missing("consumers", "consumer", key.Name)
	case o == nil:
		return nil
	}
	if err := unreadable(o); err != nil {
		return err
	}
	c := *o.Content.(*policy.Consumer)
	at := slices.Index(c.Groups, group)
	switch {
	case is == (at >= 0):
		return nil
	case is:
		c.Groups = append(slices.Clone(c.Groups), group)
	default:
		c.Groups = slices.Delete(slices.Clone(c.Groups), at, at+1)
	}
	_, err = d.Put(key, &c)
	return err
}

// mapsGroup reports whether a plugin mapping names the group, be it one that was made
// elsewhere just now.
func (d *draft) mapsGroup(name string) (bool, error) {
	if err := d.Current(policy.Key{Kind: policy.KindGroups, Name: name}); err != nil {
		return false, err
	}
	all, err := d.List(policy.KindPluginMappings)
	return slices.ContainsFunc(all, func(o *edit.Object) bool {
		return slices.Contains(o.Content.(*policy.PluginMapping).Groups, name)
	}), err
}
