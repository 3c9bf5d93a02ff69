package ui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/policy"
)

// servicesPage lists services.
type servicesPage struct {
	Search string
	Rows   []serviceRow
	Pager  pager
}

// serviceRow is a service in the list.
type serviceRow struct {
	*api.ServiceStatus
	Link          string
	Serving, All  int
	Ejected       int
	InFlight      int
	Slowest       float64 // p99 of the instance that has the longest, in milliseconds; 0 = nothing is known
	State, Colour string  // in a word, and how it is shown
}

func (u *UI) services(w http.ResponseWriter, r *http.Request) error {
	data := servicesPage{Search: strings.TrimSpace(r.URL.Query().Get("q"))}
	all := u.cfg.Status().Services
	if data.Search != "" {
		all = slices.DeleteFunc(all, func(s api.ServiceStatus) bool { return !mentions(&s, data.Search) })
	}
	all, data.Pager = pageOf(r, all)
	for i := range all {
		data.Rows = append(data.Rows, rowOf(&all[i]))
	}
	return u.show(w, r, http.StatusOK, "services", "/ui/services", "Services", data)
}

// mentions reports whether a word occurs in the name of a service, its hosts or its
// instances.
func mentions(s *api.ServiceStatus, word string) bool {
	in := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(word)) }
	return in(s.Name) || slices.ContainsFunc(s.Hosts, in) ||
		slices.ContainsFunc(s.Instances, func(i api.InstanceStatus) bool { return in(i.ID) || in(i.Address) })
}

func rowOf(s *api.ServiceStatus) serviceRow {
	row := serviceRow{ServiceStatus: s, Link: serviceLink(s.Name), All: len(s.Instances)}
	for i := range s.Instances {
		if serves(&s.Instances[i]) {
			row.Serving++
		}
		if s.Instances[i].State == "ejected" {
			row.Ejected++
		}
		row.InFlight += s.Instances[i].InFlight
		row.Slowest = max(row.Slowest, s.Instances[i].P99MS)
	}
	switch {
	case !s.Loaded:
		row.State, row.Colour = "not asked for yet", "dim"
	case !s.Usable:
		row.State, row.Colour = "nobody serves", "bad"
	case row.Serving < row.All:
		row.State, row.Colour = "some instances do not serve", "warn"
	default:
		row.State, row.Colour = "ok", "good"
	}
	return row
}

// servicePage is one service, as each resolver knows it.
type servicePage struct {
	Name   string
	Known  []serviceRow
	Routes []routeRow
	More   int // routes that are not shown
}

// loadPatience is how long a page waits for instances that nobody asked for yet.
const loadPatience = 2 * time.Second

// routeRow is a way by which requests come to a service.
type routeRow struct{ Text, Link, Object string }

func (u *UI) service(w http.ResponseWriter, r *http.Request) error {
	data := servicePage{Name: r.PathValue("name")}
	if u.cfg.Load != nil {
		ctx, cancel := context.WithTimeout(r.Context(), loadPatience)
		u.cfg.Load(ctx, data.Name)
		cancel()
	}
	all := u.cfg.Status().Services
	for i := range all {
		if all[i].Name == data.Name {
			data.Known = append(data.Known, rowOf(&all[i]))
		}
	}
	if data.Known == nil {
		return admin.NotFound()
	}
	list, err := u.cfg.List(r.Context())
	if err != nil {
		return err
	}
	for i := range list.Objects {
		text := routeTo(contentOf(&list.Objects[i]), data.Name)
		switch {
		case text == "":
		case len(data.Routes) == perPage:
			data.More++
		default:
			data.Routes = append(data.Routes, routeRow{text, objectPath(list.Objects[i].Key), list.Objects[i].Key})
		}
	}
	return u.show(w, r, http.StatusOK, "service", "/ui/services", "Service "+data.Name, data)
}

// routeTo says which requests an object sends to a service; "" if it sends none there.
func routeTo(o policy.Object, service string) string {
	switch o := o.(type) {
	case *policy.Mapping:
		if slices.Contains(o.Backends, "service:"+service) {
			return "all of the domain " + o.Domain
		}
	case *policy.API:
		if len(o.Backends) > 0 && !slices.Contains(o.Backends, "service:"+service) || o.ServiceName() != service {
			return ""
		}
		if len(o.Filters) == 0 {
			return "those of the API " + o.Name
		}
		return "what the filters " + strings.Join(o.Filters, ", ") + " match, as the API " + o.Name
	}
	return ""
}

// sinceWhen says how long something has been so, as far as anybody knows.
func sinceWhen(since *time.Time) string {
	if since == nil {
		return ""
	}
	return "for " + seconds(time.Since(*since).Seconds())
}
