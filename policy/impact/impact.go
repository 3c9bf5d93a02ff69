// Package impact proves what a change of a policy opens and closes (R3).
//
// It does not try a sample. Rules compare a request with a finite number of things:
// methods, hosts and what lies below them, ports, prefixes of paths and of
// addresses, countries, and what consumers are called. Requests that all of these
// treat alike are one class, and both policies decide all requests of a class
// alike. So [Compare] asks the evaluator that serves, once for each policy, about
// one representative of each class, and knows the answer for every request.
//
// What makes it finite and fast, each proven where it is done:
//
//   - Only what the change can touch is cut: see scope.
//   - Each request is on one road (its first segment, or the mapping that has its
//     host), and is cut only by the rules that it can meet there: see road.
//   - What entries of blacklists that stay refuse by an address, a host or a path
//     alone is refused in both policies, and is no class: see closed.
//   - What a path is read as besides is a set of readings: see paths.
//
// The package knows no network, no logger and no clock. When keys run out is left
// out, and so is what no dry question decides: see [Report.Aside].
package impact

import (
	"cmp"
	"slices"

	"lictor/policy"
)

// MaxClasses is how many classes of one road are decided on, and MaxTotal how many of
// all roads together. Where there would be more the report says so, and proves nothing
// of that road. A class takes some 2 µs, so that all take less than a minute.
const (
	MaxClasses = 5_000_000
	MaxTotal   = 20_000_000
)

// Options are what the configuration says about the policy, and bounds.
type Options struct {
	Prefix        string // of keys, in the changes as well as in a store; "" = none
	BindConsumers bool   // C6
	MaxClasses    int    // of a road; 0 = [MaxClasses]
	MaxTotal      int    // of all roads; 0 = [MaxTotal]
}

// Effect is what a change does to a class of requests.
type Effect string

const (
	Same   Effect = ""       // both policies let it pass, or both refuse it
	Opens  Effect = "OPENS"  // it is let pass from then on
	Closes Effect = "CLOSES" // it is refused from then on
)

// Compare proves what it does if the objects of was are replaced by those of is,
// each given as [policy.Builder] takes them: the whole policy, without deletions.
// It completes objects in place, as a Builder does, and keeps them. It blocks for
// as long as the classes take: some 2 µs each.
func Compare(was, is []policy.Change, o Options) *Report {
	a, b := newSide(was), newSide(is)
	rep := &Report{cuts: make(map[string]*cut)}
	if rep.unreadable(a, b) {
		return rep
	}
	c := newScope(a, b, o.BindConsumers)
	w := newWorld(a, b, c)
	rep.world = w
	for k := range c.changed {
		rep.Changed = append(rep.Changed, o.Prefix+k.String())
	}
	slices.Sort(rep.Changed)
	rep.ClosedEntries = w.closed.entries
	rep.causes, rep.prefix = a.compile(b, c, o), o.Prefix
	roads := w.roads()
	w.names(roads)
	most, left := float64(cmp.Or(o.MaxClasses, MaxClasses)), float64(cmp.Or(o.MaxTotal, MaxTotal))
	for _, r := range roads {
		if len(c.changed) > 0 && r.inReach() {
			left -= float64(rep.prove(r, most, left))
		}
	}
	rep.aside(a, b, c)
	rep.tell()
	return rep
}

// compile makes both sets: the second one by the changes alone. Keys of consumers
// are left out, for a dry question shows none.
func (s *side) compile(is *side, c *scope, o Options) *causes {
	b := policy.NewBuilder(policy.Options{Prefix: o.Prefix, BindConsumers: o.BindConsumers})
	var first, then []policy.Change
	for k, x := range s.objects {
		if k.Kind != policy.KindCredentials {
			first = append(first, *x)
		}
	}
	for k := range c.changed {
		switch x := is.objects[k]; {
		case k.Kind == policy.KindCredentials:
		case x == nil:
			then = append(then, policy.Change{Key: k})
		default:
			then = append(then, *x)
		}
	}
	s.set, _ = b.Apply(1, first)
	is.set, _ = b.Apply(2, then)
	return newCauses(b, s, is, c)
}

// names notes which first segments have a road of their own.
func (w *world) names(roads []*road) {
	w.segments = make(map[string]bool)
	for _, r := range roads {
		if r.kind == bySegment && r.key != "/" {
			w.segments[r.segment] = true
		}
	}
}

// prove asks both policies about each class of a road, of which there are most, and no
// more than left, and returns how many these are.
func (rep *Report) prove(r *road, most, left float64) int {
	x := newCut(rep.world, r, most)
	proof := Proof{Road: r.title()}
	switch {
	case x.paths == nil:
		return 0
	case x.size() > most:
		proof.Would, proof.Missing = x.paths.would*x.times(), "would need more classes than are decided on"
		rep.Roads = append(rep.Roads, proof)
		return 0
	case x.size() > left:
		proof.Would, proof.Missing = x.size(), "would need more classes than are left of those that are decided on of all APIs together"
		rep.Roads = append(rep.Roads, proof)
		return 0
	case x.paths.partial:
		proof.Would, proof.Missing = x.paths.would*x.times(), "paths that can be read in several ways are not decided on: they would need more classes"
	}
	rep.cuts[r.key] = x
	before, after := newQuestion(x, r.w.was), newQuestion(x, r.w.is)
	differ := newBoxer(maxCells)
	proof.Classes = x.each(func(c cell) {
		before.set(c, func(p *person) string { return p.was })
		after.set(c, func(p *person) string { return p.is })
		was, is := before.ask(), after.ask()
		switch {
		case was.passes && is.passes:
			rep.moves(&was, &is)
		case was.passes != is.passes:
			differ.add(rep.group(&was, &is, before, after), c)
		}
	})
	if proof.Classes > 0 || proof.Missing != "" {
		rep.Roads = append(rep.Roads, proof)
	}
	x.boxes = differ.done()
	return proof.Classes
}
