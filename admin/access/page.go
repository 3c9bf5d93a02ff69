package access

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"

	"lictor/admin"
	"lictor/admin/edit"
	"lictor/policy"
)

// page is what a list was asked for: how many objects, behind which, and which
// filters they have to meet (C34).
type page struct {
	size    int
	after   place
	filters []filter
}

// filter is the name of a field and the value that it has to have, or to have
// among its elements.
type filter struct{ name, value string }

// matches reports whether an object as it is shown meets the filters.
func (p page) matches(shown object) bool {
	for _, f := range p.filters {
		i := slices.IndexFunc(shown, func(m member) bool { return m.name == f.name })
		switch {
		case i < 0 && f == (filter{"held", "false"}):
		case i < 0 || !holds(shown[i].value, f.value):
			return false
		}
	}
	return true
}

func holds(value any, want string) bool {
	switch value := value.(type) {
	case []string:
		return slices.Contains(value, want)
	case []any:
		return slices.Contains(value, any(want))
	}
	return fmt.Sprint(value) == want
}

// place is the position of an object in a list. It depends on the object alone,
// so that whatever is written between two requests, no page shows it twice and
// none leaves it out.
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

// filterable reports whether a list takes the field as an argument.
func (f *field) filterable() bool { return f != nil && !f.hidden && f.kind != policy.TypeSettings }

// readPage reads the arguments of a list of the resource.
func readPage(r *http.Request, res *resource) (page, error) {
	p := page{size: defaultSize}
	query, err := admin.Query(r, func(name string) bool {
		return name == "size" || name == "limit" || name == "offset" || name == "held" || res.field(name).filterable()
	})
	if err != nil {
		return p, err
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			switch {
			case name == "size" || name == "limit":
				if p.size, err = strconv.Atoi(value); err != nil || p.size < 1 || p.size > maxSize {
					return p, admin.Invalid(name, name+" is no number from 1 to 1000")
				}
			case name == "offset" && value == "":
			case name == "offset":
				if p.after, err = parsePlace(value); err != nil {
					return p, err
				}
			case name == "held" && value == "":
				p.filters = append(p.filters, filter{name, "true"})
			case name == "held" && value != "true" && value != "false":
				return p, admin.Invalid(name, name+" is neither true nor false")
			default:
				p.filters = append(p.filters, filter{name, value})
			}
		}
	}
	if size := query.Get("size"); query.Has("limit") && size != "" && size != query.Get("limit") {
		return p, admin.Invalid("limit", "limit is another spelling of size, and says something else")
	}
	return p, nil
}

// cut returns the items of the page, and the offset of the next, "" if there is
// none. Items of one place stand on one page.
func (p page) cut(all []item) (part []item, next string) {
	from := sort.Search(len(all), func(n int) bool { return all[n].place().compare(p.after) > 0 })
	part = all[from:]
	places := 0
	for n, i := range part {
		if n > 0 && i.place() == part[n-1].place() {
			continue
		}
		if places++; places > p.size {
			return part[:n], part[n-1].place().String()
		}
	}
	return part, ""
}

// writePage answers with a page of a list.
func writePage(w http.ResponseWriter, r *http.Request, p page, total int, next string, data []object) {
	body := object{{"data", data}, {"total", total}, {"next", nil}, {"offset", nil}}
	if next != "" {
		path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
		path += "?offset=" + next + "&size=" + strconv.Itoa(p.size)
		for _, f := range p.filters {
			path += "&" + url.QueryEscape(f.name) + "=" + url.QueryEscape(f.value)
		}
		body[2].value = path
		body[3].value = next
	}
	admin.WriteJSON(w, http.StatusOK, body)
}
