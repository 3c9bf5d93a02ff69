package access

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// verb is how an object is written.
type verb uint8

const (
	create  verb = iota // POST: it must not exist
	replace             // PUT: made, or replaced whole
	change              // PATCH: what is given, the rest stays
)

// draft is an object that is being written. It lives for one attempt of a
// transaction, on one goroutine.
type draft struct {
	*edit.Txn
	cfg   *Config
	res   *resource
	verb  verb
	ref   string         // PUT: what the path calls the object
	old   *edit.Object   // nil: it is made
	given map[string]any // what the client said, by field; nil takes a field away
	doc   map[string]any // the document, as JSON has it
	name  string         // in the key; "" = the field resource.name of doc
	once  map[string]any // shown in this answer and never again
}

// draft starts a draft of an object of res; old is nil if there is none yet. given
// is copied.
func (c *Config) draft(t *edit.Txn, res *resource, v verb, old *edit.Object, given map[string]any) (*draft, error) {
	d := &draft{Txn: t, cfg: c, res: res, verb: v, old: old, given: maps.Clone(given), doc: map[string]any{}, once: map[string]any{}}
	if old != nil && v == change {
		if err := unreadable(old); err != nil {
			return nil, err
		}
	}
	if old == nil {
		return d, nil
	}
	before, err := documentOf(old)
	if err != nil {
		return nil, err
	}
	if v == change {
		d.doc = before
		return d, nil
	}
	for _, f := range res.fields {
		if value, had := before[f.name]; had && !f.apart && (f.fixed || f.sticky) {
			d.doc[f.name] = value
		}
	}
	return d, nil
}

// documentOf returns the document of an object as JSON decodes it; of one that is
// not valid what could be read of it.
func documentOf(o *edit.Object) (map[string]any, error) {
	data, err := document.JSON(o.Content)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	err = json.Unmarshal(data, &doc)
	return doc, err
}

// write checks the draft, and puts it and the objects that it makes or changes
// into the transaction.
func (d *draft) write() (*edit.Object, error) {
	if err := d.overlay(); err != nil {
		return nil, err
	}
	if d.res.fill != nil {
		if err := d.res.fill(d); err != nil {
			return nil, err
		}
	}
	if err := d.keepGuards(); err != nil {
		return nil, err
	}
	key, err := d.key()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(d.doc)
	if err != nil {
		return nil, err
	}
	content, err := document.Parse(key, data)
	if err != nil {
		return nil, err
	}
	return d.Put(key, content)
}

// keepGuards refuses a change that takes away the last thing by which an object
// restricts anybody, such as the last subject of an ACL: a client that means that
// deletes the object.
func (d *draft) keepGuards() error {
	if d.old == nil || d.old.Problems != nil {
		return nil // what is not in force guards nothing; PUT repairs it
	}
	before, err := documentOf(d.old)
	if err != nil {
		return err
	}
	was := draft{doc: before}
	for _, g := range d.res.guards {
		if !was.anyIn(g.fields) || d.anyIn(g.fields) {
			continue
		}
		counts := true
		if g.counts != nil {
			if counts, err = g.counts(d); err != nil {
				return err
			}
		}
		if counts {
			return admin.Invalid(g.fields[0], fmt.Sprintf("without %s the %s %s; delete it to mean that", strings.Join(g.fields, " and "), d.res.one, g.why))
		}
	}
	return nil
}

// anyIn reports whether any of these lists of the document has an element.
func (d *draft) anyIn(fields []string) bool {
	return slices.ContainsFunc(fields, func(name string) bool { return len(d.strings(name)) > 0 })
}

// overlay sets the fields of the document that the client gave.
func (d *draft) overlay() error {
	for i := range d.res.fields {
		f := &d.res.fields[i]
		value, given := d.given[f.name]
		switch {
		case !given || f.apart:
		case f.fixed:
			if !sameText(value, d.doc[f.name]) {
				return admin.Invalid(f.name, f.name+" cannot be set")
			}
		case value == nil || f.kind == policy.TypeText && value == "" && !f.needed:
			delete(d.doc, f.name)
		default:
			d.doc[f.name] = value
		}
	}
	// A name that is not given is the one there is, or the path's.
	if f := d.res.field(d.res.name); f != nil && !f.apart && d.doc[f.name] == nil {
		if d.old != nil {
			d.doc[f.name] = d.old.Key.Name
		} else if d.ref != "" {
			d.doc[f.name] = d.ref
		}
	}
	return nil
}

// sameText reports whether the value given for a fixed field is the one that it
// has, as when a client puts back what it was shown.
func sameText(given, have any) bool {
	if have == nil {
		return given == nil || given == "" || given == false
	}
	return fmt.Sprint(given) == fmt.Sprint(have)
}

// key returns the key of the object. It refuses a name that is not valid, that is
// taken, or that is not the one that the object has.
func (d *draft) key() (policy.Key, error) {
	key := policy.Key{Kind: d.res.kind, Name: d.name}
	if key.Name == "" {
		key.Name, _ = d.doc[d.res.name].(string)
	}
	switch {
	case d.old != nil && key.Name == "":
		key.Name = d.old.Key.Name
	case d.old != nil && key.Name != d.old.Key.Name:
		return key, admin.Invalid(d.res.name, d.res.name+" cannot be changed")
	case d.old == nil && d.ref != "" && key.Name == "":
		key.Name = d.ref
	case d.old == nil && d.ref != "" && key.Name != d.ref && d.res.find == nil:
		return key, admin.Invalid(d.res.name, d.res.name+" is not the one of the path")
	}
	if key.Name == "" {
		return key, admin.Invalid(d.res.name, d.res.name+" is required")
	}
	if d.old != nil {
		return key, nil
	}
	if !policy.ValidName(key.Name) && d.res.kind != policy.KindAPIs {
		return key, admin.Invalid(d.res.name, d.res.name+" may have letters, digits and ._~- and no leading dot")
	}
	taken, err := d.Get(key)
	if err == nil && taken != nil {
		err = admin.Taken(d.res.name, fmt.Sprintf("%s %s already exists", d.res.one, key.Name))
	}
	return key, err
}

// strings returns a list field of the document, nil if it has none.
func (d *draft) strings(name string) []string {
	switch v := d.doc[name].(type) {
	case []string:
		return v
	case []any:
		all := make([]string, 0, len(v))
		for _, one := range v {
			s, _ := one.(string)
			all = append(all, s)
		}
		return all
	}
	return nil
}

// givenText returns a text field that the client gave, "" if it did not.
func (d *draft) givenText(name string) string {
	s, _ := d.given[name].(string)
	return s
}

// isGiven reports whether the client gave a field, null included.
func (d *draft) isGiven(name string) bool {
	_, given := d.given[name]
	return given
}

// refsBefore returns the references that a field had before. They stay valid,
// even if what they refer to was deleted since (C35).
func (d *draft) refsBefore(name string) []string {
	if d.old == nil {
		return nil
	}
	before, err := documentOf(d.old)
	if err != nil {
		return nil
	}
	was := draft{doc: before}
	return was.strings(name)
}

// resolveRefs replaces each reference that is new in a field by what resolve
// returns for it, and drops those that are there twice.
func (d *draft) resolveRefs(name string, resolve func(ref string) (string, error)) error {
	if !d.isGiven(name) {
		return nil
	}
	given, before := d.strings(name), setOf(d.refsBefore(name))
	// Each new reference costs an operation of the transaction.
	if n := len(setOf(given)) - len(before); n > maxNewRefs {
		return admin.Invalid(name, fmt.Sprintf("%s has %d more objects than before, want at most %d more at once", name, n, maxNewRefs))
	}
	refs, seen := []string{}, make(map[string]bool, len(given))
	for _, ref := range given {
		if !before[ref] {
			var err error
			if ref, err = resolve(ref); err != nil {
				return err
			}
		}
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	d.doc[name] = refs
	return nil
}

// maxNewRefs bounds how many references a request may add to an object, since
// each costs an operation of the transaction.
const maxNewRefs = store.MaxOps

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// missing returns the refusal of a reference to an object that does not exist.
func missing(field, one, ref string) error {
	return admin.Invalid(field, fmt.Sprintf("%s %q does not exist", one, ref))
}
