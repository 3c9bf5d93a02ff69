package ui

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/document"
)

// policyPage lists objects of the policy.
type policyPage struct {
	Search, Kind string
	Kinds        []kindCount
	Bad          []*objectView // rejected and held ones, whatever is searched for
	MoreBad      int
	Rows         []*objectView
	Pager        pager
	Reports      []reportRow // rules in report mode
	MoreReports  int
}

// kindCount is a kind of objects and how many there are.
type kindCount struct {
	Kind  policy.Kind
	Count int
}

// objectView is an object as a list shows it.
type objectView struct {
	*api.Object
	Link, State, Colour string
	Text                string       // of the document, cut
	Hits                *api.RuleHit // what it did; nil: it is no rule, or nobody counts
}

// Bounds of lists on the page of the policy.
const (
	maxBad   = 50
	shownRow = 160 // bytes of a document
)

func (u *UI) policy(w http.ResponseWriter, r *http.Request) error {
	list, err := u.cfg.List(r.Context())
	if err != nil {
		return err
	}
	query := r.URL.Query()
	data := policyPage{Search: strings.TrimSpace(query.Get("q")), Kind: query.Get("kind")}
	words := []string{data.Search}
	counts := make(map[policy.Kind]int)
	for i := range list.Objects {
		o := &list.Objects[i]
		kind, name, _ := strings.Cut(o.Key, "/")
		counts[policy.Kind(kind)]++
		if policy.Kind(kind) == policy.KindConsumers && data.Search != "" && name == data.Search {
			words = append(words, consumerID(o)) // by which others name it
		}
		if o.Error != "" || o.Held {
			data.Bad = append(data.Bad, viewOf(o))
		}
	}
	for _, kind := range policy.Kinds {
		data.Kinds = append(data.Kinds, kindCount{kind, counts[kind]})
	}
	if n := len(data.Bad); n > maxBad {
		data.Bad, data.MoreBad = data.Bad[:maxBad], n-maxBad
	}
	var found []*api.Object
	for i := range list.Objects {
		o := &list.Objects[i]
		if (data.Kind == "" || strings.HasPrefix(o.Key, data.Kind+"/")) && slices.ContainsFunc(words, func(word string) bool { return holds(o, word) }) {
			found = append(found, o)
		}
	}
	found, data.Pager = pageOf(r, found)
	by, reports, more := u.rules()
	data.Reports, data.MoreReports = reports, more
	for _, o := range found {
		row := viewOf(o)
		row.Hits = by[o.Key]
		data.Rows = append(data.Rows, row)
	}
	return u.show(w, r, http.StatusOK, "policy", "/ui/policy", "Policy", data)
}

// holds reports whether a word stands in the key of an object, or in what may be shown
// of its document: who may only read could find a secret by searching for it bit by bit.
func holds(o *api.Object, word string) bool {
	word = strings.ToLower(word)
	return strings.Contains(strings.ToLower(o.Key), word) || strings.Contains(strings.ToLower(shownDocument(o)), word)
}

// consumerID is the id that other objects know a consumer by.
func consumerID(o *api.Object) string {
	_, name, _ := strings.Cut(o.Key, "/")
	if c, ok := contentOf(o).(*policy.Consumer); ok {
		return cmp.Or(c.ID, name)
	}
	return name
}

// contentOf is what can be read of an object; nil if nothing can.
func contentOf(o *api.Object) policy.Object {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok {
		return nil
	}
	content, _ := document.Parse(key, o.Value) // what is wrong with it, Error says
	return content
}

func viewOf(o *api.Object) *objectView {
	v := &objectView{Object: o, Link: objectPath(o.Key), State: "in force", Colour: "good", Text: strings.Join(strings.Fields(shownDocument(o)), " ")}
	switch {
	case o.Error != "":
		v.State, v.Colour = "rejected", "bad"
	case o.Held:
		v.State, v.Colour = "held", "warn"
	}
	if len(v.Text) > shownRow {
		v.Text = strings.ToValidUTF8(v.Text[:shownRow], "") + "..."
	}
	return v
}

// objectPath is the page of an object, by its kind and name.
func objectPath(key string) string {
	kind, name, _ := strings.Cut(key, "/")
	return "/ui/policy/" + kind + "/" + url.PathEscape(name)
}

// objectLink leads to the page of an object of the policy, by its key in the store;
// "" if it is no such key.
func objectLink(key, prefix string) string {
	key, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return ""
	}
	k, ok := policy.ParseKey(key)
	if !ok {
		return ""
	}
	return objectPath(string(k.Kind) + "/" + k.Name)
}

// objectPage is one object of the policy.
type objectPage struct {
	*objectView
	Key      string // kind/name
	Document string
	Notes    []string // what of it does not do what it seems to
	Uses     string   // address of the objects that name it
	Live     string   // address of the requests of late on which it had a say
}

func (u *UI) object(w http.ResponseWriter, r *http.Request) error {
	o, err := u.find(r.Context(), r.PathValue("kind")+"/"+r.PathValue("name"))
	if err != nil {
		return err
	}
	data := objectPage{objectView: viewOf(o), Key: o.Key, Document: laidOut(shownDocument(o))}
	data.Uses = "/ui/policy?" + url.Values{"q": {r.PathValue("name")}}.Encode()
	by, _, _ := u.rules()
	data.Hits = by[o.Key]
	data.Live = "/ui/live?" + url.Values{"q": {o.Key}}.Encode()
	if st := u.cfg.Status(); st.Policy != nil {
		for i := range st.Policy.Notes {
			if n := &st.Policy.Notes[i]; n.Path == u.cfg.Prefix+"policy/"+o.Key {
				data.Notes = append(data.Notes, n.String())
			}
		}
	}
	return u.show(w, r, http.StatusOK, "object", "/ui/policy", o.Key, data)
}

// find returns an object by its kind and name.
func (u *UI) find(ctx context.Context, key string) (*api.Object, error) {
	list, err := u.cfg.List(ctx)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(list.Objects, key, func(o api.Object, key string) int { return strings.Compare(o.Key, key) })
	if !ok {
		return nil, admin.NotFound()
	}
	return &list.Objects[i], nil
}
