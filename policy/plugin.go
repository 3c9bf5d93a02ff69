package policy

import (
	"cmp"
	"slices"
)

// A plugin type is one file: its configuration, what beats what, and what it
// does to a request. To add one, write the file and name it here.
var pluginTypes = [...]pluginType{keyAuth{}, rateLimiting{}}

const (
	typeKeyAuth = iota
	typeRateLimiting
	nPluginTypes
)

type pluginType interface {
	// name is what Plugin.Name says.
	name() string

	// compile reads a configuration and reports what is wrong with it. What it
	// returns is immutable and given back to the other methods.
	compile(config map[string]any, wrong wrongFunc) any

	// compare orders two configurations that are equally specific: positive if
	// a lets more through and is to win over b; 0 lets the older one win (C15).
	compare(a, b any) int

	// run applies the plugin. won is the configuration that won, nil if none
	// applies; report is one in report mode that would have won, nil if none.
	// It reports whether the request may go on; if not, it has called d.deny.
	run(d *decision, won, report *livePlugin) bool
}

// pluginTypeOf returns the number of a type, -1 if there is none.
func pluginTypeOf(name string) int {
	for i, t := range pluginTypes {
		if t.name() == name {
			return i
		}
	}
	return -1
}

// livePlugin is a plugin configuration in force.
type livePlugin struct {
	*Plugin
	key     string
	index   uint64
	created uint64
	kind    int // index into pluginTypes
	config  any
	broken  bool   // stands in for one that can not be read
	note    string // of a demand: why a key is demanded though no plugin says so
}

func (p *livePlugin) rule() Rule { return Rule{Key: p.key, Index: p.index, Note: p.note} }

// mappedPlugins is a plugin mapping in force.
type mappedPlugins struct {
	*PluginMapping
	rule   Rule
	broken bool // stands in for one that can not be read
}

// pluginGroup is a group in force.
type pluginGroup struct {
	*Group
	rule   Rule
	broken bool // stands in for one that can not be read
}

// level is how specific a candidate is: the sum of what its mapping says, so
// that consumer > group > API > filter > global (C15), and of two that name a
// group the one that names the API as well.
type level uint8

const (
	levelGlobal   level = 0
	levelFilter   level = 1
	levelAPI      level = 2
	levelGroup    level = 4
	levelConsumer level = 8
)

// String returns the name used in explanations.
func (l level) String() string {
	switch {
	case l >= levelConsumer:
		return "consumer"
	case l >= levelGroup:
		return "group"
	case l >= levelAPI:
		return "api"
	case l >= levelFilter:
		return "filter"
	}
	return "global"
}

// candidate is a plugin configuration in one place where it applies.
type candidate struct {
	*livePlugin
	level   level
	filters []ref
}

// slot holds the candidates of one plugin type for one API, filed by subject.
type slot struct {
	open      []*candidate // for everybody
	consumers map[string][]*candidate
	groups    map[string][]*candidate

	scopedNames [][]string // where key-auth finds the keys of consumers and groups
}

func (s *slot) scoped() bool { return len(s.consumers)+len(s.groups) > 0 }

// apiPlugins are the candidates of one API, or of every API. Immutable.
type apiPlugins [nPluginTypes]slot

// file adds a candidate at each place its mapping names.
func (a *apiPlugins) file(p *livePlugin, m *PluginMapping, groups []string, base level) {
	c := candidate{livePlugin: p, level: base}
	if m == nil {
		a[p.kind].open = append(a[p.kind].open, &c)
		return
	}
	c.filters = refs(m.Filters)
	if len(m.Filters) > 0 {
		c.level += levelFilter
	}
	s := &a[p.kind]
	if len(m.Consumers)+len(groups) == 0 {
		s.open = append(s.open, &c)
		return
	}
	if s.consumers == nil {
		s.consumers, s.groups = make(map[string][]*candidate), make(map[string][]*candidate)
	}
	s.addNames(p)
	byConsumer, byGroup := c, c
	byConsumer.level += levelConsumer
	byGroup.level += levelGroup
	for _, name := range m.Consumers {
		s.consumers[name] = append(s.consumers[name], &byConsumer)
	}
	for _, name := range groups {
		s.groups[name] = append(s.groups[name], &byGroup)
	}
}

// choice is the best candidate so far, and the best if those in report mode
// are counted too.
type choice struct {
	won, report *candidate
	demand      *candidate // of a key, where plugins are not known
	unsure      bool       // some candidate fits in some readings of the request only
}

// choose finds the configuration of a plugin type that wins for a request
// (C15), with what is known of the consumer now.
func (d *decision) choose(kind int) (won, report *candidate) {
	api, every := d.set.plugins[d.route.API], d.set.plugins[""]
	if api == nil && every == nil {
		return nil, nil
	}
	var c choice
	d.look(api, kind, &c, nil)
	d.look(every, kind, &c, nil)
	if c.unsure {
		sure := c
		d.look(api, kind, &c, &sure)
		d.look(every, kind, &c, &sure)
	}
	return cmp.Or(c.won, c.demand), c.report
}

// look goes through all candidates of an API that may apply to who asks: for
// those that fit for certain, or, once they are known, for stricter ones.
func (d *decision) look(a *apiPlugins, kind int, c, sure *choice) {
	if a == nil {
		return
	}
	s := &a[kind]
	d.consider(c, sure, s.open)
	if d.who == nil || !s.scoped() {
		return
	}
	d.consider(c, sure, s.consumers[d.who.ID])
	if d.namesItself() {
		d.consider(c, sure, s.consumers[d.who.Name])
	}
	for _, g := range d.who.Groups {
		d.consider(c, sure, s.groups[g])
	}
}

func (c *choice) of(x *candidate) **candidate {
	if x.Mode.Reports() {
		return &c.report
	}
	return &c.won
}

// consider looks for the best of the candidates that fit for certain.
func (d *decision) consider(c, sure *choice, list []*candidate) {
	if sure != nil {
		d.tighten(c, sure, list)
		return
	}
	for _, x := range list {
		if x.note != "" {
			if c.demand == nil && d.set.filtered(x.filters, d.req, toRestrict) {
				c.demand = x
			}
			continue
		}
		best := c.of(x)
		if *best != nil && !x.beats(*best) {
			continue
		}
		if d.set.filtered(x.filters, d.req, toGrant) {
			*best = x
		} else {
			c.unsure = c.unsure || d.set.filtered(x.filters, d.req, toRestrict)
		}
	}
}

// tighten lets a candidate win that may fit, for some backend may read the
// request so, if it would win then and lets less through: which reading is the
// right one is the client's choice, so it is the strictest.
func (d *decision) tighten(c, sure *choice, list []*candidate) {
	for _, x := range list {
		best, certain := c.of(x), *sure.of(x)
		switch {
		case x.note != "":
			continue
		case certain != nil && !x.beats(certain):
			continue
		case *best == nil, x.tighter(*best):
		case *best == certain || (*best).tighter(x) || !x.beats(*best):
			continue
		}
		if d.set.filtered(x.filters, d.req, toRestrict) {
			*best = x
		}
	}
}

// tighter reports whether x lets less through than y.
func (x *candidate) tighter(y *candidate) bool {
	return pluginTypes[x.kind].compare(x.config, y.config) < 0
}

// beats reports whether x wins over y (C15).
func (x *candidate) beats(y *candidate) bool {
	return cmp.Or(
		cmp.Compare(x.level, y.level),
		pluginTypes[x.kind].compare(x.config, y.config),
		cmp.Compare(y.created, x.created),
		cmp.Compare(y.ID, x.ID)) > 0
}

// plugin runs one plugin type.
func (d *decision) plugin(kind int) bool {
	won, report := d.choose(kind)
	if report != nil && won != nil && !report.beats(won) {
		report = nil
	}
	if d.rec != nil {
		d.rec.plugin(pluginTypes[kind].name(), won)
	}
	return pluginTypes[kind].run(d, won.plugin(), report.plugin())
}

func (x *candidate) plugin() *livePlugin {
	if x == nil {
		return nil
	}
	return x.livePlugin
}

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
	for _, p := range sortedValues(b.plugins) {
		switch {
		case !p.enabled() || mapped[p.ID] || p.Global != nil && !*p.Global:
		case p.broken:
			demand("", nil, Rule{Key: p.key, Index: p.index, Note: "the plugin can not be read"})
		default:
			at("").file(p, nil, nil, levelGlobal) // C12
		}
	}
	return all, closings
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

func (p *livePlugin) enabled() bool { return p.Enabled == nil || *p.Enabled }

// expand returns the plugins of a mapping with those of its groups, and the
// groups that narrow it: one that holds only plugins does not (C13).
func (b *Builder) expand(m *PluginMapping) (ids, groups []string) {
	ids = slices.Clone(m.Plugins)
	for _, name := range m.Groups {
		g := b.groups[name]
		members, _ := b.set.members.get(hashString(name), name)
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
