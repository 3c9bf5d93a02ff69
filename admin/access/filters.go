package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var filters = resourceOf(policy.KindFilters, "Filter", "name", resource{
	fields: fieldsOf(policy.KindFilters, nil),
	fill: func(d *draft) error {
		name, _ := d.doc["name"].(string)
		if d.old == nil && looksGenerated(name) {
			return admin.Invalid("name", "name must not look like a generated id")
		}
		d.warnLocations()
		return nil
	},
	beforeDelete: func(t *edit.Txn, o *edit.Object) error {
		return unused(t, o.Key, policy.KindACLs, policy.KindPluginMappings, policy.KindAPIs)
	},
})

// refs returns the names or ids by which an object refers to objects of a kind.
func refs(o *edit.Object, kind policy.Kind) []string { return *policy.References(o.Content, kind) }

// warnLocations logs that a filter with locations matches nothing while there is
// no GeoIP data base (C29).
func (d *draft) warnLocations() {
	if locations, _ := d.given["locations"].([]string); len(locations) > 0 && !d.cfg.Locations {
		d.cfg.Log.Warn("a filter asks for locations, but no geoip database is configured: it matches nothing", "locations", strings.Join(locations, ","))
	}
}

// unused is inUse for a deletion: it also makes the transaction fail if a
// reference to the object is written at the same time.
func unused(t *edit.Txn, key policy.Key, kinds ...policy.Kind) error {
	if err := t.Current(key); err != nil {
		return err
	}
	return inUse(t, key, policy.Key{}, kinds...)
}

// inUse returns a refusal (409) if objects of the kinds refer to the object by
// that name, nil if none does (C35),
// of which one does not count. refs returns the references of an object.
func inUse(t *edit.Txn, key, but policy.Key, kinds ...policy.Kind) error {
	var users []string
	for _, kind := range kinds {
		all, err := t.List(kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Key != but && slices.Contains(refs(o, key.Kind), key.Name) {
				users = append(users, strings.ToLower(policy.TableOf(kind).One)+" "+o.Key.Name)
			}
		}
	}
	if len(users) == 0 {
		return nil
	}
	const most = 20
	if n := len(users); n > most {
		users = append(users[:most], fmt.Sprintf("and %d more", n-most))
	}
	return &admin.Refusal{Status: 409, Reason: "in_use", Message: fmt.Sprintf("%s %s is in use by %s", policy.TableOf(key.Kind).One, key.Name, strings.Join(users, ", "))}
}

// fillFilters sets the filters of an ACL or a mapping: those that it names, and
// the inline filter, which is made of the properties given with it (C27, C28).
func (d *draft) fillFilters() error {
	own, err := d.ownFilter()
	if err != nil {
		return err
	}
	ownName := ""
	if own != nil {
		ownName = own.Key.Name
	}
	err = d.resolveRefs("filters", d.filterBut(ownName))
	if err != nil {
		return err
	}
	named := d.strings("filters")
	kept := d.verb == change || slices.Contains(named, ownName)
	named = slices.DeleteFunc(slices.Clone(named), func(name string) bool { return name == ownName })
	next, err := d.inline(own, kept)
	switch {
	case err != nil:
		return err
	case next != "":
		named = append(named, next)
	case own != nil:
		if err := d.Delete(own.Key); err != nil {
			return err
		}
	}
	d.doc["filters"] = named
	return nil
}

// filterBut returns what checks a reference to a filter, which must not be one that
// was made for an object, but for own.
func (d *draft) filterBut(own string) func(name string) (string, error) {
	return func(name string) (string, error) {
		o, err := d.Use(policy.Key{Kind: policy.KindFilters, Name: name})
		switch {
		case err != nil:
		case o == nil:
			err = missing("filters", "filter", name)
		case o.Content.(*policy.Filter).Inline && name != own:
			err = admin.Invalid("filters", fmt.Sprintf("filter %q was made for another ACL or mapping", name))
		}
		return name, err
	}
}

// ownFilter returns the inline filter of the object, nil if it has none.
func (d *draft) ownFilter() (*edit.Object, error) {
	if d.old == nil {
		return nil, nil
	}
	for _, name := range refs(d.old, policy.KindFilters) {
		o, err := d.Get(policy.Key{Kind: policy.KindFilters, Name: name})
		if err != nil {
			return nil, err
		}
		if o != nil && o.Content.(*policy.Filter).Inline {
			return o, nil
		}
	}
	return nil, nil
}

// inline writes the inline filter and returns its name, "" if it would have no
// property. With kept, properties that are not given stay as they are in own.
func (d *draft) inline(own *edit.Object, kept bool) (string, error) {
	f := policy.Filter{Name: uuid.NewString(), Inline: true}
	if own != nil {
		f.Name = own.Key.Name
		if kept {
			f = *own.Content.(*policy.Filter)
		}
	}
	changed, says := false, false
	for name, to := range propertiesOf(&f) {
		if value, given := d.given[name]; given {
			*to, _ = value.([]string)
			changed = true
		}
		says = says || len(*to) > 0
	}
	if !says {
		return "", nil
	}
	if !changed {
		return f.Name, nil
	}
	d.warnLocations()
	_, err := d.Put(policy.Key{Kind: policy.KindFilters, Name: f.Name}, &f)
	return f.Name, err
}

// propertiesOf returns pointers to the lists of a filter, by field name.
func propertiesOf(f *policy.Filter) map[string]*[]string {
	lists := make(map[string]*[]string)
	for _, row := range policy.TableOf(policy.KindFilters).Fields {
		if list, ok := row.Of(f).(*[]string); ok {
			lists[row.Name] = list
		}
	}
	return lists
}

// showFilters adds the properties of the inline filter to an answer about its ACL
// or mapping.
func showFilters(v *viewer, o *edit.Object, out map[string]any) error {
	for _, name := range refs(o, policy.KindFilters) {
		f, err := v.filter(name)
		if err != nil {
			return err
		}
		if f == nil || !f.Inline {
			continue
		}
		for name, value := range propertiesOf(f) {
			if len(*value) > 0 {
				out[name] = *value
			}
		}
	}
	return nil
}

// deleteInlineFilter deletes the inline filter of an object that is deleted, unless
// another object refers to it.
func deleteInlineFilter(t *edit.Txn, o *edit.Object) error {
	for _, name := range refs(o, policy.KindFilters) {
		f, err := t.Get(policy.Key{Kind: policy.KindFilters, Name: name})
		if err != nil {
			return err
		}
		if f == nil || !f.Content.(*policy.Filter).Inline {
			continue
		}
		shared := inUse(t, f.Key, o.Key, policy.KindACLs, policy.KindPluginMappings, policy.KindAPIs)
		if shared != nil {
			continue
		}
		if err := t.Delete(f.Key); err != nil {
			return err
		}
	}
	return nil
}
