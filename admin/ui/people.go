package ui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lictor/admin/api"
	"lictor/policy"
)

// consumersPage lists consumers with their keys.
type consumersPage struct {
	Search string
	Rows   []*consumerRow
	Pager  pager
}

// consumerRow is a consumer.
type consumerRow struct {
	Name, Link, Uses string
	CustomID         string
	Groups           []string
	Keys             []keyRow
	MoreKeys         int
}

// keyRow is a key of a consumer. The key itself nobody knows.
type keyRow struct {
	ID, Link      string
	Made, Until   string // "" = it is not known, it has no end
	Used          string // when it was last; "" = nobody knows
	State, Colour string
}

// maxKeys bounds the keys of one consumer that are shown.
const maxKeys = 20

func (u *UI) consumers(w http.ResponseWriter, r *http.Request) error {
	list, err := u.cfg.List(r.Context())
	if err != nil {
		return err
	}
	data := consumersPage{Search: strings.TrimSpace(r.URL.Query().Get("q"))}
	var all []*api.Object
	var keys []*api.Object
	for i := range list.Objects {
		o := &list.Objects[i]
		switch kind, _, _ := strings.Cut(o.Key, "/"); policy.Kind(kind) {
		case policy.KindConsumers:
			if holds(o, data.Search) {
				all = append(all, o)
			}
		case policy.KindCredentials:
			keys = append(keys, o)
		}
	}
	all, data.Pager = pageOf(r, all)
	by := make(map[string]*consumerRow)
	for _, o := range all {
		row := consumerOf(o)
		data.Rows = append(data.Rows, row)
		by[row.Name], by[consumerID(o)] = row, row
	}
	now := time.Now()
	for _, o := range keys {
		c, ok := contentOf(o).(*policy.Credential)
		if !ok || by[c.Consumer] == nil {
			continue
		}
		row := by[c.Consumer]
		if len(row.Keys) == maxKeys {
			row.MoreKeys++
			continue
		}
		key := keyOf(o, c, now)
		if u.cfg.LastUsed != nil {
			key.Used = "not used"
			if at := u.cfg.LastUsed(strings.TrimPrefix(o.Key, string(policy.KindCredentials)+"/")); !at.IsZero() {
				key.Used = "used " + ago(&at)
			}
		}
		row.Keys = append(row.Keys, key)
	}
	return u.show(w, r, http.StatusOK, "consumers", "/ui/consumers", "Consumers", data)
}

func consumerOf(o *api.Object) *consumerRow {
	_, name, _ := strings.Cut(o.Key, "/")
	row := &consumerRow{Name: name, Link: objectPath(o.Key), Uses: "/ui/policy?q=" + url.QueryEscape(name)}
	if c, ok := contentOf(o).(*policy.Consumer); ok {
		row.CustomID, row.Groups = c.CustomID, c.Groups
	}
	return row
}

func keyOf(o *api.Object, c *policy.Credential, now time.Time) keyRow {
	_, name, _ := strings.Cut(o.Key, "/")
	k := keyRow{ID: cmp.Or(c.ID, name[:min(8, len(name))]), Link: objectPath(o.Key), Made: day(c.CreatedAt), Until: day(c.NotAfter), State: "valid", Colour: "good"}
	switch left := c.NotAfter.Sub(now); {
	case o.Error != "":
		k.State, k.Colour = "rejected", "bad"
	case c.NotAfter.IsZero():
	case left <= 0:
		k.State, k.Colour = "expired", "bad"
	case left < 14*24*time.Hour:
		k.State, k.Colour = seconds(left.Seconds())+" left", "warn"
	}
	return k
}

// day is the date of a time; "" of none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// certificatesPage lists what the listeners show.
type certificatesPage struct {
	Rows []certificateRow
	Mesh *api.MeshStatus
}

type certificateRow struct {
	api.Certificate
	Date, Colour string
}

func (u *UI) certificates(w http.ResponseWriter, r *http.Request) error {
	st := u.cfg.Status()
	data := certificatesPage{Mesh: st.Mesh}
	for _, c := range st.Certificates {
		row := certificateRow{Certificate: c, Date: day(c.Expires), Colour: "good"}
		if c.Days < 14 {
			row.Colour = "bad"
		} else if c.Days < 30 {
			row.Colour = "warn"
		}
		data.Rows = append(data.Rows, row)
	}
	slices.SortStableFunc(data.Rows, func(a, b certificateRow) int { return a.Expires.Compare(b.Expires) })
	return u.show(w, r, http.StatusOK, "certificates", "/ui/certificates", "Certificates", data)
}

// egressPage tells of the forward proxy.
type egressPage struct {
	Address string // "" = there is none
	Lists   []listRow
	More    int
	Denied  []legend
}

// listRow is a list that guards the egress.
type listRow struct {
	Key, Link string
	Allow     bool
	Mode      policy.Mode
	Who       []string // consumers and groups; nil = anybody
	Entries   []string // the first of them
	More      int
}

// maxEntries bounds the entries of a list that are shown.
const maxEntries = 20

func (u *UI) egress(w http.ResponseWriter, r *http.Request) error {
	list, err := u.cfg.List(r.Context())
	if err != nil {
		return err
	}
	var data egressPage
	for _, l := range u.cfg.Status().Listeners {
		if l.Name == "egress" {
			data.Address = l.Address
		}
	}
	for i := range list.Objects {
		l, ok := contentOf(&list.Objects[i]).(*policy.List)
		if !ok || l.Direction == policy.Ingress {
			continue
		}
		if len(data.Lists) == perPage {
			data.More++
			continue
		}
		data.Lists = append(data.Lists, listOf(list.Objects[i].Key, l))
	}
	total, names := sum([]step{{Traffic: u.cfg.Traffic()}}, func(s step) map[string]float64 { return s.Egress })
	for _, name := range names {
		data.Denied = append(data.Denied, legend{Name: name, Total: total[name]})
	}
	return u.show(w, r, http.StatusOK, "egress", "/ui/egress", "Egress", data)
}

func listOf(key string, l *policy.List) listRow {
	row := listRow{Key: key, Link: objectPath(key), Allow: l.Allow, Mode: cmp.Or(l.Mode, policy.Enforce), Who: slices.Concat(l.Consumers, l.Groups), Entries: l.Entries}
	if n := len(row.Entries); n > maxEntries {
		row.Entries, row.More = row.Entries[:maxEntries], n-maxEntries
	}
	return row
}
