package access

import (
	"net/http"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// ofKind are the objects of one kind: all of them, or those within something that
// the path names.
type ofKind struct {
	*Config
	*resource
	within *within // nil: all of them
}

// within narrows a collection to what belongs to one API or one consumer.
type within struct {
	param string // of the path
	// enter returns a function that reports whether an object belongs to value, the
	// API or consumer of the path. It refuses (404) what does not exist.
	enter func(t *edit.Txn, value string) (holds func(*edit.Object) bool, err error)
	// set makes a draft belong to value.
	set func(d *draft, value string) error
}

var withinAPI = &within{
	param: "api",
	enter: func(_ *edit.Txn, api string) (func(*edit.Object) bool, error) {
		if !validAPI(api) {
			return nil, admin.NotFound()
		}
		return func(o *edit.Object) bool { return apiOf(o) == api }, nil
	},
	set: func(d *draft, api string) error {
		if given, said := d.given["api"]; said && given != api {
			return admin.Invalid("api", "api is not the one of the path")
		}
		d.given["api"] = api
		return nil
	},
}

var withinConsumer = &within{
	param: "consumer",
	enter: func(t *edit.Txn, ref string) (func(*edit.Object) bool, error) {
		o, err := findConsumer(t, ref)
		if err == nil && o == nil {
			err = admin.NotFound()
		}
		if err != nil {
			return nil, err
		}
		c := o.Content.(*policy.Consumer)
		return func(o *edit.Object) bool { return ownedBy(o, c) }, nil
	},
	set: func(d *draft, ref string) error {
		id, err := d.consumerID(ref)
		d.doc["consumer"] = id
		return err
	},
}

func everything(*edit.Object) bool { return true }

// enter returns what belongs to the place of the path, which has to exist.
func (k *ofKind) enter(t *edit.Txn, r *http.Request) (holds func(*edit.Object) bool, err error) {
	if k.within == nil {
		return everything, nil
	}
	return k.within.enter(t, r.PathValue(k.within.param))
}

func (k *ofKind) all(v *viewer, r *http.Request) (all []item, err error) {
	var holds func(*edit.Object) bool
	if _, err := k.Policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		holds, err = k.enter(t, r)
		return err
	}); err != nil {
		return nil, err
	}
	objects, err := v.objects(k.kind)
	for _, o := range objects {
		if holds(o) {
			all = append(all, item{Object: o})
		}
	}
	return all, err
}

func (k *ofKind) find(t *edit.Txn, r *http.Request) (item, error) {
	holds, err := k.enter(t, r)
	if err != nil {
		return item{}, err
	}
	o, err := k.lookup(t, r.PathValue("id"))
	if err != nil || o == nil || !holds(o) {
		return item{}, err
	}
	return item{Object: o}, nil
}

func (k *ofKind) write(t *edit.Txn, r *http.Request, v verb, old item, given map[string]any) (item, error) {
	if _, err := k.enter(t, r); err != nil {
		return item{}, err
	}
	d, err := k.draft(t, k.resource, v, old.Object, given)
	if err != nil {
		return item{}, err
	}
	d.ref = r.PathValue("id")
	if k.within != nil {
		if err := k.within.set(d, r.PathValue(k.within.param)); err != nil {
			return item{}, err
		}
	}
	o, err := d.write()
	return item{Object: o, once: d.once}, err
}

func (k *ofKind) remove(t *edit.Txn, i item) error { return k.delete(t, i.Object) }

// delete deletes an object, and before it what belongs to it.
func (r *resource) delete(t *edit.Txn, o *edit.Object) error {
	if r.beforeDelete != nil {
		if err := r.beforeDelete(t, o); err != nil {
			return err
		}
	}
	return t.Delete(o.Key)
}

func (k *ofKind) show(v *viewer, i item) (object, error) { return v.show(k.resource, i.Object, i.once) }

func (k *ofKind) location(r *http.Request, i item) string {
	if k.kind == policy.KindCredentials {
		return below(r, keyID(i.Object))
	}
	return below(r, i.Key.Name)
}
