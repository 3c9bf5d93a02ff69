package ui

import (
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"lictor/admin"
)

// functions are those that templates call.
var functions = template.FuncMap{
	"asset": address, "seconds": seconds, "age": age, "count": count, "since": sinceWhen, "ago": ago, "ms": milliseconds, "field": func() string { return admin.FormField },
}

// seconds is a duration in the unit that people would choose.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 0:
		return "-" + seconds(-s)
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// milliseconds is how long something took; "" = nobody knows.
func milliseconds(ms float64) string {
	switch {
	case ms == 0:
		return ""
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', -1, 64) + " s"
}

// age is how old something is; nil = there is none.
func age(s *float64) string {
	if s == nil {
		return "never"
	}
	return seconds(*s)
}

// count is a number of things: "1 service", "2 services".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// perPage is how many rows a page shows.
const perPage = 100

// pager is a place in a long list.
type pager struct {
	Page, Pages, Total  int
	Previous, Following string // addresses; "" = there is none
}

// pageOf cuts the rows for a request out of all, and says where they stand.
func pageOf[T any](r *http.Request, all []T) ([]T, pager) {
	p := pager{Page: 1, Pages: max((len(all)+perPage-1)/perPage, 1), Total: len(all)}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil {
		p.Page = min(max(n, 1), p.Pages)
	}
	if p.Page > 1 {
		p.Previous = p.at(r, p.Page-1)
	}
	if p.Page < p.Pages {
		p.Following = p.at(r, p.Page+1)
	}
	from := (p.Page - 1) * perPage
	return all[from:min(from+perPage, len(all))], p
}

func (p *pager) at(r *http.Request, page int) string {
	query := r.URL.Query()
	query.Set("page", strconv.Itoa(page))
	return r.URL.Path + "?" + query.Encode()
}
