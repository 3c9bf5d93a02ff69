package policy

import (
	"iter"
	"strings"

	"lictor/internal/uri"
)

// claimed is the route of a request to a host that a service claims: to the whole
// of the service, under its own rules; the zero Route if no service does.
func (s *Set) claimed(r *Request) Route {
	if r.Hosts == nil || r.Host == "" {
		return Route{}
	}
	service, claim := r.Hosts.ClaimOf(r.Host)
	if service == "" || !uri.IsServiceName(service) { // which is what a path may name
		return Route{}
	}
	t := Route{By: ByRegistration, API: service, Service: service, Claim: claim, Rest: r.Path.Canonical}
	s.asAPI(&t)
	s.Narrow(r, &t)
	return t
}

// Maps reports whether a mapping object has a domain, or covers a host, so that
// nobody's claim to it counts.
func (s *Set) Maps(domain string) bool {
	if s == nil {
		return false
	}
	if parent, wild := strings.CutPrefix(domain, "*."); wild {
		_, ok := s.wildcards.Get(hashString(parent), parent)
		return ok
	}
	return s.mapping(domain) != nil
}

// Domains yields the domains of mapping objects that are hosts, no wildcards.
func (s *Set) Domains() iter.Seq[string] {
	return func(yield func(string) bool) {
		if s != nil {
			s.domains.All(func(domain string, m *liveMapping) bool { return m.closed || yield(domain) })
		}
	}
}
