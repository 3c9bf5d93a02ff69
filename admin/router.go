package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lictor/admin/openapi"
)

// Route is one method at one path.
type Route struct {
	Method  string // one of GET serves HEAD as well
	Path    string // "/consumers/{consumer}/key-auth": the handler reads r.PathValue("consumer")
	Open    bool   // it needs no token
	May     Right  // any of which a token must have; 0 = only one that may all
	MaxBody int64  // bytes that the body of a request may have; 0 = 1 MiB
	Handler http.HandlerFunc
	Doc     *openapi.Operation // for the OpenAPI document; nil = it is left out there

	// Page shows a person that a request is refused. A route that has it is a page:
	// people are let in by their session instead of the token ([VisitOf]), and the
	// forms of such pages are taken. nil = it is for programs.
	Page func(w http.ResponseWriter, r *http.Request, why *Refusal)
}

// router finds the route of a request. A slash at the end of a path makes no
// difference, a literal segment wins over a {name}, and HEAD goes where GET does.
//
// net/http's ServeMux is not used: it answers in plain text and redirects.
type router struct {
	routes []parsedRoute
}

type parsedRoute struct {
	Route
	segments []string
}

// match is what router.find found: a route, or the methods that there are at the
// path, or neither.
type match struct {
	route  *Route
	values map[string]string // of the {name}s
	allow  string
}

// page reports whether a page for people was found.
func (m match) page() bool { return m.route != nil && m.route.Page != nil }

func newRouter(routes []Route) router {
	var rt router
	for _, r := range routes {
		rt.routes = append(rt.routes, parsedRoute{Route: r, segments: segments(r.Path)})
	}
	// The more specific pattern comes first, so that the first match is the best.
	slices.SortStableFunc(rt.routes, func(a, b parsedRoute) int {
		return slices.CompareFunc(a.segments, b.segments, func(x, y string) int {
			return rank(x) - rank(y)
		})
	})
	return rt
}

func segments(path string) []string {
	return strings.Split(strings.Trim(path, "/"), "/")
}

func isName(segment string) bool { return strings.HasPrefix(segment, "{") }

func rank(segment string) int {
	if isName(segment) {
		return 1
	}
	return 0
}

func (rt *router) find(r *http.Request) match {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return match{}
		}
		parts[i] = plain
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allow []string
	for i := range rt.routes {
		route := &rt.routes[i]
		values, ok := route.match(parts)
		if !ok {
			continue
		}
		if route.Method == method {
			return match{route: &route.Route, values: values}
		}
		allow = append(allow, route.Method)
		if route.Method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return match{allow: strings.Join(slices.Compact(allow), ", ")}
}

func (r *parsedRoute) match(parts []string) (map[string]string, bool) {
	if len(parts) != len(r.segments) {
		return nil, false
	}
	var values map[string]string
	for i, segment := range r.segments {
		switch {
		case isName(segment) && parts[i] != "":
			if values == nil {
				values = make(map[string]string)
			}
			values[strings.Trim(segment, "{}")] = parts[i]
		case segment != parts[i]:
			return nil, false
		}
	}
	return values, true
}
