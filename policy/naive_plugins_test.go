package policy_test

import (
	"slices"

	"lictor/policy"
)

// offer is a plugin in one place where it applies.
type offer struct {
	*policy.Plugin
	size float64
	rank []float64
	sure bool // whatever the reading of the request
}

// winner finds the configuration of a plugin that wins (C15): the best that
// fits in every reading, unless one that fits in some would win and is stricter.
func (n *naive) winner(kind, api string, c *policy.Consumer, r *policy.Request, report bool) *policy.Plugin {
	offers, demanded := n.offers(kind, api, c, r, report)
	var sure, won *offer
	for i := range offers {
		if o := &offers[i]; o.sure && (sure == nil || slices.Compare(o.rank, sure.rank) > 0) {
			sure = o
		}
	}
	won = sure
	for i := range offers {
		o := &offers[i]
		if o.sure || sure != nil && slices.Compare(o.rank, sure.rank) < 0 {
			continue
		}
		if kind == "cors" {
			return &doubtful
		}
		if won == nil || o.size < won.size || won != sure && o.size == won.size && slices.Compare(o.rank, won.rank) > 0 {
			won = o
		}
	}
	switch {
	case won != nil:
		return won.Plugin
	case demanded:
		return &policy.Plugin{}
	}
	return nil
}

// offers are all places where plugins of a type apply, and whether a key is
// demanded as a mapping names plugins that do not exist.
func (n *naive) offers(kind, api string, c *policy.Consumer, r *policy.Request, report bool) (offers []offer, demanded bool) {
	put := func(p *policy.Plugin, level float64, sure bool) {
		if p == nil || p.Name != kind || p.Enabled != nil && !*p.Enabled || (p.Mode == policy.Report) != report {
			return
		}
		o := offer{Plugin: p, sure: sure}
		switch p.Name {
		case "rate-limiting":
			o.size = float64(p.Config["minute"].(int64))
		case "request-size-limiting":
			o.size = float64(p.Config["allowed_payload_size"].(int64))
		}
		o.rank = []float64{level, o.size, -float64(n.created["plugins/"+p.ID])}
		offers = append(offers, o)
	}
	used := map[string]bool{}
	for _, m := range n.mapped {
		ids, scope := n.expand(m)
		level := 0.0
		for _, id := range ids {
			used[id] = true
		}
		if m.API != "" && m.API != api || !n.filtersFit(m.Filters, r, "restrict") {
			continue
		}
		sure := n.filtersFit(m.Filters, r, "grant")
		demanded = demanded || kind == "key-auth" && !report && n.unknown(m, ids)
		if m.API != "" {
			level += 2
		}
		if len(m.Filters) > 0 {
			level++
		}
		for _, id := range ids {
			if len(m.Consumers)+len(scope) == 0 {
				put(n.plugins[id], level, sure)
			}
			if n.is(c, m.Consumers) {
				put(n.plugins[id], level+8, sure)
			}
			if in(c, scope) {
				put(n.plugins[id], level+4, sure)
			}
		}
	}
	for id, p := range n.plugins {
		if !used[id] && (p.Global == nil || *p.Global) {
			put(p, 0, true)
		}
	}
	return offers, demanded
}

// unknown reports whether a mapping names a plugin, or takes all its plugins from
// a group, that does not exist.
func (n *naive) unknown(m *policy.PluginMapping, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return n.plugins[id] == nil }) ||
		len(m.Plugins) == 0 && slices.ContainsFunc(m.Groups, func(g string) bool { return n.groups[g] == nil })
}

// beats reports whether a plugin in report mode would win over one in force.
func (n *naive) beats(tried, enforced *policy.Plugin, api string, c *policy.Consumer, r *policy.Request) bool {
	best := func(p *policy.Plugin, report bool) (rank []float64) {
		offers, _ := n.offers(p.Name, api, c, r, report)
		for _, o := range offers {
			if o.Plugin == p && slices.Compare(o.rank, rank) > 0 {
				rank = o.rank
			}
		}
		return rank
	}
	return slices.Compare(best(tried, true), best(enforced, false)) > 0
}
