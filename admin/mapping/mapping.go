// Package mapping is the mapping API /v1: tenants map domains to backends (B1 to
// B19).
//
// A mapping is one object of the policy store, whose key is the domain: so a domain
// belongs to one tenant, also if two ask for it at the same moment (B4).
package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/admin/openapi"
	"lictor/internal/uri"
	"lictor/policy"
)

// Form is a mapping as the API shows and takes it.
type Form struct {
	Domain   string   `json:"domain"`         // in its canonical form
	Backends []string `json:"backends"`       // base URLs; not null
	Held     bool     `json:"held,omitempty"` // in force although the store lost it in a way that is not believed
}

// Page is a part of a tenant's mappings (B6).
type Page struct {
	Project string `json:"project"` // the tenant
	Routes  []Form `json:"routes"`  // in the order of creation
	Total   int    `json:"total"`   // of all pages
	Offset  int    `json:"offset"`  // of the first of Routes
	Limit   int    `json:"limit"`   // most Routes on a page
}

// Limits of a page (B6, B7).
const (
	defaultLimit = 50
	maxLimit     = 1000
)

const maxBody = 1 << 20 // B13

type api struct{ policy *edit.Policy }

// Routes returns the routes of the mapping API. An error is a nil policy.
func Routes(p *edit.Policy) ([]admin.Route, error) {
	if p == nil {
		return nil, errors.New("mapping: a policy is required")
	}
	a := &api{p}
	const all, one = "/v1/{tenant}/mapping", "/v1/{tenant}/mapping/{domain}"
	return []admin.Route{
		a.route("GET", all, a.list, listDoc),
		a.route("PUT", all, a.create, createDoc),
		a.route("GET", one, a.get, getDoc),
		a.route("PUT", one, a.update, updateDoc),
		a.route("POST", one, a.update, updateDoc),
		a.route("DELETE", one, a.remove, removeDoc),
	}, nil
}

func (a *api) route(method, path string, serve func(w http.ResponseWriter, r *http.Request, tenant string) error, doc *openapi.Operation) admin.Route {
	may := admin.Write | admin.Tenant
	if method == http.MethodGet {
		may = admin.Read | admin.Tenant
	}
	return admin.Route{Method: method, Path: path, May: may, MaxBody: maxBody, Doc: doc, Handler: admin.Handle(func(w http.ResponseWriter, r *http.Request) error {
		tenant := r.PathValue("tenant")
		if !validTenant(tenant) {
			return admin.Invalid("", "tenant: want 1 to 256 letters, digits and ._~-")
		}
		return serve(w, r, tenant)
	})}
}

// validTenant reports whether s may be a tenant (B18).
func validTenant(s string) bool {
	return len(s) <= 256 && policy.ValidName("x"+s) && s != ""
}

func keyOf(domain string) policy.Key { return policy.Key{Kind: policy.KindMappings, Name: domain} }

func contentOf(o *edit.Object) *policy.Mapping { return o.Content.(*policy.Mapping) }

// find returns the tenant's mapping that the path names. nil: there is none, or it is
// another tenant's, which must look the same (B5).
func find(t *edit.Txn, r *http.Request, tenant string) (*edit.Object, error) {
	domain, err := uri.ParseDomain(r.PathValue("domain"))
	if err != nil {
		return nil, nil //nolint:nilerr // what is no domain is not mapped
	}
	o, err := t.Get(keyOf(domain))
	if err != nil || o == nil || contentOf(o).Tenant != tenant {
		return nil, err
	}
	return o, nil
}

// answer answers with a mapping.
func answer(w http.ResponseWriter, status int, o *edit.Object) error {
	w.Header().Set("ETag", admin.ETag(o))
	admin.WriteJSON(w, status, formOf(o))
	return nil
}

func formOf(o *edit.Object) Form {
	f := Form{Domain: o.Key.Name, Backends: contentOf(o).Backends, Held: o.Held}
	if f.Backends == nil {
		f.Backends = []string{} // of a value that cannot be read
	}
	return f
}

// create is PUT on the collection: it makes a mapping, or replaces the tenant's own
// (B2-B4).
func (a *api) create(w http.ResponseWriter, r *http.Request, tenant string) error {
	want, err := read(r)
	if err != nil {
		return err
	}
	if err := mayTake(r, want.Domain); err != nil {
		return err
	}
	var made *edit.Object
	status := http.StatusCreated
	err = admin.Change(w, r, a.policy, func(t *edit.Txn) error {
		old, err := t.Get(keyOf(want.Domain))
		if err != nil {
			return err
		}
		status = http.StatusCreated
		if old != nil {
			status = http.StatusOK
			if contentOf(old).Tenant != tenant {
				return taken()
			}
		}
		if err := admin.Precondition(r, old); err != nil {
			return err
		}
		made, err = put(t, want, tenant, old)
		return err
	})
	if err != nil {
		return err
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", "/v1/"+url.PathEscape(tenant)+"/mapping/"+url.PathEscape(want.Domain))
	}
	return answer(w, status, made)
}

// mayTake refuses a domain that the token is not for, whoever has it.
func mayTake(r *http.Request, domain string) error {
	if admin.Takes(r, domain) {
		return nil
	}
	return admin.MayNot(fmt.Sprintf("This token is not for the domain %s", domain), admin.Write)
}

func taken() error { return admin.Taken("", "Domain already in use") }

// put writes a mapping. One that replaces old keeps its place in the order (B8).
func put(t *edit.Txn, want Form, tenant string, old *edit.Object) (*edit.Object, error) {
	var m policy.Mapping
	if old != nil {
		m = *contentOf(old) // what the API does not show stays
		m.Seq = order(old)
	}
	m.Domain, m.Tenant, m.Backends = want.Domain, tenant, want.Backends
	return t.Put(keyOf(want.Domain), &m)
}

// order is the place of a mapping: the store's index of its first version.
func order(o *edit.Object) uint64 { return cmp.Or(contentOf(o).Seq, o.Created) }

// update is PUT and POST on a mapping: it replaces and, if the body has another
// domain, renames it (B9-B11).
func (a *api) update(w http.ResponseWriter, r *http.Request, tenant string) error {
	want, err := read(r)
	if err != nil {
		return err
	}
	if err := mayTake(r, want.Domain); err != nil {
		return err
	}
	var made *edit.Object
	err = admin.Change(w, r, a.policy, func(t *edit.Txn) error {
		old, err := find(t, r, tenant)
		if err != nil {
			return err
		}
		if err := admin.Precondition(r, old); err != nil {
			return err
		}
		if old == nil {
			return admin.NotFound()
		}
		if want.Domain != old.Key.Name {
			if err := mayTake(r, old.Key.Name); err != nil {
				return err
			}
			if err := move(t, old, want.Domain, admin.Holds(r, admin.Write)); err != nil {
				return err
			}
		}
		made, err = put(t, want, tenant, old)
		return err
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, made)
}

// move deletes a mapping that is to have another domain, if that is free (B11). The
// rules of the domain move as well, so that the new name is no way round them, if
// who asks may change rules.
func move(t *edit.Txn, old *edit.Object, domain string, rules bool) error {
	there, err := t.Get(keyOf(domain))
	if err != nil {
		return err
	}
	if there != nil {
		return taken()
	}
	if err := t.Current(old.Key); err != nil { // a rule may have been made elsewhere just now
		return err
	}
	if err := moveRules(t, old.Key.Name, domain, rules); err != nil {
		return err
	}
	return t.Delete(old.Key)
}

func (a *api) get(w http.ResponseWriter, r *http.Request, tenant string) error {
	var o *edit.Object
	_, err := a.policy.Do(r.Context(), func(t *edit.Txn) (err error) {
		o, err = find(t, r, tenant)
		return err
	})
	if err == nil && o == nil {
		err = admin.NotFound()
	}
	if err != nil {
		return err
	}
	if admin.NotModified(w, r, o) {
		return nil
	}
	return answer(w, http.StatusOK, o)
}

func (a *api) remove(w http.ResponseWriter, r *http.Request, tenant string) error {
	err := admin.Change(w, r, a.policy, func(t *edit.Txn) error {
		o, err := find(t, r, tenant)
		if err != nil {
			return err
		}
		if err := admin.Precondition(r, o); err != nil {
			return err
		}
		if o == nil {
			return admin.NotFound()
		}
		if err := mayTake(r, o.Key.Name); err != nil {
			return err
		}
		return t.Delete(o.Key)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (a *api) list(w http.ResponseWriter, r *http.Request, tenant string) error {
	page := Page{Project: tenant, Routes: []Form{}}
	query, err := admin.Query(r, func(name string) bool {
		return name == "offset" || name == "limit" || name == "size" || name == "domain" || name == "held"
	})
	if err != nil {
		return err
	}
	if page.Offset, err = number(query, "offset", 0); err == nil {
		page.Limit, err = number(query, "limit", defaultLimit)
	}
	if err == nil && query.Has("size") {
		page.Limit, err = number(query, "size", defaultLimit)
		if limit := query.Get("limit"); err == nil && limit != "" && limit != query.Get("size") {
			err = errors.New("size is another spelling of limit, and says something else")
		}
	}
	if err != nil {
		return admin.Invalid("", err.Error())
	}
	if page.Limit = min(page.Limit, maxLimit); page.Limit < 1 {
		return admin.Invalid("limit", "limit is 0, want 1 to 1000")
	}
	all, err := a.policy.List(r.Context(), policy.KindMappings)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o *edit.Object) bool { return contentOf(o).Tenant != tenant || !chosen(o, query) })
	slices.SortStableFunc(all, func(a, b *edit.Object) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Key.Name, b.Key.Name))
	})
	page.Total = len(all)
	for _, o := range all[min(page.Offset, len(all)):min(page.Offset+page.Limit, len(all))] {
		page.Routes = append(page.Routes, formOf(o))
	}
	admin.WriteJSON(w, http.StatusOK, page)
	return nil
}

// chosen reports whether a mapping meets the conditions of the query.
func chosen(o *edit.Object, query url.Values) bool {
	if held := query.Get("held"); query.Has("held") && (held == "false") == o.Held {
		return false
	}
	if !query.Has("domain") {
		return true
	}
	domain, err := uri.ParseDomain(query.Get("domain"))
	return err == nil && o.Key.Name == domain
}

// number reads an argument of the query (B7).
func number(query url.Values, name string, otherwise int) (int, error) {
	if !query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(query.Get(name), 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errors.New(name + " is no whole number from 0")
	}
	return int(n), nil
}
