package access

import (
	"slices"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var acls = resourceOf(policy.KindACLs, "ACL", "id", resource{
	fields:  fieldsOf(policy.KindACLs, nil, inlineFields()...),
	derived: true,
	fill:    (*draft).fillScope,
	guards:  []guard{{fields: []string{"consumers", "groups"}, why: "would admit anybody"}},
	show:    showScope,
	gone:    filtersGone,
})

var pluginMappings = resourceOf(policy.KindPluginMappings, "PluginMapping", "id", resource{
	fields:  fieldsOf(policy.KindPluginMappings, nil, inlineFields()...),
	derived: true,
	fill:    fillPluginMapping,
	show:    showScope,
	gone:    filtersGone,
})

func newID() string { return uuid.NewString() }

// fillScope takes what ACLs and plugin mappings have in common.
func (d *draft) fillScope() error {
	if d.doc["id"] == nil {
		d.doc["id"] = newID()
	}
	if err := d.checkAPI(); err != nil {
		return err
	}
	if err := d.referConsumers(); err != nil {
		return err
	}
	if err := d.mentionGroups(); err != nil {
		return err
	}
	return d.fillFilters()
}

// checkAPI wants an API, and the one that it was: an API whose rules go elsewhere
// is open.
func (d *draft) checkAPI() error {
	api, _ := d.doc["api"].(string)
	switch {
	case d.old != nil && d.old.Problems == nil && api != apiOf(d.old):
		return admin.Invalid("api", "api cannot be changed; make another one and delete this one")
	case d.old != nil && api == apiOf(d.old): // by hand also "", which is every API
		return nil
	case api == "":
		return admin.Invalid("api", "api is required")
	case !validAPI(api):
		return admin.Invalid("api", "api may have letters, digits and ._~- and no leading dot, or be *.domain")
	}
	return nil
}

// referConsumers takes references to consumers. The list that was shown is the
// one that there is, whether its document has names or ids.
func (d *draft) referConsumers() error {
	before := d.had("consumers")
	if d.gave("consumers") && len(before) > 0 && slices.Equal(d.strings("consumers"), namesOf(d.Consumer, before)) {
		d.doc["consumers"] = before
		return nil
	}
	return d.refer("consumers", d.consumerID)
}

// consumerID makes a reference to a consumer one by id (C35).
func (d *draft) consumerID(ref string) (string, error) {
	o, err := findConsumer(d.Txn, ref)
	switch {
	case err != nil:
		return "", err
	case o == nil:
		return "", missing("consumers", "consumer", ref)
	}
	c := o.Content.(*policy.Consumer)
	if c.ID == c.Name { // the id would be that of a later consumer as well
		if _, err := d.Use(o.Key); err != nil {
			return "", err
		}
	}
	return c.ID, nil
}

func fillPluginMapping(d *draft) error {
	if err := d.refer("plugins", d.pluginID); err != nil {
		return err
	}
	if err := d.fillScope(); err != nil {
		return err
	}
	ids := d.strings("plugins")
	for _, name := range d.strings("groups") {
		o, err := d.Get(policy.Key{Kind: policy.KindGroups, Name: name})
		if err != nil {
			return err
		}
		if o != nil {
			ids = append(slices.Clone(ids), o.Content.(*policy.Group).Plugins...)
		}
	}
	if len(ids) == 0 {
		return admin.Invalid("plugins", "plugins is missing, want plugins or groups that hold some")
	}
	return d.markMapped(ids)
}

func showScope(v *viewer, o *edit.Object, out map[string]any) error {
	var refs []string
	switch x := o.Content.(type) {
	case *policy.ACL:
		refs = x.Consumers
	case *policy.PluginMapping:
		refs = x.Consumers
	}
	out["consumers"] = v.names(refs)
	return showFilters(v, o, out)
}

// apiOf is the API that an ACL or a mapping belongs to.
func apiOf(o *edit.Object) string {
	switch x := o.Content.(type) {
	case *policy.ACL:
		return x.API
	case *policy.PluginMapping:
		return x.API
	}
	return ""
}
