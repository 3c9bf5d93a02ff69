package ui

import (
	"net/http"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/api"
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
	State, Colour string // in a word, and how it is shown
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
	Name  string
	Known []serviceRow
}

func (u *UI) service(w http.ResponseWriter, r *http.Request) error {
	data := servicePage{Name: r.PathValue("name")}
	all := u.cfg.Status().Services
	for i := range all {
		if all[i].Name == data.Name {
			data.Known = append(data.Known, rowOf(&all[i]))
		}
	}
	if data.Known == nil {
		return admin.NotFound()
	}
	return u.show(w, r, http.StatusOK, "service", "/ui/services", "Service "+data.Name, data)
}
