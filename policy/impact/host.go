package impact

import (
	"slices"
	"strings"

	"lictor/policy"
)

// hosts cut the hosts of a road: a class is told apart by the rules that name it,
// as a whole or by what it lies below, and by the mapping that has it.
type hosts struct {
	classes []host
	index   map[string]int
	by      map[string][]hostAtom // by the host that an atom names
	closed  *closed
	domain  func(host string) string // of the mapping of both policies that has it
	moved   func(domain string) bool // one policy alone maps it
	own     string                   // the domain of the road, "" = none
}

type hostAtom struct {
	policy.HostMention
	id      string
	exact   bool // that it is named as a whole counts for more
	changed bool
}

type host struct {
	rep     string
	names   []string
	touched bool // by a mapping that comes or goes, or an entry that does
}

// newHosts makes a class of every host that is named, of those one label below it,
// which a mapping may have (B14), of those further below, and of all others. No
// other host is told apart from one of these: what rules compare is the host, and
// what it ends with, label by label.
func newHosts(w *world, atoms []atom, own string) *hosts {
	x := &hosts{index: make(map[string]int), by: make(map[string][]hostAtom), closed: &w.closed, own: own}
	x.domain = func(h string) string { return mappingOf(h, w.stays) }
	x.moved = func(d string) bool { return slices.Contains(w.moved, d) }
	named := make(map[string]bool)
	for i := range atoms {
		for _, m := range atoms[i].Hosts {
			x.by[m.Host] = append(x.by[m.Host], hostAtom{m, atoms[i].id, atoms[i].routes, atoms[i].changed && atoms[i].Paths == nil})
			named[m.Host] = true
		}
	}
	for _, d := range append([]string{own}, w.moved...) {
		if parent, wild := strings.CutPrefix(d, "*."); parent != "" {
			named[parent] = true
			if wild {
				named[w.fresh("any")+"."+parent] = true
			}
		}
	}
	word := w.fresh("any")
	x.add(word, anyOther)
	for _, d := range sortedKeys(named) {
		x.add(d, d)
		x.add(word+"."+d, "*."+d)
		x.add(word+"."+word+"."+d, "*.*."+d)
	}
	return x
}

// stays reports whether both policies map a domain, wherever to.
func (w *world) stays(domain string) bool {
	return w.was.domains[domain] != nil && w.is.domains[domain] != nil
}

func (x *hosts) add(rep, name string) {
	sig, ok := x.signature(rep)
	if !ok {
		return
	}
	class, known := x.index[sig]
	if !known {
		class = len(x.classes)
		x.index[sig] = class
		x.classes = append(x.classes, host{rep: rep, touched: x.touches(rep)})
	}
	if c := &x.classes[class]; !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

// touches reports whether the change touches what is sent to a host, whoever sends
// it and wherever.
func (x *hosts) touches(h string) bool {
	if mappingOf(h, x.moved) != "" {
		return true
	}
	for rest := h; rest != ""; _, rest, _ = strings.Cut(rest, ".") {
		if slices.ContainsFunc(x.by[rest], func(a hostAtom) bool { return a.changed && a.Covers(h) }) {
			return true
		}
	}
	return false
}

// signature is what tells a host apart; ok is false for one that is on another
// road, or refused in both policies.
func (x *hosts) signature(h string) (sig string, ok bool) {
	if x.domain(h) != x.own || x.closed.refuses(h) {
		return "", false
	}
	ids := []string{"m:" + mappingOf(h, x.moved)}
	for rest := h; rest != ""; _, rest, _ = strings.Cut(rest, ".") {
		for _, a := range x.by[rest] {
			if !a.Covers(h) {
				continue
			}
			id := a.id
			if a.exact && rest == h {
				id += "="
			}
			ids = append(ids, id)
		}
	}
	return strings.Join(sortedSet(ids), "\x00"), true
}

func (x *hosts) locate(h string) int {
	if sig, ok := x.signature(h); ok {
		if class, ok := x.index[sig]; ok {
			return class
		}
	}
	return -1
}
