package policy

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"

	"lictor/internal/uri"
)

// servicePrefix begins a backend, or an entry of a list, that is a service of discovery.
const servicePrefix = "service:"

// CheckBackend returns what is wrong with one of n backends: each is a URL (B13),
// or the only one is service:NAME (K2).
func CheckBackend(s string, n int) error {
	name, ok := strings.CutPrefix(s, servicePrefix)
	switch {
	case !ok:
		_, err := ParseBackend(s)
		return err
	case !uri.IsServiceName(name):
		return fmt.Errorf("%q is no service name", name)
	case n > 1:
		return fmt.Errorf("%q is a service, want it alone", s)
	}
	return nil
}

// serviceIn returns the service that checked backends name, "" if they are URLs.
func serviceIn(backends []string) string {
	if len(backends) != 1 {
		return ""
	}
	name, ok := strings.CutPrefix(backends[0], servicePrefix)
	if !ok {
		return ""
	}
	return name
}

// ServiceName returns the service that requests of the API go to, unless it has
// backends of its own.
func (a *API) ServiceName() string { return cmp.Or(a.Service, serviceIn(a.Backends), a.Name) }

// isPart reports whether an API is a part of another service than the one of its
// name, with rules of its own (K2). One that can not be read may be.
func (a *liveAPI) isPart() bool { return a.closed || a.service != a.Name }

// isPartOf does not mind the case of the name: some resolvers do not (E7).
func (a *liveAPI) isPartOf(service string) bool {
	return a.closed || strings.EqualFold(a.service, service)
}

// Narrow makes a route to a service, under the service's own rules, one of the API
// that is the part of it in which the path lies, if there is such an API: another
// way to the service than its own segment, or another spelling of that, is no way
// round the rules of its parts.
func (s *Set) Narrow(r *Request, t *Route) {
	if s == nil || s.parts == nil || t.Backends != nil || t.API != t.Service {
		return
	}
	best := rank{service: t.Service, as: toRoute}
	best.search(s.parts, r, r.Path.Canonical)
	best.search(s.parts, r, r.asNamed(t).Canonical)
	if e := best.entry; e != nil {
		t.API, t.Protected, t.Rule, t.closed = e.api.Name, e.api.ProtectedHeaders, e.api.rule, e.closed
	}
}

// ownSpelling refuses a request that is, in some reading but not as it is decided
// on, one of an API that is a part of a service: no spelling of it falls through
// to the wider API (K2).
func (d *decision) ownSpelling() bool {
	r := d.req
	if d.set.parts == nil || d.route.By == ByHost || !r.Path.Odd() && !strings.ContainsFunc(r.Method, unicode.IsLower) {
		return true
	}
	as := spelling{set: d.set.parts, req: r, canonical: r.Path}
	if d.route.By != ByFilter {
		as.named = d.named()
	}
	e := as.anyStrays(r.Path, &r.scratch.readings)
	if e == nil && as.named != nil {
		e = as.anyStrays(as.named, &r.scratch.namedReadings)
	}
	if e == nil {
		return true
	}
	return d.deny("other_reading", refusal{Reason: ReasonBadPath, Status: 400, Rule: e.api.rule,
		Message: "The request can be read as one for another API"})
}

// spelling is what a request is decided on as, to compare its other readings with.
type spelling struct {
	set       *routeTable
	req       *Request
	canonical *uri.Path
	named     *uri.Path // the same behind the segment of its service; nil = that is canonical, or does not count
}

// anyStrays returns what strays returns of the readings of a path, and of itself.
func (as *spelling) anyStrays(p *uri.Path, readings *uri.ReadingSet) *routeEntry {
	e := as.strays(p.Canonical)
	for _, path := range readings.Of(p) {
		if e != nil {
			break
		}
		e = as.strays(path)
	}
	return e
}

// strays returns a way into an API that a reading takes and the request, as it is
// decided on, does not; nil if there is none. Some backends take a method in any
// case.
func (as *spelling) strays(reading string) (found *routeEntry) {
	as.set.look(as.req, reading, func(list []*routeEntry) {
		for _, e := range list {
			if found == nil && e.takes(as.req, reading, toRestrict) && !e.takes(as.req, as.canonical.Canonical, toRoute) &&
				(as.named == nil || !e.takes(as.req, as.named.Canonical, toRoute)) {
				found = e
			}
		}
	})
	return found
}
