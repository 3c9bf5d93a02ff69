package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lictor/admin/api"
)

// livePage lists requests of late.
type livePage struct {
	Search, Reason string
	Reasons        []string // that occur
	Rows           []liveRow
	More           int
	Missed         uint64
}

// liveRow is a request.
type liveRow struct {
	api.Recent
	Explain, Link, Colour string
}

func (u *UI) live(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	list := u.cfg.Recent()
	data := livePage{Search: strings.TrimSpace(query.Get("q")), Reason: query.Get("reason"), Missed: list.Missed}
	for _, one := range list.Requests {
		if one.Reason != "" && !slices.Contains(data.Reasons, one.Reason) {
			data.Reasons = append(data.Reasons, one.Reason)
		}
		switch {
		case data.Reason != "" && one.Reason != data.Reason || !concerns(&one, data.Search):
		case len(data.Rows) == perPage:
			data.More++
		default:
			data.Rows = append(data.Rows, u.liveRow(one))
		}
	}
	slices.Sort(data.Reasons)
	return u.show(w, r, http.StatusOK, "live", "/ui/live", "Live", data)
}

// concerns reports whether a word occurs in what is told of a request.
func concerns(one *api.Recent, word string) bool {
	return slices.ContainsFunc([]string{one.Path, one.Host, one.Client, one.Consumer, one.Service, one.API, one.ID, one.Rule}, func(text string) bool {
		return strings.Contains(strings.ToLower(text), strings.ToLower(word))
	})
}

func (u *UI) liveRow(one api.Recent) liveRow {
	row := liveRow{Recent: one, Link: objectLink(one.Rule, u.cfg.Prefix), Colour: "bad"}
	if one.Mode != "" || one.Status < http.StatusBadRequest {
		row.Colour = "warn"
	}
	target := one.Path
	if one.Host != "" && strings.HasPrefix(target, "/") {
		target = "http://" + one.Host + target
	}
	row.Explain = "/ui/explain?" + url.Values{"url": {target}, "method": {one.Method}, "from": {one.Client}}.Encode()
	return row
}
