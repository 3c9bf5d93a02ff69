package access

import (
	"net/http"
	"net/url"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
)

// collection serves items at a path, and each of them below it.
type collection struct {
	*Config
	items
	fields *resource // of the bodies and the arguments of lists
}

// items are what a collection holds: objects of one kind ([ofKind]), ACLs and
// plugin mappings together ([anyMapping]), or plugins with their mappings
// ([shortForm]).
type items interface {
	// all returns the items at the path of a request, the oldest first.
	all(v *viewer, r *http.Request) ([]item, error)
	// find returns the item that the path names, the zero item if there is none.
	find(t *edit.Txn, r *http.Request) (item, error)
	// write makes an item, or changes old, as a body says.
	write(t *edit.Txn, r *http.Request, v verb, old item, given map[string]any) (item, error)
	// remove takes an item out, with what goes with it.
	remove(t *edit.Txn, i item) error
	// show returns an item as answers have it.
	show(v *viewer, i item) (object, error)
	// location is the path of an item that a POST at the path of a request made.
	location(r *http.Request, i item) string
}

// item is an object, or in the short form a plugin and a mapping of it. The zero
// item is none.
type item struct {
	*edit.Object
	mapping *edit.Object   // only in the short form
	once    map[string]any // shown in this answer and never again
}

// place is where an item stands in a list: where its mapping does, if it has one.
func (i item) place() place {
	if i.mapping != nil {
		return placeOf(i.mapping)
	}
	return placeOf(i.Object)
}

func (c *collection) list(w http.ResponseWriter, r *http.Request) error {
	p, err := readPage(r, c.fields)
	if err != nil {
		return err
	}
	v := c.viewer(r.Context())
	all, err := c.all(v, r)
	if err != nil {
		return err
	}
	if all, err = c.narrow(v, p, all); err != nil {
		return err
	}
	part, next := p.cut(all)
	data := make([]object, len(part))
	for n, i := range part {
		if data[n], err = c.show(v, i); err != nil {
			return err
		}
	}
	writePage(w, r, p, len(all), next, data)
	return nil
}

// narrow returns the items that meet the filters of a page.
func (c *collection) narrow(v *viewer, p page, all []item) (left []item, err error) {
	if len(p.filters) == 0 {
		return all, nil
	}
	for _, i := range all {
		shown, err := c.show(v, i)
		if err != nil {
			return nil, err
		}
		if p.matches(shown) {
			left = append(left, i)
		}
	}
	return left, nil
}

func (c *collection) get(w http.ResponseWriter, r *http.Request) error {
	var i item
	_, err := c.Policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		i, err = c.find(t, r)
		return err
	})
	if err == nil && i.Object == nil {
		err = admin.NotFound()
	}
	if err != nil {
		return err
	}
	if !c.fields.derived && admin.NotModified(w, r, i.Object) {
		return nil
	}
	return c.answer(w, r, http.StatusOK, i)
}

// answer shows an item, with its ETag.
func (c *collection) answer(w http.ResponseWriter, r *http.Request, status int, i item) error {
	shown, err := c.show(c.viewerWithWarnings(r.Context()), i)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", admin.ETag(i.Object))
	admin.WriteJSON(w, status, shown)
	return nil
}

// save returns what serves a body: POST on the collection creates, PUT on an item
// replaces it or makes it, PATCH changes it.
func (c *collection) save(v verb) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		given, err := c.fields.read(r)
		if err != nil {
			return err
		}
		var old, made item
		err = admin.Change(w, r, c.Policy, func(t *edit.Txn) (err error) {
			if v != create {
				if old, err = c.find(t, r); err == nil {
					err = admin.Precondition(r, old.Object)
				}
				if err != nil {
					return err
				}
			}
			if v == change && old.Object == nil {
				return admin.NotFound()
			}
			made, err = c.write(t, r, v, old, given)
			return err
		})
		if err != nil {
			return err
		}
		if v == create {
			w.Header().Set("Location", c.location(r, made))
		}
		status := http.StatusOK
		if old.Object == nil {
			status = http.StatusCreated
		}
		return c.answer(w, r, status, made)
	}
}

// remove is DELETE on an item.
func (c *collection) remove(w http.ResponseWriter, r *http.Request) error {
	err := admin.Change(w, r, c.Policy, func(t *edit.Txn) error {
		i, err := c.find(t, r)
		if err != nil {
			return err
		}
		if err := admin.Precondition(r, i.Object); err != nil {
			return err
		}
		if i.Object == nil {
			return admin.NotFound()
		}
		return c.items.remove(t, i)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// below is the path of something in the collection at the path of a request.
func below(r *http.Request, name string) string {
	return strings.TrimSuffix(r.URL.EscapedPath(), "/") + "/" + url.PathEscape(name)
}
