package cases

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lictor/policy"
)

// Result is what became of a case.
type Result struct {
	*Case
	Got      string            // Pass or a reason, as Want
	Problem  string            // why it could not be tried; "" = it was
	Route    *policy.RouteFact // nil = none
	Recorder *policy.Recorder  // each step
}

// Passed reports whether the policy decided as it was to.
func (r *Result) Passed() bool { return r.Problem == "" && r.Got == r.Want }

// Run tries a case on a policy, as the gateway would decide: nothing is contacted,
// and no limit is used up. now is its time, if it names none. A service is taken to
// be there under the name that the path spells.
func Run(set *policy.Set, c *Case, now time.Time) *Result {
	r := &Result{Case: c, Recorder: new(policy.Recorder)}
	if c.Consumer != "" && !set.HasConsumer(c.Consumer) {
		r.Problem = fmt.Sprintf("there is no consumer %q", c.Consumer)
		return r
	}
	if !c.At.IsZero() {
		now = c.At
	}
	path := c.Path
	q := &policy.Request{
		Method: c.Method, Host: c.Host, Port: c.Port, Path: &path, Client: c.From, Names: c.Certificate, Fields: c.Header,
		Length: c.Length, Now: now, Dry: true, As: c.Consumer,
	}
	if c.Country != "" {
		q.Locator = country(c.Country)
	}
	route := set.Route(q)
	if r.Route = route.Explain(); r.Route == nil {
		r.Got = NoService
		return r
	}
	if route.By == policy.BySegment {
		set.Narrow(q, &route)
		r.Route = route.Explain()
	}
	var v policy.Verdict
	set.Decide(q, &route, &v, r.Recorder)
	if r.Got = Pass; !v.Allowed() && v.Action != policy.Answer { // a preflight that lictor answers is not refused
		r.Got = string(v.Reason)
	}
	if r.Got == Pass && (path.TooOdd() || v.Allowed() && path.Climbs(path.Target(route.Stripped))) { // D22
		r.Got = string(policy.ReasonBadPath)
	}
	return r
}

// country says of every address that it is there.
type country string

// Country implements [policy.Locator].
func (c country) Country(netip.Addr) string { return string(c) }

// Coverage tells which rules spoke in some case.
type Coverage struct {
	rules  []policy.Rule
	spoken map[rule]bool
}

// rule is what of a [policy.Rule] names it.
type rule struct{ key, entry string }

// NewCoverage returns the coverage of no case yet. rules are all that there are:
// of lists, each entry.
func NewCoverage(rules []policy.Rule) *Coverage {
	return &Coverage{rules: rules, spoken: make(map[rule]bool)}
}

// Add counts the rules that spoke in a case.
func (c *Coverage) Add(r *Result) {
	if r.Problem != "" {
		return
	}
	spoke := func(by *policy.Rule) {
		if by != nil {
			c.spoken[rule{by.Key, by.Entry}] = true
		}
	}
	for _, s := range r.Recorder.Steps {
		spoke(s.Rule)
	}
	for _, p := range r.Recorder.Plugins {
		spoke(&p.Rule)
	}
	if r.Route != nil {
		spoke(r.Route.Rule)
	}
}

// Silent returns the rules that spoke in no case, in the order of their names.
func (c *Coverage) Silent() []policy.Rule {
	silent := slices.DeleteFunc(slices.Clone(c.rules), func(r policy.Rule) bool { return c.spoken[rule{r.Key, r.Entry}] })
	slices.SortStableFunc(silent, func(a, b policy.Rule) int { return strings.Compare(a.Key+" "+a.Entry, b.Key+" "+b.Entry) })
	return silent
}

// Percent is the share of the rules that spoke, 100 where there are none.
func (c *Coverage) Percent() int {
	if len(c.rules) == 0 {
		return 100
	}
	return 100 * (len(c.rules) - len(c.Silent())) / len(c.rules)
}

// Rules lists what an object says by itself: of a list each entry, of what only
// describes, such as a consumer or a filter, nothing.
func Rules(key policy.Key, o policy.Object) []policy.Rule {
	name := "policy/" + string(key.Kind) + "/" + key.Name
	switch o := o.(type) {
	case *policy.List:
		if o.Direction == policy.Egress || o.Allow && o.Direction == "" {
			return nil // cases are requests to the gateway
		}
		var all []policy.Rule
		for _, e := range o.Entries {
			all = append(all, policy.Rule{Key: name, Entry: e})
		}
		return all
	case *policy.Plugin:
		if o.Enabled != nil && !*o.Enabled {
			return nil
		}
		return []policy.Rule{{Key: name}}
	case *policy.ACL, *policy.API, *policy.Mapping:
		return []policy.Rule{{Key: name}}
	}
	return nil
}
