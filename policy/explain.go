package policy

import "cmp"

// Recorder is told what a decision does, step by step; it is the explainer of
// contract 5, and the same evaluation that serves traffic. A nil Recorder is
// told nothing and costs nothing.
type Recorder struct {
	Steps    []Step
	Plugins  map[string]PluginUse
	Consumer *ConsumerFact // nil = anonymous
}

// Step is what one step said. A step that was not reached is left out.
type Step struct {
	Step    string `json:"step"`
	Verdict string `json:"verdict"` // pass, deny, would_deny, skip
	Mode    Mode   `json:"mode,omitempty"`
	Rule    *Rule  `json:"rule"` // nil if no single rule spoke
	Note    string `json:"note,omitempty"`
}

// PluginUse is the configuration of a plugin that won (C15).
type PluginUse struct {
	ID        string         `json:"id"`
	WonBy     string         `json:"won_by"`
	Config    map[string]any `json:"config"`
	Remaining map[string]int `json:"remaining,omitempty"`
	Rule      Rule           `json:"rule"`
}

// ConsumerFact is who a request comes from.
type ConsumerFact struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
}

// RouteFact is how a request found its API.
type RouteFact struct {
	By      string `json:"by"` // host, registration, filter, segment
	API     string `json:"api"`
	Service string `json:"service"`
	Claim   string `json:"claim,omitempty"` // by registration: the host as the service claims it
	Rule    *Rule  `json:"rule,omitempty"`
}

// Explain returns a route as an explanation shows it, nil if there is none.
func (t *Route) Explain() *RouteFact {
	if t.By == ByNothing {
		return nil
	}
	return &RouteFact{By: t.By.String(), API: t.API, Service: t.Service, Claim: t.Claim, Rule: t.Rule.pointer()}
}

func (r Rule) pointer() *Rule {
	if r.Key == "" {
		return nil
	}
	return &r
}

func (rec *Recorder) skip(step, note string) {
	if rec != nil {
		rec.Steps = append(rec.Steps, Step{Step: step, Verdict: "skip", Note: note})
	}
}

func (rec *Recorder) pass(step string, rule Rule, note string) {
	if rec != nil {
		rec.Steps = append(rec.Steps, Step{Step: step, Verdict: "pass", Rule: rule.pointer(), Note: note})
	}
}

func (rec *Recorder) deny(step string, v *Verdict) {
	rec.Steps = append(rec.Steps, Step{Step: step, Verdict: "deny", Mode: Enforce, Rule: v.Rule.pointer(), Note: cmp.Or(v.Rule.Note, v.Message)})
}

func (rec *Recorder) would(step string, rule Rule) {
	rec.Steps = append(rec.Steps, Step{Step: step, Verdict: "would_deny", Mode: Report, Rule: rule.pointer(), Note: rule.Note})
}

// recordPlugin records which configuration of a plugin won; won is nil if none did.
// A later call for the same plugin replaces it.
func (rec *Recorder) recordPlugin(name string, won *candidate) {
	if won == nil {
		delete(rec.Plugins, name)
		return
	}
	if rec.Plugins == nil {
		rec.Plugins = make(map[string]PluginUse)
	}
	rec.Plugins[name] = PluginUse{ID: won.ID, WonBy: won.level.String(), Config: won.Shown(), Rule: won.rule()}
}

// remaining adds the state of a rate limit to the plugin noted before.
func (rec *Recorder) remaining(l *Limits) {
	use := rec.Plugins["rate-limiting"]
	use.Remaining = make(map[string]int)
	for _, w := range l.All() {
		use.Remaining[w.Window.String()] = w.Remaining
	}
	rec.Plugins["rate-limiting"] = use
}

func (rec *Recorder) identity(c *liveConsumer) {
	rec.Consumer = &ConsumerFact{Name: c.Name, Groups: c.Groups}
}

// keyNote says, for an explanation, why the key of a request identified nobody.
// Who asks an explanation may know; the client is told the same whatever it
// was, or it could try keys and learn which are known.
func (d *decision) keyNote(key presented) string {
	if d.rec == nil {
		return ""
	}
	switch c, ok := d.set.credentials.Get(digestHash(&key.digest), key.digest); {
	case !key.found:
		return "no key was sent"
	case key.twice:
		return "a key was sent twice, so that it is nobody's"
	case !ok:
		return "a key was sent that is not known"
	case !c.NotAfter.IsZero() && !d.req.Now.Before(c.NotAfter):
		return "a key was sent that ran out at " + c.NotAfter.UTC().Format("2006-01-02 15:04:05 MST")
	default:
		return "a key was sent whose consumer " + c.Consumer + " does not exist"
	}
}

// explainKey adds the note to what the step said last.
func (d *decision) explainKey(key presented) {
	if d.rec != nil && len(d.rec.Steps) > 0 {
		last := &d.rec.Steps[len(d.rec.Steps)-1]
		last.Note += ": " + d.keyNote(key)
	}
}
