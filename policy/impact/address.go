package impact

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// span is a range of addresses of one family, both ends within.
type span struct{ first, last netip.Addr }

func spanOf(p netip.Prefix) span { return span{p.Masked().Addr(), lastOf(p)} }

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	last := netip.AddrFrom16(a)
	if p.Addr().Is4() {
		return last.Unmap()
	}
	return last
}

// merged joins spans that overlap, in order.
func merged(all []span) (out []span) {
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	for _, s := range all {
		if n := len(out); n > 0 && s.first.Compare(out[n-1].last) <= 0 {
			if out[n-1].last.Less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// outside returns the first address of a span that lies in none of closed.
func (s span) outside(closed []span) (netip.Addr, bool) {
	at := s.first
	i := sort.Search(len(closed), func(i int) bool { return !closed[i].last.Less(at) })
	for ; i < len(closed) && closed[i].first.Compare(at) <= 0; i++ {
		next := closed[i].last.Next()
		if !next.IsValid() || next.BitLen() != s.last.BitLen() {
			return netip.Addr{}, false
		}
		at = next
	}
	return at, at.Compare(s.last) <= 0
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// pleasant returns an address of a span that people would rather read than the
// first one that is open.
func (s span) pleasant(first netip.Addr, closed []span) netip.Addr {
	for _, a := range []netip.Addr{loopback, first.Next()} {
		if a.IsValid() && a.BitLen() == s.last.BitLen() && s.first.Compare(a) <= 0 && a.Compare(s.last) <= 0 {
			if at, ok := (span{a, a}).outside(closed); ok && at == a {
				return a
			}
		}
	}
	return first
}

// addresses cut all addresses of clients: a class is told apart from the others by
// the prefixes that it lies in.
type addresses struct {
	spans   []addressSpan
	classes []address
	index   map[string]int
	changed map[string]bool // ids of entries that come or go
}

type addressSpan struct {
	span
	class int // -1: refused in both policies
	in    netip.Prefix
}

type address struct {
	rep     netip.Addr
	touched bool // by an entry that comes or goes
}

// newAddresses sweeps over the prefixes, which are nested or apart.
func newAddresses(atoms []atom, closed []span) *addresses {
	ids := make(map[netip.Prefix][]string)
	changed := make(map[string]bool)
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		ids[netip.MustParsePrefix(all)] = nil
	}
	for i := range atoms {
		changed[atoms[i].id] = atoms[i].changed
		for _, p := range atoms[i].Prefixes {
			ids[p.Masked()] = append(ids[p.Masked()], atoms[i].id)
		}
	}
	var all []netip.Prefix
	for p := range ids {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	x := &addresses{index: make(map[string]int), changed: changed}
	for i := 0; i < len(all); {
		i = x.sweep(all, i, nil, ids, closed)
	}
	return x
}

// sweep cuts the prefix at i, without those within it, which it sweeps as well. It
// returns the index behind them.
func (x *addresses) sweep(all []netip.Prefix, i int, above []string, ids map[netip.Prefix][]string, closed []span) int {
	p := all[i]
	own := sortedSet(append(slices.Clone(above), ids[p]...))
	at, last := p.Addr(), lastOf(p)
	i++
	for i < len(all) && p.Contains(all[i].Addr()) {
		child := all[i]
		x.add(span{at, child.Addr().Prev()}, p, own, closed)
		i = x.sweep(all, i, own, ids, closed)
		at = lastOf(child).Next()
	}
	if at.IsValid() && at.BitLen() == last.BitLen() {
		x.add(span{at, last}, p, own, closed)
	}
	return i
}

func (x *addresses) add(s span, in netip.Prefix, ids []string, closed []span) {
	if !s.last.IsValid() || s.last.BitLen() != s.first.BitLen() || s.last.Less(s.first) {
		return
	}
	rep, ok := s.outside(closed)
	class := -1
	if ok {
		sig := strings.Join(ids, "\x00")
		if class, ok = x.index[sig]; !ok {
			class = len(x.classes)
			x.index[sig] = class
			x.classes = append(x.classes, address{touched: slices.ContainsFunc(ids, func(id string) bool { return x.changed[id] })})
		}
		if a := s.pleasant(rep, closed); a == loopback || !x.classes[class].rep.IsValid() {
			x.classes[class].rep = a
		}
	}
	x.spans = append(x.spans, addressSpan{s, class, in})
}

// locate returns the class of an address, -1 if it is refused in both policies. One
// that is not valid lies in no prefix.
func (x *addresses) locate(a netip.Addr, closed []span) int {
	if a = a.Unmap().WithZone(""); !a.IsValid() {
		if class, ok := x.index[""]; ok {
			return class
		}
		return -1
	}
	if at, ok := (span{a, a}).outside(closed); !ok || at != a {
		return -1
	}
	i := sort.Search(len(x.spans), func(i int) bool { return !x.spans[i].last.Less(a) })
	return x.spans[i].class
}

// text names the addresses of some classes: the prefixes that they lie in, and
// what of these they do not.
func (x *addresses) text(has func(class int) bool) []string {
	state := make(map[netip.Prefix]bool)
	for _, s := range x.spans {
		if s.class >= 0 {
			state[s.in] = has(s.class)
		}
	}
	names := make(map[string]bool)
	but := make(map[string]bool)
	for p, in := range state {
		above, found := netip.Prefix{}, false
		for q := range state {
			if q != p && q.Bits() < p.Bits() && q.Contains(p.Addr()) && (!found || q.Bits() > above.Bits()) {
				above, found = q, true
			}
		}
		switch parent := found && state[above]; {
		case in && !parent:
			names[addressName(p)] = true
		case !in && parent:
			but[addressName(p)] = true
		}
	}
	if names[anyIPv4] && names[anyIPv6] {
		delete(names, anyIPv4)
		delete(names, anyIPv6)
		names["anywhere"] = true
	}
	return outline(names, but)
}

const anyIPv4, anyIPv6 = "any IPv4", "any IPv6"

func addressName(p netip.Prefix) string {
	switch {
	case p.Bits() == 0 && p.Addr().Is4():
		return anyIPv4
	case p.Bits() == 0:
		return anyIPv6
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
