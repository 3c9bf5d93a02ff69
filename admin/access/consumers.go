package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

var consumers = resource{
	kind: policy.KindConsumers, one: "consumer", schemaName: "Consumer", name: "name",
	about: "Consumers: who calls, known by a key.",
	fields: []field{
		{name: "id", fixed: true, about: "made by lictor; what other objects refer to"},
		{name: "name", needed: true, about: "also spelled username"},
		{name: "username", apart: true, about: "another spelling of name"},
		{name: "custom_id", about: "your own id, sent to backends as X-Consumer-Custom-ID"},
		{name: "groups", kind: list, always: true, about: "groups the consumer is in; missing ones are made"},
		{name: "created_at", kind: moment, fixed: true, about: "when it was made"},
		{name: "key", hidden: true, apart: true, about: "a key for the consumer, when it is made; empty = generated"},
		{name: "keys", kind: list, hidden: true, apart: true, about: "several keys, when it is made"},
	},
	find: findConsumer,
	fill: fillConsumer,
	show: func(_ *viewer, o *edit.Object, out map[string]any) error {
		out["username"] = o.Content.(*policy.Consumer).Name
		return nil
	},
	gone: consumerGone,
}

// findConsumer finds a consumer by name, else by id.
func findConsumer(t *edit.Txn, ref string) (*edit.Object, error) {
	if o, err := t.Get(policy.Key{Kind: policy.KindConsumers, Name: ref}); o != nil || err != nil {
		return o, err
	}
	known := t.Consumer(ref)
	if known == nil || known.ID != ref {
		return nil, nil
	}
	return t.Get(policy.Key{Kind: policy.KindConsumers, Name: known.Name})
}

func fillConsumer(d *draft) error {
	if other := d.said("username"); other != "" {
		if name, _ := d.doc["name"].(string); name != "" && d.gave("name") && name != other {
			return admin.Invalid("username", "username is another spelling of name, and says something else")
		}
		d.doc["name"] = other
	}
	if d.old == nil {
		// A name that looks like an id could be taken for that of a consumer who is gone (C35).
		if name, _ := d.doc["name"].(string); looksGenerated(name) {
			return admin.Invalid("name", "name must not look like a generated id")
		}
		d.doc["id"] = uuid.NewString()
		d.doc["created_at"] = now()
	}
	if d.gave("groups") {
		d.doc["groups"] = unique(d.strings("groups"))
	}
	for _, name := range d.strings("groups") {
		if err := d.mention(name); err != nil {
			return err
		}
	}
	return d.firstKeys()
}

// mention makes a group that does not exist (C2).
func (d *draft) mention(group string) error {
	key := policy.Key{Kind: policy.KindGroups, Name: group}
	if !policy.ValidName(group) {
		return admin.Invalid("groups", fmt.Sprintf("group %q: a name may have letters, digits and ._~- and no leading dot", group))
	}
	o, err := d.Get(key)
	if o != nil || err != nil {
		return err
	}
	_, err = d.Put(key, &policy.Group{Name: group})
	return err
}

// firstKeys writes the keys that were given with a new consumer.
func (d *draft) firstKeys() error {
	keys, _ := d.given["keys"].([]string)
	if d.gave("key") {
		key := d.said("key")
		if key == "" {
			key = newKey()
		}
		d.once["key"] = key
		keys = append([]string{key}, keys...)
	}
	if len(keys) == 0 {
		return nil
	}
	if d.old != nil {
		return admin.Invalid("key", "key is taken only when the consumer is made; use key-auth below it")
	}
	if d.gave("keys") {
		d.once["keys"] = keys
	}
	owner, _ := d.doc["id"].(string)
	for _, key := range keys {
		if _, err := d.putKey(key, &policy.Credential{Consumer: owner, ID: uuid.NewString(), CreatedAt: time.Now().UTC().Truncate(time.Millisecond)}); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) putKey(key string, c *policy.Credential) (*edit.Object, error) {
	if key == "" {
		return nil, admin.Invalid("key", "key is empty")
	}
	at := policy.Key{Kind: policy.KindCredentials, Name: digest(key)}
	taken, err := d.Get(at)
	if err != nil {
		return nil, err
	}
	if taken != nil {
		return nil, &admin.Refusal{Status: 409, Reason: "already_exists", Message: "key is already in use", Fields: map[string]string{"key": "already exists"}}
	}
	return d.Put(at, c)
}

// keysAtOnce is how many keys go in one transaction, which has its limits.
const keysAtOnce = 50

// consumerGone removes the keys with the consumer. What refers to it by an id
// that is only its name gets a dead id instead, so that it means nobody, also
// not a later consumer of that name (C35).
func consumerGone(t *edit.Txn, o *edit.Object) error {
	c := o.Content.(*policy.Consumer)
	keys, err := t.List(policy.KindCredentials)
	if err != nil {
		return err
	}
	n := 0
	for _, k := range keys {
		if !ownedBy(k, c) {
			continue
		}
		if err := t.Delete(k.Key); err != nil {
			return err
		}
		if n++; n == keysAtOnce {
			return edit.ErrPart // revoked; the rest and the consumer come next
		}
	}
	dead := "deleted-" + uuid.NewString()
	bury := func(refs []string) []string {
		at := slices.Index(refs, c.Name)
		if at < 0 {
			return nil
		}
		refs = slices.Clone(refs)
		refs[at] = dead
		return refs
	}
	return eachScope(t, func(o *edit.Object) (policy.Object, bool) {
		switch x := o.Content.(type) {
		case *policy.ACL:
			clone := *x
			clone.Consumers = bury(x.Consumers)
			return &clone, clone.Consumers != nil
		case *policy.PluginMapping:
			clone := *x
			clone.Consumers = bury(x.Consumers)
			return &clone, clone.Consumers != nil
		}
		return nil, false
	})
}

// eachScope rewrites the ACLs and plugin mappings that edit wants changed.
func eachScope(t *edit.Txn, edited func(o *edit.Object) (policy.Object, bool)) error {
	for _, kind := range []policy.Kind{policy.KindACLs, policy.KindPluginMappings} {
		all, err := t.List(kind)
		if err != nil {
			return err
		}
		for _, listed := range all {
			if _, ok := edited(listed); !ok {
				continue
			}
			o, err := t.Get(listed.Key)
			if err != nil {
				return err
			}
			if o == nil || o.Problems != nil {
				continue
			}
			if next, ok := edited(o); ok {
				if _, err := t.Put(o.Key, next); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// digest is the name of a key's object: the store never holds the key (C21).
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func newKey() string {
	var b [24]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func now() string { return time.Now().UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) }

// looksGenerated reports whether a name is shaped like the ids that lictor makes.
func looksGenerated(name string) bool {
	return len(name) == 36 && uuid.Validate(name) == nil
}
