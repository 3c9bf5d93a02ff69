package impact

import (
	"cmp"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"

	"net/netip"
)

// Report is what a change does, and what of it is proven. It is not changed once
// it was made.
type Report struct {
	Changed       []string `json:"changed"`         // keys of objects
	Lines         []Line   `json:"lines"`           // what is opened and closed, by the rule that makes the difference
	Moves         []Move   `json:"moves,omitempty"` // what passes before and after, and goes elsewhere
	Aside         []string `json:"not_decided"`     // what else changes, and what no such proof speaks of
	Roads         []Proof  `json:"proof"`
	ClosedEntries int      `json:"refused_anyway"` // entries of blacklists that refuse by one property alone, before and after
	Complete      bool     `json:"complete"`       // every class of every road was decided on

	world  *world
	causes *causes
	prefix string
	cuts   map[string]*cut
	groups []*group
	index  map[difference]int
	moved  map[Move]int
}

// Proof is what was decided on of one road: the requests with a first segment, or
// to a mapped domain.
type Proof struct {
	Road    string  `json:"api"`
	Classes int     `json:"classes"`           // decided on by both policies
	Would   float64 `json:"would,omitempty"`   // that it would take for all; 0 = these are all
	Missing string  `json:"missing,omitempty"` // what is not proven; "" = nothing is missing
}

// Line is requests that are opened or closed. An empty list is any.
type Line struct {
	Effect    Effect   `json:"effect"`
	Rule      string   `json:"rule"`            // that made the difference: its key, or what there is of none
	Entry     string   `json:"entry,omitempty"` // of a list
	Reason    string   `json:"reason"`          // of the refusal, by the one policy
	Consumers []string `json:"consumers,omitempty"`
	Methods   []string `json:"methods,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
	Ports     []string `json:"ports,omitempty"`
	Paths     []string `json:"paths"` // each with the spellings that are meant; without, as it is written
	From      []string `json:"from,omitempty"`
	Countries []string `json:"countries,omitempty"`
	Classes   int      `json:"classes"`
	Example   *Example `json:"example,omitempty"` // nil: none was found
}

// Example is a request that stands for a line.
type Example struct {
	Method    string     `json:"method"`
	Host      string     `json:"host"`
	Port      uint16     `json:"port,omitempty"` // 0 = any
	Path      string     `json:"path"`
	Before    string     `json:"before,omitempty"` // who asks: a consumer of the policy before; "" = nobody known
	After     string     `json:"after,omitempty"`  // the same of the policy after
	From      netip.Addr `json:"from"`
	Country   string     `json:"country,omitempty"` // "" = any that no rule names
	Preflight bool       `json:"preflight,omitempty"`
	Status    int        `json:"status"` // of the refusal
}

// Move is requests that pass in both policies, and go to another service.
type Move struct {
	API     string `json:"api"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Classes int    `json:"classes"`
}

// difference is what is told together.
type difference struct {
	effect             Effect
	key, entry, reason string
	cause              string // the one changed object that makes it; "" = not known
}

// group is a difference, by the rule that made it.
type group struct {
	difference
	rule   string
	status int
}

// unreadable refuses to prove anything of a policy of which some object cannot be
// read: what stands in for it closes more than anybody wrote (X6).
func (rep *Report) unreadable(sides ...*side) bool {
	var bad []string
	for _, s := range sides {
		for _, k := range s.broken {
			bad = append(bad, strings.TrimPrefix(k.String(), "policy/"))
		}
	}
	for _, name := range sortedSet(bad) {
		rep.Roads = append(rep.Roads, Proof{Road: "every API", Missing: name + " cannot be read, and closes what it may have guarded"})
	}
	return len(bad) > 0
}

// group finds the group of a difference, or makes it.
func (rep *Report) group(was, is *answer, before, after *question) int {
	d := difference{effect: Closes, key: is.key, entry: is.entry, reason: is.reason}
	status, passes := is.status, before
	if is.passes {
		d = difference{effect: Opens, key: was.key, entry: was.entry, reason: was.reason}
		status, passes = was.status, after
	}
	d.cause, _ = rep.causes.of(d.key, rep.prefix, was, before, after)
	if rep.index == nil {
		rep.index = make(map[difference]int)
	}
	g, known := rep.index[d]
	if !known {
		g = len(rep.groups)
		rep.index[d] = g
		rep.groups = append(rep.groups, &group{d, rep.blame(d, passes), status})
	}
	return g
}

// blame names the rule that made a difference: the one that refuses if it was
// changed, else the one changed object without which it would not be, else one that
// was changed and speaks where it passes, else the one that refuses, or what does for
// the lack of any.
func (rep *Report) blame(d difference, passes *question) string {
	changed := func(key string) bool { return slices.Contains(rep.Changed, key) }
	switch {
	case len(rep.Changed) == 1:
		return rep.Changed[0]
	case d.cause != "":
		return d.cause
	case changed(d.key):
		return d.key
	}
	var rec policy.Recorder
	r := &passes.request
	if route := passes.side.set.Route(r); route.By != policy.ByNothing {
		var v policy.Verdict
		passes.side.set.Decide(r, &route, &v, &rec)
		for _, s := range rec.Steps {
			if s.Rule != nil && changed(s.Rule.Key) {
				return s.Rule.Key
			}
		}
		if changed(route.Rule.Key) {
			return route.Rule.Key
		}
	}
	return cmp.Or(d.key, d.reason)
}

// moves notes that a class goes elsewhere.
func (rep *Report) moves(was, is *answer) {
	a, b := &was.route, &is.route
	if a.Service == b.Service && a.Backends == b.Backends {
		return
	}
	if rep.moved == nil {
		rep.moved = make(map[Move]int)
	}
	rep.moved[Move{API: strings.Clone(b.API), Before: target(a), After: target(b)}]++
}

// target names where a route leads.
func target(t *policy.Route) string {
	if t.Backends == nil {
		return "service " + t.Service
	}
	var all []string
	for _, b := range t.Backends.List {
		all = append(all, b.URL)
	}
	return strings.Join(all, ", ")
}

// Query is a request that the report is asked about.
type Query struct {
	Method        string
	Host          string // as [uri.Host] gives it
	Port          uint16
	Path          *uri.Path
	Client        netip.Addr
	Country       string // as a [policy.Locator] gives it
	Preflight     bool   // it has the fields of one
	Before, After string // names of the consumers that it comes from, by each policy; "" = nobody known
}

// Find returns what the change does to a request. known is false where that was
// not proven.
func (rep *Report) Find(q *Query) (e Effect, known bool) {
	w := rep.world
	if w == nil {
		return Same, false
	}
	if q.Path.Climbs(q.Path.Target(false)) {
		return Same, true // it is refused whatever the policy says (D22)
	}
	key := w.roadOf(q.Path.Canonical)
	if d := mappingOf(q.Host, w.stays); d != "" {
		key = d
	}
	x := rep.cuts[key]
	if x == nil {
		for i := range rep.Roads {
			if rep.Roads[i].Missing != "" && rep.Roads[i].Road == titleOf(key) {
				return Same, false
			}
		}
		return Same, true // the change cannot touch it
	}
	if x.road.kind == bySegment && !x.road.wide && q.Path.Climbs(q.Path.Target(true)) {
		return Same, true
	}
	if x.paths.partial && q.Path.Odd() {
		return Same, false
	}
	c, ok := x.locate(q)
	if !ok {
		return Same, true // it is refused in both policies, or nobody else in the other one
	}
	for _, b := range x.boxes {
		if b.has(c) {
			return rep.groups[b.group].effect, true
		}
	}
	return Same, true
}

// locate returns the class of a request.
func (x *cut) locate(q *Query) (c cell, ok bool) {
	country := q.Country
	for d, i := range [dims]int{
		dimPath: x.paths.locate(q.Path), dimSubject: x.subjects.locate(q.Before, q.After), dimMethod: x.methods.locate(q.Method, q.Preflight),
		dimHost: x.hosts.locate(q.Host), dimAddress: x.addresses.locate(q.Client, x.closed), dimCountry: x.countries.locate(country),
		dimPort: x.ports.locate(portText(q.Port)),
	} {
		if i < 0 {
			return c, false
		}
		c[d] = int32(i)
	}
	return c, true
}
