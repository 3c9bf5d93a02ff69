package policy

import "slices"

// compilePlugins files every plugin where it applies. It is done anew when a
// plugin, a mapping or a group changes, which is rare and never grows with
// consumers, credentials or lists.
func (b *Builder) compilePlugins() (map[string]*apiPlugins, []Closing) {
	all := make(map[string]*apiPlugins)
	at := func(api string) *apiPlugins {
		if all[api] == nil {
			all[api] = new(apiPlugins)
		}
		return all[api]
	}
	var closings []Closing
	demand := func(api string, filters []string, why Rule) {
		at(api).demand(filters, why)
		closings = append(closings, demanded(api, why))
	}
	mapped := make(map[string]bool)
	for _, m := range sortedValues(b.mappings) {
		base := levelGlobal
		if m.API != "" {
			base = levelAPI
		}
		ids, groups := b.expand(m.PluginMapping)
		for _, why := range b.unknown(m, ids) {
			demand(m.API, m.Filters, why)
		}
		for _, id := range ids {
			mapped[id] = true
			if p := b.plugins[id]; p != nil && !p.broken && !m.broken && p.enabled() {
				at(m.API).file(p, m.PluginMapping, groups, base)
			}
		}
	}
	blind := b.blind()
	for _, p := range sortedValues(b.plugins) {
		switch {
		case !p.enabled() || mapped[p.ID] || p.Global != nil && !*p.Global:
		case p.broken:
			demand("", nil, Rule{Key: p.key, Index: p.index, Note: "the plugin can not be read"})
		default:
			at("").global(p, blind) // C12
		}
	}
	return all, closings
}

// global files a plugin for every API. One that is global only because some
// mapping can not be read must not let more through than what is known.
func (a *apiPlugins) global(p *livePlugin, perhaps bool) {
	a[p.kind].open = append(a[p.kind].open, &candidate{livePlugin: p, level: levelGlobal, perhaps: perhaps})
}

// blind reports whether some plugins may be mapped without anybody knowing.
func (b *Builder) blind() bool {
	for _, m := range b.mappings {
		if m.broken {
			return true
		}
	}
	for _, g := range b.groups {
		if g.broken {
			return true
		}
	}
	return false
}

// unknown tells why it is not known what a mapping wants: it, a plugin or a
// group can not be read, or a plugin does not exist. Until it is known a key is
// demanded of its API.
func (b *Builder) unknown(m *mappedPlugins, ids []string) (why []Rule) {
	add := func(r Rule, note string) {
		r.Note = note
		why = append(why, r)
	}
	if m.broken {
		add(m.rule, "the plugin mapping can not be read")
		return why
	}
	for _, id := range ids {
		switch p := b.plugins[id]; {
		case p == nil:
			add(m.rule, "there is no plugin "+id)
		case p.broken:
			add(Rule{Key: p.key, Index: p.index}, "the plugin can not be read")
		}
	}
	for _, name := range m.Groups {
		switch g := b.groups[name]; {
		case g != nil && g.broken:
			add(g.rule, "the group can not be read")
		case g == nil && len(m.Plugins) == 0:
			add(m.rule, "there is no group "+name+" to take plugins from")
		}
	}
	return why
}

// demand files a demand for a key for everybody. It yields to every key-auth
// that is known.
func (a *apiPlugins) demand(filters []string, why Rule) {
	p := &livePlugin{Plugin: &Plugin{Name: keyAuth{}.name(), Mode: Enforce}, key: why.Key, index: why.Index,
		kind: typeKeyAuth, config: &keyAuthConfig{names: keyNames}, note: why.Note + ", so a key is demanded"}
	a[typeKeyAuth].open = append(a[typeKeyAuth].open, &candidate{livePlugin: p, filters: refs(filters)})
}

func (p *Plugin) enabled() bool { return p.Enabled == nil || *p.Enabled }

// expand returns the plugins of a mapping with those of its groups, and the
// groups that narrow it: one that holds only plugins does not (C13).
func (b *Builder) expand(m *PluginMapping) (ids, groups []string) {
	ids = slices.Clone(m.Plugins)
	for _, name := range m.Groups {
		g := b.groups[name]
		members, _ := b.set.members.Get(hashString(name), name)
		if g == nil || len(g.Plugins) == 0 || members > 0 {
			groups = append(groups, name)
		}
		if g != nil {
			ids = append(ids, g.Plugins...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), groups
}

// compileTokenRules collects the rules of the plugins jwt that are enabled.
func (b *Builder) compileTokenRules() (all []*TokenRules) {
	for _, p := range sortedValues(b.plugins) {
		if c, ok := p.config.(*jwtConfig); ok && p.enabled() {
			all = append(all, &c.TokenRules)
		}
	}
	return all
}
