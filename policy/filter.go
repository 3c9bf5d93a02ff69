package policy

import (
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"lictor/internal/uri"
)

// liveFilter is a filter in force.
type liveFilter struct {
	*Filter
	key       string
	index     uint64
	hosts     map[string]bool // exact ones, and with a leading dot those of "*.x"
	paths     pathSet
	ips       *bart.Lite
	countries map[string]bool
	broken    bool // stands in for one that can not be read: never grants, and else covers what can be read of it
}

// sense says what a filter's match is used for, hence which readings of a path
// count (D22).
type sense uint8

const (
	toGrant    sense = iota // every reading has to match
	toRestrict              // any reading will do
	toRoute                 // one reading
)

func compileFilter(f *Filter, key string, index uint64) *liveFilter {
	l := &liveFilter{Filter: f, key: key, index: index}
	if len(f.Hosts) > 0 {
		l.hosts = make(map[string]bool)
	}
	for _, h := range f.Hosts {
		rest, wild := strings.CutPrefix(h, "*.")
		host, _ := compileHost(rest)
		if wild {
			host = "." + host
		}
		l.hosts[host] = true
	}
	for _, p := range f.Paths {
		keys, _ := pathKeys(p)
		for _, k := range keys {
			l.paths.add(k)
		}
	}
	if len(f.IPs) > 0 {
		l.ips = new(bart.Lite)
	}
	for _, ip := range f.IPs {
		p, _ := parsePrefix(ip)
		l.ips.Insert(p)
	}
	if len(f.Locations) > 0 {
		l.countries = make(map[string]bool)
	}
	for _, c := range f.Locations {
		l.countries[c] = true
	}
	return l
}

// properties counts the lists that say something (C30: more properties win).
func (f *liveFilter) properties() int {
	n := 0
	for _, list := range [...][]string{f.Methods, f.Hosts, f.Paths, f.IPs, f.Locations} {
		if len(list) > 0 {
			n++
		}
	}
	return n
}

// matches reports whether a request fits: OR inside a list, AND between (C25).
func (f *liveFilter) matches(r *Request, as sense) bool {
	return !(f.broken && as == toGrant) && f.matchesRest(r, as) && (!f.hasPaths() || f.matchesPath(r, as)) && f.matchesCountry(r, as)
}

func (f *liveFilter) hasPaths() bool { return f.paths.by != nil }

// routes reports whether a request fits with one reading of its path; as says how
// its method is compared.
func (f *liveFilter) routes(r *Request, path string, as sense) bool {
	return f.matchesRest(r, as) && (!f.hasPaths() || f.pathLength(r, path, as) >= 0) && f.matchesCountry(r, toRoute)
}

// matchesRest compares what is neither path nor country.
func (f *liveFilter) matchesRest(r *Request, as sense) bool {
	return (len(f.Methods) == 0 || f.matchesMethod(r.Method, as)) &&
		(f.hosts == nil || f.hostClass(r.Host) != noHost) &&
		(f.ips == nil || r.Client.IsValid() && f.ips.Contains(r.Client.Unmap().WithZone("")))
}

// matchesCountry compares the country. One that is not known, because the look-up
// failed, may be any.
func (f *liveFilter) matchesCountry(r *Request, as sense) bool {
	if f.countries == nil {
		return true
	}
	country := r.country()
	return f.countries[country] || country == CountryUnknown && as == toRestrict
}

// matchesMethod takes a method as it is to grant, and in any case to restrict,
// for some backends do.
func (f *liveFilter) matchesMethod(method string, as sense) bool {
	return slices.Contains(f.Methods, method) ||
		as == toRestrict && slices.ContainsFunc(f.Methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// hostClass ranks how a filter's hosts cover a request (C30).
type hostClass uint8

const (
	noHost hostClass = iota
	wildcardHost
	exactHost
)

func (f *liveFilter) hostClass(host string) hostClass {
	if f.hosts[host] {
		return exactHost
	}
	for i := 0; i < len(host); i++ {
		if host[i] == '.' && f.hosts[host[i:]] {
			return wildcardHost
		}
	}
	return noHost
}

func (f *liveFilter) matchesPath(r *Request, as sense) bool {
	hit := f.covers(r, r.Path, as)
	if as == toRestrict && !hit {
		named := r.scratch.decision.named()
		return named != nil && f.covers(r, named, as)
	}
	return hit
}

// covers reports whether the filter's paths cover a path, in the readings that count.
func (f *liveFilter) covers(r *Request, p *uri.Path, as sense) bool {
	hit := f.pathLength(r, p.Canonical, as) >= 0
	if hit == (as == toRestrict) || !p.Odd() {
		return hit
	}
	made := &r.scratch.readings
	if p == &r.scratch.namedPath {
		made = &r.scratch.namedReadings
	}
	for _, path := range made.Of(p) {
		if hit = f.pathLength(r, path, as) >= 0; hit == (as == toRestrict) {
			return hit
		}
	}
	return hit
}

// pathLength is the length of the longest of the filter's paths that covers path by
// whole segments, -1 if none does.
func (f *liveFilter) pathLength(r *Request, path string, as sense) int {
	return f.paths.longest(path, as == toRestrict && r.scratch.decision.route.AnyCase)
}

// country asks the locator once a decision.
func (r *Request) country() string {
	if r.Locator == nil || !r.Client.IsValid() {
		return CountryUnknown
	}
	if !r.scratch.asked || r.scratch.client != r.Client {
		r.scratch.country = r.Locator.Country(r.Client.Unmap())
		r.scratch.asked, r.scratch.client = true, r.Client
	}
	return r.scratch.country
}

// ref is the name of another object, hashed when the object that holds it is
// compiled. It is looked up at each decision, so that a changed filter works
// everywhere at once (C27) and a change costs nothing elsewhere.
type ref struct {
	hash uint64
	name string
}

func refs(names []string) []ref {
	list := make([]ref, len(names))
	for i, n := range names {
		list[i] = ref{hashString(n), n}
	}
	return list
}

// filtered reports whether a request fits the filters of a mapping: any of the
// named ones, and all of the inline ones (C27). No filters fit everything. What
// is not known, because it is gone or can not be read, never grants and always
// restricts: it may have covered the request, or have been what narrowed the
// mapping.
func (s *Set) filtered(filters []ref, r *Request, as sense) bool {
	named, hit := false, false
	for _, f := range filters {
		live, ok := s.filters.Get(f.hash, f.name)
		fits := !ok && as == toRestrict || ok && live.matches(r, as)
		switch {
		case as == toGrant && !fits && (!ok && isUUID(f.name) || ok && live.broken):
			return false
		case ok && live.Inline && !live.broken:
			if !fits {
				return false
			}
			continue
		}
		named = true
		hit = hit || fits
	}
	return hit || !named
}

// isUUID reports whether a name was generated.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}
