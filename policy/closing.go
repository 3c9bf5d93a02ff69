package policy

import (
	"cmp"
	"slices"
)

// Closing is something that is refused, or a key demanded for it, because an
// object can not be read or refers to one that does not exist (X6).
type Closing struct {
	Path   string `json:"key"`    // of the object, with the store's prefix
	Index  uint64 `json:"index"`  // the store's, of that object
	Closes string `json:"closes"` // "the egress", "API chat", "every API without a key"
	Why    string `json:"why"`
}

// Closed reports whether a listener refuses everything because of what can not
// be read, and by which object.
func (s *Set) Closed(side Direction) (by Rule, closed bool) {
	if s == nil {
		return Rule{}, true
	}
	rules := s.closed[gateway]
	if side == Egress {
		rules = s.closed[egress]
	}
	if len(rules) == 0 {
		return Rule{}, false
	}
	return rules[0], true
}

// Closings tells everything that is closed until some object is repaired or
// deleted, in the order of the keys.
func (s *Set) Closings() []Closing {
	if s == nil {
		return nil
	}
	all := slices.Clone(s.demands)
	s.broken.All(func(k Key, o *object) bool {
		if what := closes(o.Object); what != "" {
			all = append(all, Closing{Path: s.prefix + k.String(), Index: o.index, Closes: what, Why: "it can not be read and has no former value"})
		}
		return true
	})
	for _, f := range s.feeds {
		if f.closes(Ingress) || f.closes(Egress) {
			all = append(all, Closing{Path: f.list.key, Closes: closes(f.list.List), Why: "it was not read yet, and no copy of it is kept"})
		}
	}
	slices.SortFunc(all, func(a, b Closing) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Closes, b.Closes)) })
	return slices.Compact(all)
}

// closes names what a stand-in closes, "" if others tell of it: what a plugin, a
// group or a mapping of them closes depends on where it is mapped.
func closes(o Object) string {
	switch x := o.(type) {
	case *List:
		what := map[Direction]string{Ingress: "the gateway", Egress: "the egress", Both: "the gateway and the egress"}[x.Direction]
		if x.Allow {
			what += " but for what other whitelists admit"
		}
		return what
	case *ACL:
		if x.API == "" {
			return "every API"
		}
		return "API " + x.API
	case *API:
		if slices.Contains(x.Filters, anyFilter) {
			return "API " + x.Name + ", and every request that no mapping or other filter routes"
		}
		return "API " + x.Name
	case *Mapping:
		return "domain " + x.Domain
	case *Filter:
		return "what it grants or routes"
	}
	return ""
}

// demanded is the closing of a mapping whose plugins are not known.
func demanded(api string, why Rule) Closing {
	what := "every API without a key"
	if api != "" {
		what = "API " + api + " without a key"
	}
	return Closing{Path: why.Key, Index: why.Index, Closes: what, Why: why.Note}
}

// compileClosed finds what closes a listener as a whole.
func (s *Set) compileClosed() (closed [2][]Rule) {
	s.broken.All(func(k Key, o *object) bool {
		rule := shut(true, Rule{Key: s.prefix + k.String(), Index: o.index})
		ingress, outgoing := false, false
		switch x := o.Object.(type) {
		case *List:
			ingress, outgoing = !x.Allow && x.Direction.covers(Ingress), !x.Allow && x.Direction.covers(Egress)
		case *ACL:
			ingress = x.API == ""
		}
		if ingress {
			closed[gateway] = append(closed[gateway], rule)
		}
		if outgoing {
			closed[egress] = append(closed[egress], rule)
		}
		return true
	})
	for _, f := range s.feeds {
		rule := shut(true, Rule{Key: f.list.key})
		if f.closes(Ingress) {
			closed[gateway] = append(closed[gateway], rule)
		}
		if f.closes(Egress) {
			closed[egress] = append(closed[egress], rule)
		}
	}
	for i := range closed {
		slices.SortFunc(closed[i], func(a, b Rule) int { return cmp.Compare(a.Key, b.Key) })
	}
	return closed
}
