package impact

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
)

// The dimensions in which a road is cut.
const (
	dimPath = iota
	dimSubject
	dimMethod
	dimHost
	dimAddress
	dimCountry
	dimPort
	dims
)

// cell is a class: an index into each dimension of its road.
type cell [dims]int32

// cut is a road in its classes.
type cut struct {
	road      *road
	paths     *paths
	subjects  *subjects
	methods   *methods
	hosts     *hosts
	addresses *addresses
	countries *labels
	ports     *labels
	closed    []span
	boxes     []*box
	touched   bool // the change may touch every class; else those that are touched in some dimension
}

// labels cut what is compared as a whole: countries, ports.
type labels struct {
	classes []label
	index   map[string]int
	by      map[string][]string
	unknown []string // ids of all, if what is not known is told apart
}

type label struct {
	rep   string // "" = any that nothing names
	names []string
}

func newLabels(other, unknown string, atoms []atom, of func(*atom) []string) *labels {
	x := &labels{index: make(map[string]int), by: make(map[string][]string)}
	for i := range atoms {
		for _, v := range of(&atoms[i]) {
			x.by[v] = append(x.by[v], atoms[i].id)
			if unknown != "" {
				x.unknown = append(x.unknown, "?"+atoms[i].id)
			}
		}
	}
	x.add("", other)
	for _, v := range sortedKeys(x.by) {
		x.add(v, v)
	}
	if len(x.unknown) > 0 {
		x.add(policy.CountryUnknown, unknown)
	}
	return x
}

func (x *labels) add(rep, name string) {
	sig := x.signature(rep)
	class, known := x.index[sig]
	if !known {
		class = len(x.classes)
		x.index[sig] = class
		x.classes = append(x.classes, label{rep: rep})
	}
	x.classes[class].names = append(x.classes[class].names, name)
}

func (x *labels) signature(v string) string {
	if v == policy.CountryUnknown {
		return strings.Join(sortedSet(x.unknown), "\x00")
	}
	return strings.Join(sortedSet(x.by[v]), "\x00")
}

func (x *labels) locate(v string) int { return x.index[x.signature(v)] }

// newCut cuts a road by all rules that its requests may be compared with.
func newCut(w *world, r *road, most float64) *cut {
	atoms := r.atoms()
	x := &cut{
		road: r, closed: w.closed.spans, touched: r.touched(),
		subjects:  newSubjects(w.people, r.calls),
		methods:   newMethods(atoms, w.crossed),
		hosts:     newHosts(w, atoms, map[bool]string{true: r.key}[r.kind == byDomain]),
		countries: newLabels(anyOther, "a country that cannot be told", atoms, func(a *atom) []string { return a.Countries }),
		ports: newLabels(anyOther, "", atoms, func(a *atom) []string {
			if a.Port == 0 || !a.allows || len(a.Hosts) == 0 {
				return nil
			}
			return []string{strconv.Itoa(int(a.Port))}
		}),
		addresses: newAddresses(atoms, w.closed.spans),
	}
	if times := x.times(); times > 0 {
		x.paths = newPaths(w, r, atoms)
		x.paths.combine(times, most)
	}
	return x
}

// times is how many classes there are for each one of paths, as far as the change
// can touch them.
func (x *cut) times() float64 {
	all, outside := 1.0, 1.0
	for d, n := range x.lengths() {
		if d != dimPath {
			all *= float64(n)
			outside *= float64(n)
		}
	}
	if x.touched || slices.ContainsFunc(x.road.w.scope.entries, func(e entry) bool { return e.Paths != nil }) {
		return all
	}
	touched := x.touches()
	for d := range dims {
		if n := len(touched[d]); n > 0 && d != dimPath {
			in := 0
			for _, t := range touched[d] {
				if t {
					in++
				}
			}
			outside *= float64(n-in) / float64(n)
		}
	}
	return all - outside
}

func (x *cut) lengths() [dims]int {
	n := 0
	if x.paths != nil {
		n = len(x.paths.classes)
	}
	return [dims]int{n, len(x.subjects.classes), len(x.methods.classes), len(x.hosts.classes), len(x.addresses.classes), len(x.countries.classes), len(x.ports.classes)}
}

// size is how many classes there are.
func (x *cut) size() float64 { return float64(x.lengths()[dimPath]) * x.times() }

// each calls f with every class that the change can touch, of which the path changes
// last, and returns how many these are.
func (x *cut) each(f func(c cell)) (n int) {
	lengths := x.lengths()
	if slices.Contains(lengths[:], 0) {
		return 0
	}
	touched := x.touches()
	if !x.touched && !slices.Contains(slices.Concat(touched[:]...), true) {
		return 0
	}
	var c cell
	for {
		if x.touched || touched[dimPath][c[dimPath]] || touched[dimSubject][c[dimSubject]] || touched[dimHost][c[dimHost]] || touched[dimAddress][c[dimAddress]] {
			n++
			f(c)
		}
		if !c.next(&lengths) {
			return n
		}
	}
}

// next goes on to the next class; it reports false behind the last one.
func (c *cell) next(lengths *[dims]int) bool {
	for d := range c {
		i := dims - 1 - d
		if c[i]++; int(c[i]) < lengths[i] {
			return true
		}
		c[i] = 0
	}
	return false
}

// touches are the classes of each dimension that the change touches, whatever they
// are in the others.
func (x *cut) touches() (all [dims][]bool) {
	for i := range x.lengths()[dimPath] {
		all[dimPath] = append(all[dimPath], x.paths.touches(&x.paths.classes[i]))
	}
	for i := range x.subjects.classes {
		all[dimSubject] = append(all[dimSubject], x.subjects.classes[i].touched)
	}
	for i := range x.hosts.classes {
		all[dimHost] = append(all[dimHost], x.hosts.classes[i].touched)
	}
	for i := range x.addresses.classes {
		all[dimAddress] = append(all[dimAddress], x.addresses.classes[i].touched)
	}
	return all
}

// question asks one of the policies about a class.
type question struct {
	cut     *cut
	side    *side
	request policy.Request
	verdict policy.Verdict
	path    uri.Path
	class   int32
	who     string   // name of the consumer who asks, "" = nobody known
	all     []string // readings of the class, if its paths are read in several ways
	named   []string
	climbs  bool
}

// answer is what a policy says to a class.
type answer struct {
	passes bool
	key    string // of the rule that refuses; "" = none by itself
	entry  string
	reason string
	status int
	route  policy.Route
}

func newQuestion(x *cut, s *side) *question { return &question{cut: x, side: s, class: -1} }

// set makes the request that stands for a class.
func (q *question) set(c cell, name func(*person) string) {
	x, r := q.cut, &q.request
	m := &x.methods.classes[c[dimMethod]]
	r.Dry, r.Method, r.Fields = true, m.rep, nil
	if m.preflight {
		r.Fields = preflight{}
	}
	r.Host = x.hosts.classes[c[dimHost]].rep
	r.Port = 80
	if p := x.ports.classes[c[dimPort]].rep; p != "" {
		n, _ := strconv.ParseUint(p, 10, 16) // which was one
		r.Port = uint16(n)
	} else if len(x.ports.by) > 0 {
		r.Port = x.freePort()
	}
	r.Client = x.addresses.classes[c[dimAddress]].rep
	r.Locator = country(x.countries.classes[c[dimCountry]].rep)
	p := &x.subjects.people.all[x.subjects.classes[c[dimSubject]].members[0]]
	if q.who, r.As = name(p), ""; q.who != "" {
		r.As = q.side.reference(q.who)
	}
	q.setPath(c[dimPath])
}

// setPath makes the path that stands for a class: one that is read in the ways of
// the class, whichever text has them.
func (q *question) setPath(class int32) {
	if q.class == class {
		return
	}
	q.class = class
	c := &q.cut.paths.classes[class]
	target := q.cut.paths.readings[c.canonical].rep
	if q.all, q.named, q.climbs = nil, nil, c.climbs; !c.plain() {
		q.all, q.named = q.cut.paths.sets(c)
		target += ";any" // within the last segment, which nothing speaks of
	}
	q.path, _, _ = uri.ParsePath(target, nil)
	q.request.Path = &q.path
}

// freePort is one that nothing speaks of.
func (x *cut) freePort() uint16 {
	for p := 80; ; p++ {
		if x.ports.by[strconv.Itoa(p)] == nil {
			return uint16(p)
		}
	}
}

// ask decides as the gateway does, but for what only that knows: services that
// exist under the names that paths spell, no claims of hosts, no middleware.
func (q *question) ask() (a answer) {
	r := &q.request
	route := q.side.set.Route(r)
	if a.route = route; route.By == policy.ByNothing {
		a.reason, a.status = "no_service", 404
		return a
	}
	if route.By == policy.BySegment {
		q.side.set.Narrow(r, &route)
		a.route = route
	}
	if route.Stripped && q.climbs {
		a.reason, a.status = string(policy.ReasonBadPath), 400
		return a
	}
	if q.all != nil {
		r.Assume(q.all, q.behind(&route))
	} else {
		r.Assume(nil, nil)
	}
	v := &q.verdict
	q.side.set.Decide(r, &route, v, nil)
	if a.passes = v.Allowed() || v.Action == policy.Answer; !a.passes {
		a.key, a.entry, a.reason, a.status = v.Rule.Key, v.Rule.Entry, string(v.Reason), v.Status
	}
	return a
}

// behind are the readings behind the segment of the route's service.
func (q *question) behind(t *policy.Route) []string {
	all := make([]string, len(q.named))
	for i, path := range q.named {
		if t.Stripped {
			path = afterFirst(path)
		}
		all[i] = "/" + t.Service + path
	}
	return all
}

// country says of every address that it is there.
type country string

// Country implements [policy.Locator].
func (c country) Country(netip.Addr) string { return string(c) }

func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
