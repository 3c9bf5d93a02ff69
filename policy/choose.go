package policy

import "cmp"

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
	if len(d.set.plugins) == 0 {
		return nil, nil
	}
	var c choice
	d.lookAll(kind, &c, nil)
	if c.unsure {
		sure := c
		d.lookAll(kind, &c, &sure)
		d.doubtful = kind == typeCORS && c.won != sure.won
	}
	return cmp.Or(c.won, c.demand), c.report
}

// lookAll looks where plugins of a type may be that apply. What browsers are told is
// the same under each name of the API.
func (d *decision) lookAll(kind int, c, sure *choice) {
	d.look(d.set.plugins[d.route.API], kind, c, sure)
	if kind == typeCORS && !d.aside {
		if d.route.Alias != "" {
			d.look(d.set.plugins[d.route.Alias], kind, c, sure)
		}
		for i := 0; ; i++ {
			name := d.set.OtherName(&d.route, i)
			if name == "" {
				break
			}
			d.look(d.set.plugins[name], kind, c, sure)
		}
	}
	d.look(d.set.plugins[""], kind, c, sure)
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
		if !x.perhaps && d.set.filtered(x.filters, d.req, toGrant) {
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
		case x.kind == typeCORS: // none is stricter than another: see decision.doubtful
			if *best != certain && !x.beats(*best) {
				continue
			}
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
