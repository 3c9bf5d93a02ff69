package policy

import "slices"

// The plugin types, in the order in which they run: cors before all else, for
// every answer has its fields, those that say who it is before the ACL, the others
// after it. [decision] names the first three where it runs them; afterACL runs all
// that stand behind jwt.
const (
	typeCORS = iota
	typeKeyAuth
	typeJWT
	typeRequestSizeLimiting
	typeRequestTermination
	typeRateLimiting // a limit is used up only by what passes all before it
	typeForwardAuth  // last: nobody is asked about what is refused anyway, nor more often than limits allow
	nPluginTypes
)

// A plugin type is one file: its configuration, what beats what, and what it
// does to a request. To add one, write the file and name it above and here. Tests
// tell what else it needs: docs/plugins.md and a page, a word in policy/impact, the
// reference (make docs), and the same once more in naive_decide_test.go.
var pluginTypes = [nPluginTypes]pluginType{
	typeCORS:                cors{},
	typeKeyAuth:             keyAuth{},
	typeJWT:                 jwtAuth{},
	typeRequestSizeLimiting: requestSizeLimiting{},
	typeRequestTermination:  requestTermination{},
	typeRateLimiting:        rateLimiting{},
	typeForwardAuth:         forwardAuth{},
}

type pluginType interface {
	// name is what Plugin.Name says.
	name() string

	// settings is the table of its configuration.
	settings() []Field

	// compile reads a configuration and reports what is wrong with it. What it
	// returns is immutable and given back to the other methods.
	compile(config map[string]any, wrong wrongFunc) any

	// compare orders two configurations that are equally specific: positive if
	// a lets more through and is to win over b; 0 lets the older one win (C15).
	compare(a, b any) int

	// run applies the plugin. won is the configuration that won, nil if none
	// applies; report is one in report mode that would have won, nil if none.
	// It reports whether the request may go on; if not, it has called d.deny. What
	// it does besides refusing goes into d's Verdict, which the gateway acts upon
	// (proxy/gateway/fields.go). It runs again when a policy changes under a
	// request that lasts (d.facts), and for each other API that the path can be
	// read as one of (d.aside): that one may refuse, but what it gives the request is
	// not the request's, and Verdict.restore takes it back.
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
	sum     uint32 // of what it does, for [Rests]
	broken  bool   // stands in for one that can not be read
	tally   *Tally
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
	perhaps bool // it may be mapped elsewhere, where that can not be read
}

// slot holds the candidates of one plugin type for one API, filed by subject.
type slot struct {
	open      []*candidate // for everybody
	consumers map[string][]*candidate
	groups    map[string][]*candidate

	scopedNames [][]string // where key-auth finds the keys of consumers and groups
}

func (s *slot) scoped() bool { return len(s.consumers)+len(s.groups) > 0 }

// all calls f with every candidate, until it returns false.
func (s *slot) all(f func(*candidate) bool) {
	for _, c := range s.open {
		if !f(c) {
			return
		}
	}
	for _, filed := range [...]map[string][]*candidate{s.consumers, s.groups} {
		for _, list := range filed {
			for _, c := range list {
				if !f(c) {
					return
				}
			}
		}
	}
}

// apiPlugins are the candidates of one API, or of every API. Immutable.
type apiPlugins [nPluginTypes]slot

// file adds a candidate at each place its mapping names.
func (a *apiPlugins) file(p *livePlugin, m *PluginMapping, groups []string, base level) {
	c := candidate{livePlugin: p, level: base, filters: refs(m.Filters)}
	if len(m.Filters) > 0 {
		c.level += levelFilter
	}
	s := &a[p.kind]
	if len(m.Consumers)+len(groups) == 0 {
		s.open = append(s.open, &c)
		return
	}
	if p.kind == typeCORS {
		return // nobody is identified when it is chosen
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

// plugin runs one plugin type.
func (d *decision) plugin(kind int) bool {
	won, report := d.choose(kind)
	if report != nil && won != nil && !report.beats(won) {
		report = nil
	}
	if d.rec != nil {
		d.rec.recordPlugin(pluginTypes[kind].name(), won)
	}
	if won != nil {
		d.verdict.Rests.plugins[kind] = won.sum
	}
	d.would = false
	passes := pluginTypes[kind].run(d, won.live(), report.live())
	switch {
	case won == nil:
	case !passes:
		d.verdict.speaks(won.tally, hasRefused)
	case !slices.Contains(d.verdict.asks[:d.verdict.nasks], won.livePlugin): // else it is the answer that counts
		d.verdict.speaks(won.tally, hasPassed)
	}
	if report != nil && d.would {
		d.verdict.speaks(report.tally, wouldRefuse)
	}
	return passes
}

// live returns the configuration of a candidate, nil of none.
func (x *candidate) live() *livePlugin {
	if x == nil {
		return nil
	}
	return x.livePlugin
}
