package impact

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func portText(p uint16) string { return strconv.Itoa(int(p)) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// outline names what is in, and what of that is not: the longest that fits counts.
func outline(names, but map[string]bool) []string {
	all := sortedKeys(names)
	if len(but) > 0 && len(all) > 0 {
		all[len(all)-1] += " but not " + strings.Join(sortedKeys(but), ", ")
	}
	return all
}

// title names a road for people.
func (r *road) title() string { return titleOf(r.key) }

func titleOf(key string) string {
	switch {
	case key == "/":
		return "any other service"
	case key == "":
		return "paths that name no service"
	}
	return strings.TrimPrefix(key, "/")
}

// tell makes the lines of all boxes.
func (rep *Report) tell() {
	for _, key := range sortedKeys(rep.cuts) {
		x := rep.cuts[key]
		for _, b := range x.boxes {
			rep.Lines = append(rep.Lines, rep.line(x, b))
		}
	}
	rep.Lines = together(rep.Lines)
	slices.SortStableFunc(rep.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Entry, b.Entry), slices.Compare(a.Paths, b.Paths), slices.Compare(a.Consumers, b.Consumers))
	})
	for m, n := range rep.moved {
		m.Classes = n
		rep.Moves = append(rep.Moves, m)
	}
	slices.SortFunc(rep.Moves, func(a, b Move) int { return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Before, b.Before)) })
	rep.Complete = !slices.ContainsFunc(rep.Roads, func(p Proof) bool { return p.Missing != "" })
}

func (rep *Report) line(x *cut, b *box) Line {
	g := rep.groups[b.group]
	l := Line{Effect: g.effect, Rule: g.rule, Entry: g.entry, Reason: g.reason, Classes: b.classes, Example: x.example(b, g)}
	l.Consumers = b.named(dimSubject, len(x.subjects.classes), x.subjects.text)
	l.Methods = b.named(dimMethod, len(x.methods.classes), func(i int) []string { return x.methods.classes[i].names })
	l.Hosts = b.named(dimHost, x.everyHost(), func(i int) []string { return x.hosts.classes[i].names })
	l.Countries = b.named(dimCountry, len(x.countries.classes), func(i int) []string { return x.countries.classes[i].names })
	l.Ports = b.named(dimPort, len(x.ports.classes), func(i int) []string { return x.ports.classes[i].names })
	if len(b.lists[dimAddress]) < len(x.addresses.classes) {
		l.From = x.addresses.text(func(class int) bool { _, ok := slices.BinarySearch(b.lists[dimAddress], int32(class)); return ok })
	}
	l.Paths = x.paths.text(b.lists[dimPath])
	return l
}

// named names the classes of a box in a dimension that has n: nil if it has all of
// them, and what it does not have if it has all that nothing names.
func (b *box) named(d, n int, name func(class int) []string) []string {
	if len(b.lists[d]) == n {
		return nil
	}
	var in, out []string
	other := false
	for i := range max(n, 0) {
		if _, has := slices.BinarySearch(b.lists[d], int32(i)); !has {
			out = append(out, name(i)...)
		}
	}
	for _, i := range b.lists[d] {
		for _, s := range name(int(i)) {
			other = other || s == anyOther
			in = append(in, s)
		}
	}
	if other && n >= 0 {
		return []string{"any but " + strings.Join(distinct(out), ", ")}
	}
	return in
}

// anyOther is what nothing names.
const anyOther = "any other"

// distinct leaves out what is there in upper case as well.
func distinct(names []string) (all []string) {
	upper := make(map[string]bool)
	for _, n := range names {
		upper[n] = true
	}
	for _, n := range names {
		if up := strings.ToUpper(n); n == up || !upper[up] {
			all = append(all, n)
		}
	}
	return all
}

// everyHost is how many hosts are any: those of a mapped domain are always named.
func (x *cut) everyHost() int {
	if x.road.kind == byDomain {
		return -1
	}
	return len(x.hosts.classes)
}

// text names the paths of some classes, and which spellings of them are meant: as
// they are written, and read in one way, where nothing is said.
func (x *paths) text(list []int32) (names []string) {
	plain, odd := make(map[int]bool), make(map[int]int)
	for _, i := range list {
		if c := &x.classes[i]; c.plain() {
			plain[c.canonical] = true
		} else {
			odd[c.canonical]++
		}
	}
	for _, part := range []struct {
		says string
		of   func(canonical int) bool
	}{
		{" in any spelling", func(c int) bool { return plain[c] && odd[c] == x.each-1 && odd[c] > 0 }},
		{"", func(c int) bool { return plain[c] && odd[c] == 0 }},
		{", also in some spellings that some backend reads otherwise", func(c int) bool { return plain[c] && odd[c] > 0 && odd[c] < x.each-1 }},
		{" in spellings alone that some backend reads otherwise", func(c int) bool { return !plain[c] && odd[c] > 0 }},
	} {
		of := make(map[int]bool)
		for c := range x.own {
			of[c] = part.of(c)
		}
		some := x.outline(of)
		if len(some) > 0 {
			some[len(some)-1] += part.says
		}
		names = append(names, some...)
	}
	return names
}

// outline names canonical paths by the prefixes that cover them.
func (x *paths) outline(of map[int]bool) []string {
	state := make(map[string]bool)
	word := x.w.fresh("any")
	for p := range x.nodes {
		if !x.onRoad(p) {
			continue
		}
		if sig, _, ok := x.signature(p+"/"+word, true); ok {
			if i, known := x.bySig[sig]; known && i < x.own {
				state[p] = of[i]
			}
		}
	}
	names, but := make(map[string]bool), make(map[string]bool)
	for p, in := range state {
		parent := false
		for q := range prefixes(p) {
			if above, known := state[q]; known && q != p {
				parent = above
				break
			}
		}
		switch {
		case in && !parent:
			names[x.name(p)] = true
		case !in && parent:
			but[x.name(p)] = true
		}
	}
	if x.road.kind == byNothing && len(names) == 0 && slices.Contains(slices.Collect(maps.Values(of)), true) {
		names["paths that name no service"] = true
	}
	return outline(names, but)
}

// name is how a prefix is written.
func (x *paths) name(p string) string {
	if x.road.key == "/" {
		p = "/*" + strings.TrimPrefix(p, "/"+x.road.segment)
	}
	return p + "/**"
}

// together joins lines that differ in their paths alone, so that what holds for
// many APIs is one line.
func together(lines []Line) (out []Line) {
	by := make(map[string]int)
	for _, l := range lines {
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%q\x00%q\x00%q\x00%q\x00%q\x00%q", l.Effect, l.Rule, l.Entry, l.Reason, l.Consumers, l.Methods, l.Hosts, l.Ports, l.From, l.Countries)
		if i, known := by[key]; known {
			out[i].Paths = append(out[i].Paths, l.Paths...)
			out[i].Classes += l.Classes
			if out[i].Example == nil {
				out[i].Example = l.Example
			}
			continue
		}
		by[key] = len(out)
		out = append(out, l)
	}
	for i := range out {
		slices.Sort(out[i].Paths)
	}
	return out
}

// few cuts a list of names short.
func few(names []string) []string {
	if len(names) <= mostNames {
		return names
	}
	return append(slices.Clone(names[:mostNames]), fmt.Sprintf("%s more", thousands(len(names)-mostNames)))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func approximately(n float64) string {
	if n < 1e15 {
		return thousands(int(n))
	}
	return "over 10^15"
}

// oneLine keeps what others wrote from being more than a line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
