package ui

import (
	"net/http"
	"strconv"
	"time"

	"lictor/policy/live"
)

// changesPage lists the changes of the policy of late (R6).
type changesPage struct {
	Rows  []changeRow
	Older string // address of the page after it, "" = there is none
}

// changeRow is a change.
type changeRow struct {
	live.Audited
	At, Link, Colour string
}

// perChanges is how many changes a page has.
const perChanges = 50

func (u *UI) changes(w http.ResponseWriter, r *http.Request) error {
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64) // what is no number begins with the newest
	list, more := u.cfg.Changes(perChanges, before)
	var data changesPage
	for _, e := range list {
		row := changeRow{Audited: e, At: e.Time.UTC().Format(time.DateTime), Link: objectPath(e.Key), Colour: "good"}
		if e.Outcome != "in force" {
			row.Colour = "bad"
		}
		data.Rows = append(data.Rows, row)
	}
	if more {
		data.Older = "/ui/changes?before=" + strconv.FormatUint(list[len(list)-1].Seq, 10)
	}
	return u.show(w, r, http.StatusOK, "changes", "/ui/policy", "Changes of the policy", data)
}
