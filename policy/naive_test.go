package policy_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
)

// naive is a policy evaluated by walking over everything, the plain reading of
// the requirements. It shares no code with the compiled Set but uri.
type naive struct {
	lists     map[string]*naiveList
	consumers map[string]*policy.Consumer
	keys      map[string]*policy.Credential // by key, not by digest
	groups    map[string]*policy.Group
	filters   map[string]*policy.Filter
	plugins   map[string]*policy.Plugin
	mapped    map[string]*policy.PluginMapping
	acls      map[string]*policy.ACL
	apis      map[string]*policy.API
	domains   map[string]*policy.Mapping
	created   map[string]uint64
	bind      bool
}

// naiveList is a list whose entries are known without reading them.
type naiveList struct {
	*policy.List
	entries []naiveEntry
}

type naiveEntry struct {
	text, method, host, path, service string
	scope                             string // "", ".", "*."
	prefix                            netip.Prefix
	port                              uint16
	saidPort                          bool
}

// naiveVerdict is what both evaluators have to agree on.
type naiveVerdict struct {
	by       policy.RouteBy
	api      string
	reason   policy.Reason
	consumer string
	would    string
	limit    int
	most     int64
	hide     bool
	asks     string // the authorities
	cors     string // what browsers are told; "" = nothing is
	answered bool   // as a preflight
}

func under(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// readings are the canonical path and all others.
func readings(p *uri.Path) []string {
	return append([]string{p.Canonical}, new(uri.ReadingSet).Of(p)...)
}

func hostCovers(host, entry, scope string) bool {
	sub := strings.HasSuffix(host, "."+entry)
	return scope == "" && host == entry || scope == "." && (host == entry || sub) || scope == "*." && sub
}

// naiveMethod reports whether a rule's method is that of a request: whatever
// its case, if the rule denies.
func naiveMethod(rule, method string, denies bool) bool {
	return rule == method || denies && rule == strings.ToUpper(method)
}

// speaks reports whether an entry speaks of a request; paths says whether any
// or all readings have to match.
func (e *naiveEntry) speaks(r *policy.Request, service, path string, allow bool) bool {
	switch {
	case e.method != "" && !naiveMethod(e.method, r.Method, !allow):
		return false
	case e.service != "":
		return e.service == service
	case e.prefix.IsValid():
		return e.port == 0 && e.prefix.Contains(r.Client)
	case e.path != "":
		return under(path, e.path) && (e.host == "" || e.host == r.Host && (!allow || !e.saidPort || e.port == r.Port))
	}
	return hostCovers(r.Host, e.host, e.scope) && (!allow || e.port == 0 || e.port == r.Port)
}

// listed walks over all lists of a kind that guard the gateway.
func (n *naive) listed(allow bool, modes string, r *policy.Request, service string) bool {
	onPath := func(path string) bool {
		for _, l := range n.lists {
			if l.Allow != allow || l.Direction == policy.Egress || !strings.Contains(modes, string(l.Mode)) {
				continue
			}
			for i := range l.entries {
				if l.entries[i].speaks(r, service, path, allow) {
					return true
				}
			}
		}
		return false
	}
	all := readings(r.Path)
	if !allow {
		return slices.ContainsFunc(append(all, n.named(r)...), onPath)
	}
	return !slices.ContainsFunc(all, func(p string) bool { return !onPath(p) })
}

func (n *naive) filterFits(f *policy.Filter, r *policy.Request, how, reading string) bool {
	hosts := len(f.Hosts) == 0
	for _, h := range f.Hosts {
		rest, wild := strings.CutPrefix(h, "*.")
		hosts = hosts || wild && hostCovers(r.Host, rest, "*.") || !wild && r.Host == h
	}
	ips := len(f.IPs) == 0
	for _, ip := range f.IPs {
		ips = ips || netip.MustParsePrefix(ip).Contains(r.Client)
	}
	onPath := func(path string) bool {
		return len(f.Paths) == 0 || slices.ContainsFunc(f.Paths, func(p string) bool { return under(path, p) })
	}
	all := readings(r.Path)
	switch how {
	case "route", "stray":
		all = []string{reading}
	case "restrict":
		all = append(all, n.named(r)...)
	}
	paths := onPath(all[0])
	for _, p := range all[1:] {
		switch how {
		case "grant":
			paths = paths && onPath(p)
		case "restrict":
			paths = paths || onPath(p)
		}
	}
	country := geo[r.Client.String()]
	methods := slices.ContainsFunc(f.Methods, func(m string) bool { return naiveMethod(m, r.Method, how == "restrict" || how == "stray") })
	return hosts && ips && paths && (len(f.Methods) == 0 || methods) &&
		(len(f.Locations) == 0 || slices.Contains(f.Locations, country) || country == policy.CountryUnknown && how == "restrict")
}

// named are the readings of the path behind the service's own segment, where a
// filter or an API chose the service.
func (n *naive) named(r *policy.Request) []string {
	by, api, service := n.route(r)
	rest := r.Path.Canonical
	if service == "" || under(rest, "/"+service) {
		return nil
	}
	if by == policy.BySegment || under(rest, "/"+api) {
		_, rest, _ = strings.Cut(rest[1:], "/")
		rest = "/" + rest
	}
	p, _, err := uri.ParsePath("/"+service+rest, nil)
	if err != nil {
		panic(err)
	}
	return readings(&p)
}

func (n *naive) filtersFit(names []string, r *policy.Request, how string) bool {
	named, hit := 0, false
	for _, name := range names {
		f := n.filters[name]
		switch {
		case f != nil && f.Inline && !n.filterFits(f, r, how, ""):
			return false
		case f == nil || !f.Inline:
			named++
			hit = hit || f == nil && how == "restrict" || f != nil && n.filterFits(f, r, how, "")
		}
	}
	return named == 0 || hit
}

func (n *naive) route(r *policy.Request) (policy.RouteBy, string, string) {
	if n.domains[r.Host] != nil {
		return policy.ByHost, r.Host, ""
	}
	if _, parent, ok := strings.Cut(r.Host, "."); ok && n.domains["*."+parent] != nil {
		return policy.ByHost, "*." + parent, ""
	}
	if api := n.routeByFilter(r, r.Path.Canonical, "route"); api != "" {
		return policy.ByFilter, api, n.apis[api].ServiceName()
	}
	if name := segment(r.Path.Canonical); name != "" {
		service := name
		if a := n.apis[name]; a != nil && len(a.Filters) == 0 {
			service = a.ServiceName()
		}
		return policy.BySegment, name, service
	}
	return policy.ByNothing, "", ""
}

func segment(path string) string {
	name, _, _ := strings.Cut(path[1:], "/")
	if !uri.IsServiceName(name) {
		return ""
	}
	return name
}

func (n *naive) routeByFilter(r *policy.Request, path, how string) string {
	best, bestRank := "", []float64(nil)
	for name, a := range n.apis {
		for _, way := range n.ways(a) {
			fits, rank := n.rank(way, r, path, how)
			rank = append(rank, -float64(n.created["apis/"+name]))
			if fits && (bestRank == nil || slices.Compare(rank, bestRank) > 0) {
				best, bestRank = name, rank
			}
		}
	}
	return best
}

// ways are the filters that have to match together to get to an API.
func (n *naive) ways(a *policy.API) (ways [][]*policy.Filter) {
	var named, inline []*policy.Filter
	for _, f := range a.Filters {
		if x := n.filters[f]; x == nil {
			named = append(named, nil)
		} else if x.Inline {
			inline = append(inline, x)
		} else {
			named = append(named, x)
		}
	}
	if len(a.Filters) == 0 {
		return nil
	}
	if len(named) == 0 {
		named = append(named, &policy.Filter{})
	}
	for _, f := range named {
		if f != nil {
			ways = append(ways, append([]*policy.Filter{f}, inline...))
		}
	}
	return ways
}

// strays reports whether some reading of a request is one for an API that is a
// part of another service, which the request is not as it came.
func (n *naive) strays(r *policy.Request) bool {
	for name, a := range n.apis {
		if a.ServiceName() == name {
			continue
		}
		for _, way := range n.ways(a) {
			all := func(how, path string) bool {
				return !slices.ContainsFunc(way, func(f *policy.Filter) bool { return !n.filterFits(f, r, how, path) })
			}
			paths, as := readings(r.Path), []string{r.Path.Canonical}
			if by, _, _ := n.route(r); by == policy.BySegment {
				if named := n.named(r); named != nil {
					paths, as = append(paths, named...), append(as, named[0])
				}
			}
			for _, path := range paths {
				if all("stray", path) && !slices.ContainsFunc(as, func(p string) bool { return all("route", p) }) {
					return true
				}
			}
		}
	}
	return false
}

// rank is how well filters fit a request: host, path, properties (C30).
func (n *naive) rank(filters []*policy.Filter, r *policy.Request, path, how string) (fits bool, rank []float64) {
	fits, rank = true, []float64{0, -1, 0}
	for _, x := range filters {
		fits = fits && n.filterFits(x, r, how, path)
		for _, h := range x.Hosts {
			if h == r.Host {
				rank[0] = 2
			} else if strings.HasPrefix(h, "*.") && hostCovers(r.Host, h[2:], "*.") {
				rank[0] = math.Max(rank[0], 1)
			}
		}
		for _, p := range x.Paths {
			if under(path, p) {
				rank[1] = math.Max(rank[1], float64(len(strings.TrimSuffix(p, "/"))))
			}
		}
		for _, l := range [][]string{x.Methods, x.Hosts, x.Paths, x.IPs, x.Locations} {
			if len(l) > 0 {
				rank[2]++
			}
		}
	}
	return fits, rank
}

func (n *naive) consumer(ref string) *policy.Consumer {
	for _, c := range n.consumers {
		if c.ID == ref {
			return c
		}
	}
	return n.consumers[ref]
}

// is reports whether a list of references names a consumer.
func (n *naive) is(c *policy.Consumer, list []string) bool {
	return c != nil && slices.ContainsFunc(list, func(ref string) bool { return sameConsumer(n.consumer(ref), c) })
}

// sameConsumer reports whether a consumer is one, be it with the groups of a token.
func sameConsumer(one, c *policy.Consumer) bool { return one != nil && one.Name == c.Name }

func in(c *policy.Consumer, groups []string) bool {
	return c != nil && slices.ContainsFunc(c.Groups, func(g string) bool { return slices.Contains(groups, g) })
}
