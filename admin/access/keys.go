package access

import (
	"cmp"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var keys = resourceOf(policy.KindCredentials, "Key", "key", resource{
	fields: fieldsOf(policy.KindCredentials, []string{"id", "consumer_id"},
		field{name: "key", after: "id", hidden: true, about: "the key; empty = generated. Shown once"},
	),
	find: findKey,
	fill: fillKey,
	show: func(v *viewer, o *edit.Object, out map[string]any) error {
		c := o.Content.(*policy.Credential)
		out["id"] = keyID(o)
		out["consumer_id"] = c.Consumer
		return nil
	},
})

// keyID returns the id by which the API shows a key: its id, or its SHA-256 if the
// document has none.
func keyID(o *edit.Object) string {
	return cmp.Or(o.Content.(*policy.Credential).ID, o.Key.Name)
}

// findKey finds a key by its id, or by its SHA-256.
func findKey(t *edit.Txn, ref string) (*edit.Object, error) {
	if o, err := t.Get(policy.Key{Kind: policy.KindCredentials, Name: ref}); o != nil || err != nil {
		return o, err
	}
	all, err := t.List(policy.KindCredentials)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if keyID(o) == ref {
			return t.Get(o.Key)
		}
	}
	return nil, nil
}

func fillKey(d *draft) error {
	if id := d.givenText("id"); id != "" && (d.old != nil && id != keyID(d.old) || d.old == nil && id != d.ref) {
		return admin.Invalid("id", "id cannot be set")
	}
	if d.old != nil {
		d.name = d.old.Key.Name
		d.doc["id"] = keyID(d.old)
		d.doc["consumer"] = d.old.Content.(*policy.Credential).Consumer
		if key := d.givenText("key"); key != "" && digest(key) != d.name {
			return admin.Invalid("key", "key cannot be changed; make another one and delete this one")
		}
		return nil
	}
	key := cmp.Or(d.givenText("key"), newKey())
	d.name = digest(key)
	d.once["key"] = key
	d.doc["id"] = cmp.Or(d.ref, uuid.NewString())
	d.doc["created_at"] = now()
	return d.freeKey(policy.Key{Kind: policy.KindCredentials, Name: d.name})
}

// ownedBy reports whether a key belongs to a consumer.
func ownedBy(o *edit.Object, c *policy.Consumer) bool {
	owner := o.Content.(*policy.Credential).Consumer
	return owner == c.ID || owner == c.Name
}
