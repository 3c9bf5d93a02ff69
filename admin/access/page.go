package access

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
)

// page says which part of a list is wanted (C34).
type page struct {
	size  int
	after place
}

// place is where an object stands in a list. It stays there, whatever others
// write, so that no page shows it twice and none leaves it out.
type place struct {
	created uint64
	name    string
}

func placeOf(o *edit.Object) place { return place{o.Created, string(o.Key.Kind) + "/" + o.Key.Name} }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.created, other.created), strings.Compare(p.name, other.name))
}

func (p place) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(p.created, 36) + " " + p.name))
}

func parsePlace(s string) (place, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	created, name, ok := strings.Cut(string(text), " ")
	p := place{name: name}
	if err == nil {
		p.created, err = strconv.ParseUint(created, 36, 64)
	}
	if err != nil || !ok {
		return p, admin.Invalid("offset", "offset is not one that a list gave")
	}
	return p, nil
}

const (
	defaultSize = 100
	maxSize     = 1000
)

func readPage(r *http.Request) (page, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return page{}, admin.Invalid("", "Cannot parse the query")
	}
	p := page{size: defaultSize}
	if s := query.Get("size"); s != "" {
		if p.size, err = strconv.Atoi(s); err != nil || p.size < 1 || p.size > maxSize {
			return p, admin.Invalid("size", "size is no number from 1 to 1000")
		}
	}
	if s := query.Get("offset"); s != "" {
		p.after, err = parsePlace(s)
	}
	return p, err
}

// cut returns the objects of the page, and the offset of the next, "" if none.
func (p page) cut(all []*edit.Object) (part []*edit.Object, next string) {
	from := 0
	if p.after != (place{}) {
		at, found := slices.BinarySearchFunc(all, p.after, func(o *edit.Object, after place) int { return placeOf(o).compare(after) })
		from = at
		if found {
			from++
		}
	}
	part = all[from:]
	if len(part) > p.size {
		part = part[:p.size]
		next = placeOf(part[len(part)-1]).String()
	}
	return part, next
}

// writePage answers with a page of a list.
func writePage(w http.ResponseWriter, r *http.Request, p page, total int, next string, data []object) {
	body := object{{"data", data}, {"total", total}, {"next", nil}, {"offset", nil}}
	if next != "" {
		path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
		body[2].value = path + "?offset=" + next + "&size=" + strconv.Itoa(p.size)
		body[3].value = next
	}
	admin.WriteJSON(w, http.StatusOK, body)
}
