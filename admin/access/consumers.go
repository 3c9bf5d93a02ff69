package access

import (
	"cmp"
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

var consumers = resourceOf(policy.KindConsumers, "Consumer", "name", resource{
	fields: fieldsOf(policy.KindConsumers, nil,
		field{name: "username", after: "name", about: "another spelling of name"},
		field{name: "key", after: "created_at", hidden: true, about: "a key for the consumer, when it is made; empty = generated"},
		field{name: "keys", after: "key", kind: policy.TypeList, hidden: true, about: "several keys, when it is made"},
	),
	find: findConsumer,
	fill: fillConsumer,
	show: func(_ *viewer, o *edit.Object, out map[string]any) error {
		out["username"] = o.Content.(*policy.Consumer).Name
		return nil
	},
	beforeDelete: releaseConsumer,
})

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
	if other := d.givenText("username"); other != "" {
		if name, _ := d.doc["name"].(string); name != "" && d.isGiven("name") && name != other {
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
	if err := d.freeCustomID(); err != nil {
		return err
	}
	if err := d.ensureGroups(); err != nil {
		return err
	}
	return d.writeFirstKeys()
}

// freeCustomID refuses a custom_id that another consumer has: by it a client
// certificate says who somebody is.
func (d *draft) freeCustomID() error {
	id := d.givenText("custom_id")
	if name, _ := d.doc["name"].(string); id == "" || name == "" {
		return nil // the name is asked for first
	}
	all, err := d.List(policy.KindConsumers)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Content.(*policy.Consumer).CustomID == id && (d.old == nil || o.Key != d.old.Key) {
			return admin.Taken("custom_id", fmt.Sprintf("custom_id %s is already in use by the consumer %s", id, o.Key.Name))
		}
	}
	return nil
}

// ensureGroups checks the groups that were given, and makes those that do not
// exist (C2).
func (d *draft) ensureGroups() error {
	return d.resolveRefs("groups", func(group string) (string, error) {
		if !policy.ValidName(group) {
			return "", admin.Invalid("groups", fmt.Sprintf("group %q: a name may have letters, digits and ._~- and no leading dot", group))
		}
		key := policy.Key{Kind: policy.KindGroups, Name: group}
		o, err := d.Use(key)
		if o == nil && err == nil {
			_, err = d.Put(key, &policy.Group{Name: group})
		}
		return group, err
	})
}

// writeFirstKeys writes the keys that were given with a new consumer.
func (d *draft) writeFirstKeys() error {
	keys, _ := d.given["keys"].([]string)
	if d.isGiven("key") {
		key := cmp.Or(d.givenText("key"), newKey())
		d.once["key"] = key
		keys = append([]string{key}, keys...)
	}
	if len(keys) == 0 {
		return nil
	}
	if len(keys) > maxNewRefs {
		return admin.Invalid("keys", fmt.Sprintf("keys are %d, want at most %d at once", len(keys), maxNewRefs))
	}
	if d.old != nil {
		return admin.Invalid("key", "key is taken only when the consumer is made; use key-auth below it")
	}
	if d.isGiven("keys") {
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
	if err := d.freeKey(at); err != nil {
		return nil, err
	}
	return d.Put(at, c)
}

// freeKey refuses a key that is there already.
func (d *draft) freeKey(at policy.Key) error {
	there, err := d.Get(at)
	if err == nil && there != nil {
		err = admin.Taken("key", "key is already in use")
	}
	return err
}

// releaseConsumer runs before a consumer is deleted. It deletes the consumer's
// keys, and replaces references to its name by an id that nobody has: else they
// would mean a later consumer of the same name (C35). Where that is more than
// one transaction holds, it is done in parts, and [edit.ErrPart] asks for the
// next; a client that was interrupted deletes the consumer again.
func releaseConsumer(t *edit.Txn, o *edit.Object) error {
	c := o.Content.(*policy.Consumer)
	if err := t.Current(o.Key); err != nil {
		return err
	}
	refers := refersTo(t, c)
	if err := revokeKeys(t, refers); err != nil {
		return err
	}
	dead := "deleted-" + uuid.NewString()
	return rewrite(t, subjectKinds, func(o *edit.Object) (policy.Object, bool) {
		next, found := policy.Clone(o.Content), false
		list := policy.References(next, policy.KindConsumers)
		*list = slices.Clone(*list)
		for i, ref := range *list {
			if ref == c.Name && refers(ref) {
				(*list)[i], found = dead, true
			}
		}
		*list = slices.Compact(*list)
		return next, found
	})
}

// subjectKinds are the kinds whose objects may name consumers.
var subjectKinds = []policy.Kind{policy.KindACLs, policy.KindPluginMappings, policy.KindWhitelist}

// refersTo returns a function that reports whether a reference is to the
// consumer c: by its id, or by its name unless that is another consumer's id.
func refersTo(t *edit.Txn, c *policy.Consumer) func(ref string) bool {
	first := t.Consumer(c.Name)
	byName := first == nil || first.Name == c.Name
	return func(ref string) bool { return ref == c.ID || ref == c.Name && byName }
}

// revokeKeys deletes the keys of a consumer.
func revokeKeys(t *edit.Txn, refers func(ref string) bool) error {
	keys, err := t.List(policy.KindCredentials)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !refers(k.Content.(*policy.Credential).Consumer) {
			continue
		}
		if err := t.Delete(k.Key); err != nil {
			return err
		}
		if t.Full() {
			return edit.ErrPart
		}
	}
	return nil
}

// rewrite replaces each object of the kinds for which edited returns a new
// content and true. It may return [edit.ErrPart], as releaseConsumer does.
func rewrite(t *edit.Txn, kinds []policy.Kind, edited func(o *edit.Object) (policy.Object, bool)) error {
	for _, kind := range kinds {
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
			next, ok := edited(o)
			if !ok {
				continue
			}
			if _, err := t.Put(o.Key, next); err != nil {
				return err
			}
			if t.Full() {
				return edit.ErrPart
			}
		}
	}
	return nil
}

// digest returns the name of the object of an API key, its SHA-256 in hex: the
// store never holds the key itself (C21).
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
