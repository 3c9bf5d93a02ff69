package access

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var acls = resourceOf(policy.KindACLs, "ACL", "id", resource{
	fields:       fieldsOf(policy.KindACLs, nil, inlineFields()...),
	derived:      true,
	fill:         (*draft).fillScope,
	guards:       []guard{{fields: []string{"consumers", "groups"}, why: "would admit anybody"}},
	show:         showScope,
	beforeDelete: deleteInlineFilter,
})

var pluginMappings = resourceOf(policy.KindPluginMappings, "PluginMapping", "id", resource{
	fields:       fieldsOf(policy.KindPluginMappings, nil, inlineFields()...),
	derived:      true,
	fill:         fillPluginMapping,
	show:         showScope,
	beforeDelete: deleteInlineFilter,
})

func newID() string { return uuid.NewString() }

// fillScope checks and completes the fields that ACLs and plugin mappings share.
func (d *draft) fillScope() error {
	if d.doc["id"] == nil {
		d.doc["id"] = newID()
	}
	if err := d.checkAPI(); err != nil {
		return err
	}
	if err := d.resolveConsumers(); err != nil {
		return err
	}
	if err := d.ensureGroups(); err != nil {
		return err
	}
	return d.fillFilters()
}

// checkAPI refuses an object without an API, and a change of the API: the former
// one would be open then.
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
	return d.useDomain(api)
}

// useDomain is for a rule that is made for an API. If that is a mapped domain, it has the
// renaming of that domain at the same moment fail, and find the rule when it is tried again:
// the new name would be a way round it.
func (d *draft) useDomain(api string) error {
	if !strings.Contains(api, ".") {
		return nil // no domain is without one
	}
	_, err := d.Use(policy.Key{Kind: policy.KindMappings, Name: api})
	return err
}

// resolveConsumers makes the references to consumers ids. A list that is given as
// it was shown changes nothing, though the document has ids where names are shown.
func (d *draft) resolveConsumers() error {
	before := d.refsBefore("consumers")
	if d.isGiven("consumers") && len(before) > 0 && slices.Equal(d.strings("consumers"), namesOf(d.Consumer, before)) {
		d.doc["consumers"] = before
		return nil
	}
	return d.resolveRefs("consumers", d.consumerID)
}

// consumerID returns the id of the consumer that ref names by id or name (C35).
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
	if err := d.resolveRefs("plugins", d.pluginID); err != nil {
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
	out["consumers"] = v.names(refs(o, policy.KindConsumers))
	return showFilters(v, o, out)
}

// apiOf returns the API of an ACL or a plugin mapping, "" for other kinds.
func apiOf(o *edit.Object) string { return policy.APIOf(o.Content) }
