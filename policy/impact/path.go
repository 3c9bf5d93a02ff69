package impact

import (
	"encoding/binary"
	"slices"
	"strings"

	"lictor/internal/uri"
)

// paths cut the paths of a road. What rules compare of a path are prefixes by
// whole segments, of its canonical form and of its other readings (D22), and the
// same of what is reached behind the segment of the service. So a reading is told
// apart from another only by the prefixes that cover it, and a path only by its
// canonical form and the set of what its readings are told apart by.
//
// A path that is routed by its first segment has no reading outside of it: one that
// climbs above is refused, whatever the policy says (D22). Behind the segment of
// the service its readings are the same ones, with the segment changed. Where the
// first segment stays (a host, or a filter of another service, chose the service)
// readings may lead anywhere, and one that a backend makes that cut the first
// segment off before (rest) is none of those behind the service's segment: there
// each may be one of these or not.
type paths struct {
	w        *world
	road     *road
	nodes    map[string]*pathNode // by prefix
	readings []reading            // all that are told apart; those that a canonical path of the road may have come first
	own      int                  // how many of them those are
	bySig    map[string]int
	classes  []pathClass
	index    map[string]int
	partial  bool // only paths that are read in one way are among the classes
	would    float64
	each     int // classes of one canonical form
}

type pathNode struct {
	ids, named []string
	changed    bool // some of them is an entry's that comes or goes
}

// reading is all readings that are told apart by nothing.
type reading struct {
	rep     string
	prefix  string // the longest that covers it
	named   bool   // it is also one behind the segment of the service
	touched bool   // an entry that comes or goes covers it, or what is behind the segment
}

// pathClass are all paths with a canonical form and a set of other readings.
type pathClass struct {
	canonical int
	others    []int // sorted
	climbs    bool  // some reading leaves the first segment, which is refused where that was cut off (D22)
}

func newPaths(w *world, r *road, atoms []atom) *paths {
	x := &paths{w: w, road: r, nodes: make(map[string]*pathNode), bySig: make(map[string]int), index: make(map[string]int)}
	x.node(r.root())
	for i := range atoms {
		x.cut(&atoms[i])
	}
	for _, v := range r.services {
		for _, p := range w.closed.first[v] {
			x.cutNamed("closed", v, p, false)
		}
	}
	if r.wide {
		x.node("")
		for api := range r.asked {
			x.node("/" + api)
		}
	}
	x.readAll()
	return x
}

func (x *paths) node(prefix string) *pathNode {
	n := x.nodes[prefix]
	if n == nil {
		n = &pathNode{}
		x.nodes[prefix] = n
	}
	return n
}

// cut enters the prefixes of a rule, as far as paths of the road may have them.
func (x *paths) cut(a *atom) {
	for _, p := range a.Paths {
		id := a.id
		if a.routes {
			id += ":" + p
		}
		if x.road.wide || p == "" || firstOf(p) == x.road.segment {
			n := x.node(p)
			n.ids, n.changed = append(n.ids, id), n.changed || a.changed
		}
		if a.allows || p == "" {
			continue
		}
		for _, v := range x.road.services {
			if firstOf(p) == v {
				x.cutNamed(id, v, p, a.changed)
			}
		}
	}
}

// cutNamed enters a prefix behind the segment of a service, as the paths of the
// road have it that lead there.
func (x *paths) cutNamed(id, service, p string, changed bool) {
	rest := strings.TrimSuffix(afterFirst(p), "/")
	if x.road.segment != "" {
		n := x.node("/" + x.road.segment + rest)
		n.named, n.changed = append(n.named, "s"+service+">"+id), n.changed || changed
	}
	if x.road.wide {
		n := x.node(rest)
		n.named, n.changed = append(n.named, "u"+service+">"+id), n.changed || changed
	}
}

// signature is what tells a reading apart; ok is false for one that is refused in
// both policies. named says whether it is also one behind the service's segment.
func (x *paths) signature(path string, named bool) (sig, prefix string, ok bool) {
	if x.w.closed.covers(path) {
		return "", "", false
	}
	var ids []string
	found := false
	for p := range prefixes(path) {
		n := x.nodes[p]
		if n == nil {
			continue
		}
		if !found {
			prefix, found = p, true
		}
		ids = append(ids, n.ids...)
		if named {
			ids = append(ids, n.named...)
		}
	}
	if x.road.wide {
		ids = append(ids, x.asks(path))
	}
	return strings.Join(sortedSet(ids), "\x00"), prefix, true
}

// asks is which API else a reading leads to by its first segment.
func (x *paths) asks(path string) string {
	switch first := firstOf(path); {
	case x.road.kind == byDomain:
		return "" // no other API is asked
	case first == x.road.segment && first != "":
		return "/own"
	case x.road.asked[first]:
		return "/" + first
	case uri.IsServiceName(first):
		return "/any"
	}
	return "/"
}

// readAll makes a reading of each prefix, the shortest first, and of what the
// prefixes leave.
func (x *paths) readAll() {
	prefixes := sortedKeys(x.nodes)
	word := x.w.fresh("any")
	for _, pass := range []bool{true, false} {
		for _, p := range prefixes {
			if x.onRoad(p) == pass {
				x.read(p+"/"+word, true)
			}
		}
		if pass {
			if x.road.kind == byNothing {
				x.read("/~"+word+"/"+word, true)
			}
			x.own = len(x.readings)
		}
	}
	if !x.road.wide {
		return
	}
	x.read("/~"+word, true)
	if x.road.segment == "" || x.road.kind == byDomain || x.road.wide {
		for _, p := range prefixes {
			x.read(p+"/"+word, false)
		}
		x.read("/~"+word, false)
	}
}

// onRoad reports whether canonical paths with a prefix are on the road.
func (x *paths) onRoad(prefix string) bool {
	switch x.road.kind {
	case byDomain:
		return true
	case bySegment:
		return firstOf(prefix) == x.road.segment
	}
	return prefix != "" && x.road.of(prefix) == x.road.key
}

func (x *paths) read(rep string, named bool) {
	sig, prefix, ok := x.signature(rep, named)
	if !ok {
		return
	}
	if _, known := x.bySig[sig]; !known {
		x.bySig[sig] = len(x.readings)
		touched := false
		for p := range prefixes(rep) {
			touched = touched || x.nodes[p] != nil && x.nodes[p].changed
		}
		x.readings = append(x.readings, reading{rep, prefix, named, touched})
	}
}

// combine makes the classes: each canonical form with each set of other readings.
// There may be more than most of them, with times as many in the other dimensions:
// then only those are made that are read in one way.
func (x *paths) combine(times, most float64) {
	if x.own == 0 {
		return // all is refused in both policies
	}
	inside := len(x.readings)
	if x.climbers() {
		inside = x.own
		x.would = float64(x.own) * pow2(len(x.readings)-1)
	}
	x.would += float64(x.own) * pow2(inside-1)
	x.partial = x.would*times > most
	for c := range x.own {
		x.addClass(pathClass{canonical: c})
		if x.partial {
			continue
		}
		x.addSets(c, inside, false)
		if x.climbers() {
			x.addClass(pathClass{canonical: c, climbs: true})
			x.addSets(c, len(x.readings), true)
		}
	}
}

// climbers reports whether some paths of the road have readings that leave the
// first segment, and are not refused for it in both policies.
func (x *paths) climbers() bool { return x.road.wide && x.road.kind == bySegment }

// addSets adds a class for each set of the first n readings but the canonical one.
func (x *paths) addSets(canonical, n int, climbs bool) {
	for set := 1; set < 1<<(n-1); set++ {
		var list []int
		for bit := range n - 1 {
			if set&(1<<bit) != 0 {
				i := bit
				if i >= canonical {
					i++
				}
				list = append(list, i)
			}
		}
		x.addClass(pathClass{canonical, list, climbs})
	}
}

func pow2(n int) float64 {
	if n > 60 {
		return 1 << 60
	}
	return float64(uint64(1) << n)
}

func (x *paths) addClass(c pathClass) {
	x.index[c.key()] = len(x.classes)
	x.classes = append(x.classes, c)
	if c.canonical == 0 {
		x.each++
	}
}

// key tells a class from every other one, however many signatures there are.
func (c *pathClass) key() string {
	key := make([]byte, 1, 4+3*len(c.others))
	if c.climbs {
		key[0] = 1
	}
	key = binary.AppendUvarint(key, uint64(c.canonical))
	for _, o := range c.others {
		key = binary.AppendUvarint(key, uint64(o))
	}
	return string(key)
}

// plain reports whether the paths are read in one way, or in ways that nothing
// tells apart.
func (c *pathClass) plain() bool { return c.others == nil && !c.climbs }

// locate returns the class of a path, -1 if it is refused in both policies, or not
// among the classes.
func (x *paths) locate(p *uri.Path) int {
	first := firstOf(p.Canonical)
	own, _, ok := x.signature(x.local(p.Canonical, first), true)
	canonical, known := x.bySig[own]
	if !ok || !known || x.w.closed.covers(p.Canonical) {
		return -1
	}
	var set uri.ReadingSet
	climbs := x.climbers() && p.Climbs(p.Target(true))
	var behind map[string]bool
	if climbs || !x.climbers() {
		behind = x.behind(p)
	}
	others := make(map[int]bool)
	for _, text := range set.Of(p) {
		sig, _, ok := x.signature(x.local(text, first), behind == nil || behind[text])
		if !ok || x.w.closed.covers(text) {
			return -1
		}
		i, known := x.bySig[sig]
		if !known {
			return -1
		}
		if i != canonical {
			others[i] = true
		}
	}
	c := pathClass{canonical, sortedKeys(others), climbs}
	if class, ok := x.index[c.key()]; ok {
		return class
	}
	return -1
}

// local gives a path the segment that stands for any other service.
func (x *paths) local(path, first string) string {
	if x.road.key == "/" && firstOf(path) == first {
		return "/" + x.road.segment + strings.TrimPrefix(path, "/"+first)
	}
	return path
}

// behind are the readings that are also some behind the segment of the service,
// where that is put before the whole path; nil: all are.
func (x *paths) behind(p *uri.Path) map[string]bool {
	if !x.road.wide {
		return nil
	}
	named, _, err := uri.ParsePath("/"+x.w.fresh("any")+p.Canonical, nil)
	if err != nil {
		return nil
	}
	var set uri.ReadingSet
	all := make(map[string]bool)
	for _, text := range set.Of(&named) {
		all[afterFirst(text)] = true
	}
	return all
}

// touches reports whether an entry that comes or goes covers some reading of a class.
func (x *paths) touches(c *pathClass) bool {
	return x.readings[c.canonical].touched || slices.ContainsFunc(c.others, func(o int) bool { return x.readings[o].touched })
}

// sets returns the readings of a class, and those of them that are also some
// behind the segment of the service.
func (x *paths) sets(c *pathClass) (all, named []string) {
	for _, o := range c.others {
		all = append(all, x.readings[o].rep)
		if x.readings[o].named {
			named = append(named, x.readings[o].rep)
		}
	}
	return all, named
}
