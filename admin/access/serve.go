package access

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/admin/openapi"
	"lictor/policy"
)

// collection serves a resource at a path: all of its objects, or those within
// something that the path names.
type collection struct {
	*Config
	*resource
	path   string
	within *within // nil: all of them
	tag    string  // the chapter of the description
	schema *openapi.Schema
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
		o, err := findConsumer(d.Txn, ref)
		if err != nil {
			return err
		}
		d.doc["consumer"] = o.Content.(*policy.Consumer).ID
		return nil
	},
}

// writeTime bounds how long a change may take. It goes on if the client leaves.
const writeTime = 25 * time.Second

func writing(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), writeTime)
}

// change runs a transaction for a request. It blocks until the change is in force
// on this node, for at most writeTime.
func (c *Config) change(w http.ResponseWriter, r *http.Request, change func(*edit.Txn) error) error {
	ctx, cancel := writing(r)
	defer cancel()
	result, err := c.Policy.Do(ctx, change)
	if result.Unseen {
		w.Header().Set("Warning", `199 lictor "written, but not yet in force on this node"`)
	}
	return err
}

func everything(*edit.Object) bool { return true }

func (c *collection) enter(t *edit.Txn, r *http.Request) (holds func(*edit.Object) bool, err error) {
	if c.within == nil {
		return everything, nil
	}
	return c.within.enter(t, r.PathValue(c.within.param))
}

// object finds the object of the path, nil if there is none here.
func (c *collection) object(t *edit.Txn, r *http.Request) (*edit.Object, error) {
	holds, err := c.enter(t, r)
	if err != nil {
		return nil, err
	}
	o, err := c.lookup(t, r.PathValue("id"))
	if err != nil || o == nil || !holds(o) {
		return nil, err
	}
	return o, nil
}

func (c *collection) list(w http.ResponseWriter, r *http.Request) error {
	p, err := readPage(r, c.resource)
	if err != nil {
		return err
	}
	var holds func(*edit.Object) bool
	if _, err := c.Policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		holds, err = c.enter(t, r)
		return err
	}); err != nil {
		return err
	}
	v := c.viewer(r.Context())
	all, err := v.objects(c.kind)
	if err != nil {
		return err
	}
	if c.within != nil {
		var here []*edit.Object
		for _, o := range all {
			if holds(o) {
				here = append(here, o)
			}
		}
		all = here
	}
	if all, err = narrow(p, all, func(o *edit.Object) (object, error) { return v.show(c.resource, o, nil) }); err != nil {
		return err
	}
	part, next := p.cut(all)
	data := make([]object, len(part))
	for i, o := range part {
		if data[i], err = v.show(c.resource, o, nil); err != nil {
			return err
		}
	}
	writePage(w, r, p, len(all), next, data)
	return nil
}

func (c *collection) get(w http.ResponseWriter, r *http.Request) error {
	var o *edit.Object
	_, err := c.Policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		o, err = c.object(t, r)
		return err
	})
	if err == nil && o == nil {
		err = admin.NotFound()
	}
	if err != nil {
		return err
	}
	if !c.derived && admin.NotModified(w, r, etag(o.Index)) {
		return nil
	}
	return c.answer(w, r, http.StatusOK, o, nil)
}

func (c *collection) answer(w http.ResponseWriter, r *http.Request, status int, o *edit.Object, once map[string]any) error {
	shown, err := c.viewerWithWarnings(r.Context()).show(c.resource, o, once)
	if err != nil {
		return err
	}
	answer(w, status, o, shown)
	return nil
}

// create is POST on the collection.
func (c *collection) create(w http.ResponseWriter, r *http.Request) error {
	given, err := c.read(r)
	if err != nil {
		return err
	}
	var d *draft
	var o *edit.Object
	err = c.change(w, r, func(t *edit.Txn) (err error) {
		d, o, err = c.write(t, r, create, nil, given)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", c.location(r, o))
	return c.answer(w, r, http.StatusCreated, o, d.once)
}

// location is the path of an object in this collection.
func (c *collection) location(r *http.Request, o *edit.Object) string {
	name := o.Key.Name
	if c.kind == policy.KindCredentials {
		name = keyID(o)
	}
	return strings.TrimSuffix(r.URL.EscapedPath(), "/") + "/" + url.PathEscape(name)
}

func (c *collection) write(t *edit.Txn, r *http.Request, v verb, old *edit.Object, given map[string]any) (*draft, *edit.Object, error) {
	if _, err := c.enter(t, r); err != nil {
		return nil, nil, err
	}
	d, err := c.draft(t, c.resource, v, old, given)
	if err != nil {
		return nil, nil, err
	}
	d.ref = r.PathValue("id")
	if c.within != nil {
		if err := c.within.set(d, r.PathValue(c.within.param)); err != nil {
			return nil, nil, err
		}
	}
	o, err := d.write()
	return d, o, err
}

// put is PUT on an object: made, or replaced whole.
func (c *collection) put(w http.ResponseWriter, r *http.Request) error {
	return c.update(w, r, replace)
}

// patch is PATCH on an object: what is given changes.
func (c *collection) patch(w http.ResponseWriter, r *http.Request) error {
	return c.update(w, r, change)
}

func (c *collection) update(w http.ResponseWriter, r *http.Request, v verb) error {
	given, err := c.read(r)
	if err != nil {
		return err
	}
	var d *draft
	var o *edit.Object
	status := http.StatusOK
	err = c.change(w, r, func(t *edit.Txn) error {
		old, err := c.object(t, r)
		if err != nil {
			return err
		}
		if err := precondition(r, old); err != nil {
			return err
		}
		if status = http.StatusOK; old == nil {
			if status = http.StatusCreated; v == change {
				return admin.NotFound()
			}
		}
		d, o, err = c.write(t, r, v, old, given)
		return err
	})
	if err != nil {
		return err
	}
	return c.answer(w, r, status, o, d.once)
}

// remove is DELETE on an object.
func (c *collection) remove(w http.ResponseWriter, r *http.Request) error {
	err := c.change(w, r, func(t *edit.Txn) error {
		o, err := c.object(t, r)
		if err != nil {
			return err
		}
		if err := precondition(r, o); err != nil {
			return err
		}
		if o == nil {
			return admin.NotFound()
		}
		return c.delete(t, o)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// delete deletes an object, and before it what belongs to it.
func (r *resource) delete(t *edit.Txn, o *edit.Object) error {
	if r.beforeDelete != nil {
		if err := r.beforeDelete(t, o); err != nil {
			return err
		}
	}
	return t.Delete(o.Key)
}

// precondition applies If-Match and If-None-Match (RFC 9110, 13.1) to the
// object of the path, nil if there is none.
func precondition(r *http.Request, o *edit.Object) error {
	tag := ""
	if o != nil {
		tag = etag(o.Index)
	}
	return admin.Precondition(r, tag)
}
