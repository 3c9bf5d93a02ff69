// Package access is the policy API: consumers, groups, filters, plugins, ACLs,
// mappings, APIs, keys and lists (table C of the requirements).
//
// Every kind of object is one [resource]: the fields of its [policy.Table], and
// hooks for what is not in its document. One engine reads bodies, makes documents of them
// and writes these; what it writes are the documents that operators write by
// hand (contract 3). A request that changes several objects changes all or none.
package access

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/go-hclog"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/admin/form"
	"lictor/policy"
)

// maxBody bounds the body of a request (C32).
const maxBody = 10 << 20

// Config is what the API works with. Policy and Log are required.
type Config struct {
	Policy    *edit.Policy
	Log       hclog.Logger
	Locations bool // there is a GeoIP data base (C29); without it filters with locations match nothing
	// Notes returns warnings about an object that is in force, such as a reference
	// to nothing. Nil: answers have no warnings.
	Notes func(policy.Key, policy.Object) policy.Problems
}

// resource is one kind of object as the API shows it.
type resource struct {
	kind       policy.Kind
	one        string // what messages call an object
	schemaName string // in the API's description
	about      string // for the API's description
	name       string // the field that is the object's name; "" if no field is
	fields     []field
	guards     []guard // see [draft.keepGuards]
	derived    bool    // answers depend on other objects too, so the ETag does not tell whether they changed

	// find returns the object that a path names, nil if there is none; nil = by name.
	find func(t *edit.Txn, ref string) (*edit.Object, error)
	// fill checks what the client gave, completes the document, and writes what
	// belongs to it, such as the keys of a new consumer.
	fill func(d *draft) error
	// show adds the fields of an answer that are not in the document.
	show func(v *viewer, o *edit.Object, out map[string]any) error
	// beforeDelete deletes or changes what belongs to an object that is to be
	// deleted, or refuses the deletion.
	beforeDelete func(t *edit.Txn, o *edit.Object) error
}

// guard names list fields by which an object restricts what passes. An object
// that has an element in any of them must keep one.
type guard struct {
	fields []string
	why    string // what the object would do without, for the message
	// counts reports whether it matters for the object; nil = always.
	counts func(d *draft) (bool, error)
}

func (r *resource) field(name string) *field {
	for i := range r.fields {
		if r.fields[i].name == name {
			return &r.fields[i]
		}
	}
	return nil
}

// read returns the fields of a request's body, with the types that they have. Its
// error tells of all fields that are wrong at once.
func (r *resource) read(req *http.Request) (map[string]any, error) {
	fields, err := form.Read(req)
	if err != nil {
		return nil, badBody(err)
	}
	return r.typed(fields)
}

func badBody(err error) error {
	switch wrong, ok := errors.AsType[*form.Error](err); {
	case ok:
		return admin.Invalid(wrong.Field, err.Error())
	case errors.Is(err, form.ErrMediaType):
		return &admin.Refusal{Status: http.StatusUnsupportedMediaType, Reason: "unsupported_media_type", Message: "Unsupported media type: " + err.Error()}
	case errors.Is(err, form.ErrJSON):
		return admin.Invalid("", "Cannot parse JSON body")
	}
	return err
}

// notes are members of an answer that are no fields of the object. A request may
// have them, as when a client puts back what it was shown; they are ignored.
var notes = map[string]bool{"error": true, "held": true, "warnings": true}

func (r *resource) typed(fields form.Fields) (map[string]any, error) {
	given := make(map[string]any, len(fields))
	wrong := make(map[string]string)
	var texts []string
	for _, name := range fields.Names() {
		if notes[name] {
			continue
		}
		f := r.field(name)
		err := form.Unknown(name)
		if f != nil {
			given[name], err = f.typed(fields[name])
		}
		if err != nil {
			at := name
			if e, ok := errors.AsType[*form.Error](err); ok {
				at = e.Field
				wrong[at] = e.Text
			}
			texts = append(texts, err.Error())
		}
	}
	if len(texts) > 0 {
		return nil, &admin.Refusal{Status: http.StatusBadRequest, Reason: "invalid", Message: strings.Join(texts, "; "), Fields: wrong}
	}
	return given, nil
}

// typed returns a value of a body with the field's type; nil removes the field.
func (f *field) typed(v any) (any, error) {
	if v == nil || f.kind != policy.TypeText && f.kind != policy.TypeList && form.Empty(v) {
		return nil, nil
	}
	switch f.kind {
	case policy.TypeList:
		return form.List(f.name, v)
	case policy.TypeTruth:
		return form.Truth(f.name, v)
	case policy.TypeSettings:
		return form.Object(f.name, v)
	}
	return form.Text(f.name, v)
}

// lookup returns the object that a path names, nil if there is none.
func (r *resource) lookup(t *edit.Txn, ref string) (*edit.Object, error) {
	if r.find != nil {
		return r.find(t, ref)
	}
	return t.Get(policy.Key{Kind: r.kind, Name: ref})
}

// unreadable returns a refusal to change an object whose stored value is not
// valid, nil if it is.
func unreadable(o *edit.Object) error {
	if o == nil || o.Problems == nil {
		return nil
	}
	return admin.Invalid("", fmt.Sprintf("%s as stored is not valid, replace it by PUT or delete it: %s", o.Key, o.Problems.Error()))
}
