package impact

import (
	"slices"
	"strconv"
	"strings"

	"lictor/internal/uri"
)

// example makes a request of a box, with a path that is read in one way if there
// is one. It returns nil if it knows no text that is read as it would have to be.
func (x *cut) example(b *box, g *group) *Example {
	var c cell
	for d := range dims {
		c[d] = b.lists[d][0]
	}
	path := x.paths.exampleOf(b.lists[dimPath])
	if path == "" {
		return nil
	}
	m := &x.methods.classes[c[dimMethod]]
	p := &x.subjects.people.all[x.subjects.classes[c[dimSubject]].members[0]]
	e := &Example{
		Method: m.rep, Preflight: m.preflight, Host: x.hosts.classes[c[dimHost]].rep, Path: path, Before: p.was, After: p.is,
		From: x.addresses.classes[c[dimAddress]].rep, Status: g.status, Country: x.countries.classes[c[dimCountry]].rep,
	}
	if len(x.ports.by) > 0 {
		e.Port = x.freePort()
		if n, err := strconv.ParseUint(x.ports.classes[c[dimPort]].rep, 10, 16); err == nil {
			e.Port = uint16(n)
		}
	}
	if len(x.hosts.classes) == 1 && x.road.kind != byDomain {
		e.Host = "" // any
	}
	return e
}

// exampleOf spells a path of one of some classes.
func (x *paths) exampleOf(list []int32) string {
	for _, i := range list {
		if c := &x.classes[i]; c.plain() {
			return x.readings[c.canonical].rep
		}
	}
	const tries = 1000
	for n, i := range list {
		if n == tries {
			break
		}
		if path := x.spell(&x.classes[i], int(i)); path != "" {
			return path
		}
	}
	return ""
}

// spell looks for a text that is read as a class has it, and that is not refused
// for climbing: a backend that takes %2F or '\' for a slash, or cuts
// ";params" off, comes to another prefix each time.
func (x *paths) spell(c *pathClass, class int) string {
	for _, keep := range []int{1, 0} { // within the first segment, if it can be
		for order := range permutations(c.others) {
			path := x.readings[c.canonical].rep
			depth := strings.Count(path, "/") - keep
			for n, o := range order {
				to := x.readings[o].rep
				if keep == 1 {
					to = strings.TrimSuffix(afterFirst(to), "/")
				}
				path = gadget(path, n, depth, to)
				depth++
			}
			p, _, err := uri.ParsePath(path, nil)
			if err == nil && x.locate(&p) == class && !p.Climbs(p.Target(x.road.kind == bySegment && !c.climbs)) {
				return path
			}
		}
	}
	return ""
}

// gadget makes a path that some backends read as another one.
func gadget(path string, kind, up int, to string) string {
	switch kind {
	case 0:
		return path + "/x" + strings.Repeat("%2F..", up+1) + strings.ReplaceAll(to, "/", "%2F")
	case 1:
		return path + "/x" + strings.Repeat(`%5C..`, up+1) + strings.ReplaceAll(to, "/", "%5C")
	}
	return path + strings.Repeat("/..;", up) + to
}

// permutations yields the orders of at most three.
func permutations(list []int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		if len(list) > 3 {
			return
		}
		var walk func(done, left []int) bool
		walk = func(done, left []int) bool {
			if len(left) == 0 {
				return yield(done)
			}
			for i := range left {
				if !walk(append(slices.Clone(done), left[i]), slices.Concat(left[:i], left[i+1:])) {
					return false
				}
			}
			return true
		}
		walk(nil, list)
	}
}
