package replay

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lictor/policy"
)

// Report is what a replay found.
type Report struct {
	Records int       `json:"records"`
	From    time.Time `json:"from"` // of the first record
	To      time.Time `json:"to"`   // of the last one
	Closes  int       `json:"closes"`
	Opens   int       `json:"opens"`
	Same    int       `json:"same"`
	Unknown int       `json:"unknown"`
	Groups  []Group   `json:"groups"` // of all but those that stay the same, what closes first
	Left    Left      `json:"left_out"`
	Sampled bool      `json:"sampled"` // the log holds a share of the decisions
	Partial bool      `json:"partial"` // time was up before the end of the log

	Changed int      `json:"changed_rules"` // of the two policies; without a former one all of the policy
	Silent  []string `json:"not_exercised"` // of them, those that spoke for no record
}

// Left counts lines that are no records.
type Left struct {
	Garbage  int `json:"garbage"`  // torn, or not of the log
	Versions int `json:"versions"` // of other versions
}

// Group is the decisions of one class that one rule makes the difference for.
type Group struct {
	Class     Class    `json:"class"`
	Count     int      `json:"count"`
	Rule      string   `json:"rule,omitempty"` // of the policy that refuses; "" = the lack of a rule does
	Entry     string   `json:"entry,omitempty"`
	Removed   bool     `json:"removed,omitempty"` // the policy has the rule no more
	Why       string   `json:"why"`               // the reason of the refusal, or why nobody can tell
	Consumers []string `json:"consumers"`         // names of some; "anonymous" is nobody
	More      bool     `json:"more,omitempty"`    // there are further consumers
	Example   Example  `json:"example"`
}

// Example is one decision of a group.
type Example struct {
	Listener string `json:"listener"`
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	ID       string `json:"request_id"`
}

// Bounds of a report.
const (
	maxGroups    = 1000 // of what is more, the reason alone is told
	maxConsumers = 5    // of a group
)

// tally is what one goroutine counts.
type tally struct {
	report Report
	groups map[groupKey]*Group
	spoken map[ruleName]bool
	wanted map[ruleName]bool // rules that have not spoken yet

	// Of wanted, those of which only the steps of a decision tell: how many may have a
	// say anywhere, and of each policy how many for an API. A look at all of wanted for
	// each record would cost more than the record.
	anywhere int
	steps    map[*Policy]map[string]int
}

type groupKey struct {
	class      Class
	rule, text string
	entry      string
}

type ruleName struct{ key, entry string }

func newTally(rules []policy.Rule, policies ...*Policy) *tally {
	t := &tally{groups: make(map[groupKey]*Group), spoken: make(map[ruleName]bool), wanted: make(map[ruleName]bool), steps: make(map[*Policy]map[string]int)}
	for _, p := range policies {
		t.steps[p] = make(map[string]int)
	}
	for _, r := range rules {
		if n := (ruleName{r.Key, r.Entry}); !t.wanted[n] {
			t.wanted[n] = true
			t.countSteps(r.Key, 1)
		}
	}
	return t
}

// countSteps adds to the numbers of rules of which only steps tell.
func (t *tally) countSteps(rule string, n int) {
	key, _ := policy.ParseKey(rule)
	switch key.Kind {
	case policy.KindPlugins, policy.KindWhitelist:
		t.anywhere += n
	case policy.KindACLs:
		for p, apis := range t.steps {
			if api, ok := p.acls[key.Name]; ok {
				apis[api] += n
			}
		}
	}
}

// group returns the group of a verdict, which it makes of the record if there is none.
func (t *tally) group(v *verdict, r *Record, consumer string, removed bool) *Group {
	k := groupKey{v.class, v.rule.Key, v.why, v.rule.Entry}
	if k.rule != "" {
		k.text = "" // one rule may refuse for several reasons, of which the first is told
	}
	g := t.groups[k]
	if g == nil && len(t.groups) >= maxGroups {
		k = groupKey{class: v.class, text: v.why}
		g = t.groups[k]
	}
	if g == nil {
		g = &Group{Class: v.class, Rule: strings.Clone(k.rule), Entry: strings.Clone(k.entry), Removed: removed && k.rule != "", Why: strings.Clone(v.why),
			Example: Example{strings.Clone(r.Listener), strings.Clone(r.Method), strings.Clone(r.Host), strings.Clone(r.Path), strings.Clone(r.ID)}}
		t.groups[groupKey{k.class, g.Rule, strings.Clone(k.text), g.Entry}] = g
	}
	g.consumer(consumer)
	return g
}

func (g *Group) consumer(name string) {
	switch {
	case slices.Contains(g.Consumers, name):
	case len(g.Consumers) == maxConsumers:
		g.More = true
	default:
		g.Consumers = append(g.Consumers, strings.Clone(name))
	}
}

// count counts a record of a class, whose group is g, nil if it stays the same.
func (t *tally) count(class Class, g *Group, at time.Time) {
	r := &t.report
	r.Records++
	switch class {
	case Same:
		r.Same++
	case Closes:
		r.Closes++
	case Opens:
		r.Opens++
	default:
		r.Unknown++
	}
	if g != nil {
		g.Count++
	}
	if r.From.IsZero() || at.Before(r.From) {
		r.From = at
	}
	if at.After(r.To) {
		r.To = at
	}
}

// spoke notes a rule that had a say.
func (t *tally) spoke(key, entry string) {
	n := ruleName{key, entry}
	if t.wanted[n] {
		delete(t.wanted, n)
		t.spoken[n] = true
		t.countSteps(key, -1)
	}
}

// wantsSteps reports whether a rule is wanted of which only the steps of a decision on
// an API tell.
func (t *tally) wantsSteps(p *Policy, api string) bool {
	return t.anywhere > 0 || t.steps[p][api] > 0
}

// merge adds what another goroutine counted.
func (t *tally) merge(o *tally) {
	r, s := &t.report, &o.report
	if !s.From.IsZero() {
		if r.From.IsZero() || s.From.Before(r.From) {
			r.From = s.From
		}
		if s.To.After(r.To) {
			r.To = s.To
		}
	}
	r.Records, r.Same, r.Closes, r.Opens, r.Unknown = r.Records+s.Records, r.Same+s.Same, r.Closes+s.Closes, r.Opens+s.Opens, r.Unknown+s.Unknown
	r.Left.Garbage, r.Left.Versions, r.Sampled = r.Left.Garbage+s.Left.Garbage, r.Left.Versions+s.Left.Versions, r.Sampled || s.Sampled
	for k, g := range o.groups {
		mine := t.groups[k]
		if mine == nil {
			t.groups[k] = g
			continue
		}
		mine.Count += g.Count
		for _, name := range g.Consumers {
			mine.consumer(name)
		}
		mine.More = mine.More || g.More
	}
	for n := range o.spoken {
		t.spoke(n.key, n.entry)
	}
}

// done is the whole report.
func (t *tally) done(changed int) *Report {
	r := &t.report
	r.Groups, r.Silent, r.Changed = []Group{}, []string{}, changed
	for _, g := range t.groups {
		slices.Sort(g.Consumers)
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(slices.Index(classes, a.Class), slices.Index(classes, b.Class)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Why, b.Why))
	})
	for n := range t.wanted {
		r.Silent = append(r.Silent, strings.TrimSpace(strings.TrimPrefix(n.key, "policy/")+" "+n.entry))
	}
	slices.Sort(r.Silent)
	return r
}
