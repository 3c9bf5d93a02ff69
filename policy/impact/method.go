package impact

import (
	"slices"
	"strings"
)

// methods cut the methods: what is named, the same in another case, which rules
// that deny take for it (D22), and all others. A preflight is one of its own where
// some plugin cors is in force (P1).
type methods struct {
	classes []method
	index   map[string]int
	by      map[string][]string // ids, by the method in upper case
	folds   map[string][]string
	crossed bool
}

type method struct {
	rep       string
	names     []string
	preflight bool
}

// newMethods files each method with the rules that take it. An entry that denies
// takes it in any case; a filter grants it as it is, and restricts in any case.
func newMethods(atoms []atom, crossed bool) *methods {
	x := &methods{index: make(map[string]int), by: make(map[string][]string), folds: make(map[string][]string), crossed: crossed}
	for i := range atoms {
		a := &atoms[i]
		for _, m := range a.Methods {
			if m = strings.ToUpper(m); a.denies {
				x.folds[m] = append(x.folds[m], a.id)
				continue
			}
			x.by[m] = append(x.by[m], a.id)
			if !a.allows {
				x.folds[m] = append(x.folds[m], a.id+"~")
			}
		}
	}
	named := make(map[string]bool)
	for m := range x.by {
		named[m] = true
	}
	for m := range x.folds {
		named[m] = true
	}
	other := "GET"
	for _, m := range []string{"GET", "HEAD", "PATCH", "TRACE", "REPORT", "SEARCH", "X-OTHER"} {
		if other = m; !named[m] {
			break
		}
	}
	x.add(other, anyOther, false)
	for _, m := range sortedKeys(named) {
		x.add(m, m, false)
		x.add(strings.ToLower(m), strings.ToLower(m), false)
	}
	if crossed {
		x.add("OPTIONS", "preflights", true)
	}
	return x
}

func (x *methods) add(rep, name string, preflight bool) {
	sig := x.signature(rep, preflight)
	class, known := x.index[sig]
	if !known {
		class = len(x.classes)
		x.index[sig] = class
		x.classes = append(x.classes, method{rep: rep, preflight: preflight})
	}
	if c := &x.classes[class]; !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

func (x *methods) signature(m string, preflight bool) string {
	ids := append(slices.Clone(x.by[m]), x.folds[strings.ToUpper(m)]...)
	if preflight {
		ids = append(ids, "preflight")
	}
	return strings.Join(sortedSet(ids), "\x00")
}

func (x *methods) locate(m string, preflight bool) int {
	if class, ok := x.index[x.signature(m, preflight && x.crossed && m == "OPTIONS")]; ok {
		return class
	}
	return -1
}
