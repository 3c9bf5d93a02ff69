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
	gone: func(t *edit.Txn, o *edit.Object) error {
		return unused(t, o, "filter", filtersOf, policy.KindACLs, policy.KindPluginMappings, policy.KindAPIs)
	},
})

func filtersOf(o *edit.Object) []string {
	switch x := o.Content.(type) {
	case *policy.ACL:
		return x.Filters
	case *policy.PluginMapping:
		return x.Filters
	case *policy.API:
		return x.Filters
	}
	return nil
}

// warnLocations says that a filter will match nothing (C29).
func (d *draft) warnLocations() {
	if locations, _ := d.given["locations"].([]string); len(locations) > 0 && !d.cfg.Locations {
		d.cfg.Log.Warn("a filter asks for locations, but no geoip database is configured: it matches nothing", "locations", strings.Join(locations, ","))
	}
}

// unused refuses to let an object go that others of the kinds refer to, also
// since a moment ago.
func unused(t *edit.Txn, o *edit.Object, one string, refs func(*edit.Object) []string, kinds ...policy.Kind) error {
	if err := t.Current(o.Key); err != nil {
		return err
	}
	return inUse(t, one, o.Key.Name, refs, kinds...)
}

// inUse refuses to let an object go while others of the kinds refer to it (C35).
func inUse(t *edit.Txn, one, name string, refs func(*edit.Object) []string, kinds ...policy.Kind) error {
	var users []string
	for _, kind := range kinds {
		all, err := t.List(kind)
		if err != nil {
			return err
		}
		for _, o := range all {
			if slices.Contains(refs(o), name) {
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
	return &admin.Refusal{Status: 409, Reason: "in_use", Message: fmt.Sprintf("%s %s is in use by %s", one, name, strings.Join(users, ", "))}
}

// fillFilters takes the filters of an ACL or a mapping: those named, and the
// one made of the properties given with it (C27, C28).
func (d *draft) fillFilters() error {
	own, err := d.ownFilter()
	if err != nil {
		return err
	}
	ownName := ""
	if own != nil {
		ownName = own.Key.Name
	}
	err = d.refer("filters", func(name string) (string, error) {
		o, err := d.Use(policy.Key{Kind: policy.KindFilters, Name: name})
		switch {
		case err != nil:
			return "", err
		case o == nil:
			return "", missing("filters", "filter", name)
		case o.Content.(*policy.Filter).Inline && name != ownName:
			return "", admin.Invalid("filters", fmt.Sprintf("filter %q was made for another ACL or mapping", name))
		}
		return name, nil
	})
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

// ownFilter returns the filter that was made for the object, nil if none was.
func (d *draft) ownFilter() (*edit.Object, error) {
	if d.old == nil {
		return nil, nil
	}
	for _, name := range filtersOf(d.old) {
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

// inline writes the filter of the properties that were given and returns its
// name; "" if there are none. kept: what is not given stays.
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

// propertiesOf returns the lists of a filter by the names of their fields.
func propertiesOf(f *policy.Filter) map[string]*[]string {
	lists := make(map[string]*[]string)
	for _, row := range policy.TableOf(policy.KindFilters).Fields {
		if list, ok := row.Of(f).(*[]string); ok {
			lists[row.Name] = list
		}
	}
	return lists
}

// showFilters shows the properties of the inline filter where they were given.
func showFilters(v *viewer, o *edit.Object, out map[string]any) error {
	for _, name := range filtersOf(o) {
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

// filtersGone removes the filters that were made for an object that goes.
func filtersGone(t *edit.Txn, o *edit.Object) error {
	for _, name := range filtersOf(o) {
		f, err := t.Get(policy.Key{Kind: policy.KindFilters, Name: name})
		if err != nil {
			return err
		}
		if f == nil || !f.Content.(*policy.Filter).Inline {
			continue
		}
		shared := inUse(t, "filter", name, func(user *edit.Object) []string {
			if user.Key == o.Key {
				return nil
			}
			return filtersOf(user)
		}, policy.KindACLs, policy.KindPluginMappings, policy.KindAPIs)
		if shared != nil {
			continue
		}
		if err := t.Delete(f.Key); err != nil {
			return err
		}
	}
	return nil
}
