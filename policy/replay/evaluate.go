package replay

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/middleware"
)

// outcome is what a policy makes of a record.
type outcome struct {
	passed  bool
	unknown string // why nobody can tell; "" = it is known
	rule    policy.Rule
	reason  string
}

func unknown(why string) outcome { return outcome{unknown: why} }

// evaluator tries one record after the other. It belongs to one goroutine.
type evaluator struct {
	policy *Policy
	other  *Policy          // with which it is compared; nil = the log
	fresh  bool             // policy knows keys that other does not
	rec    *policy.Recorder // nil: the steps are not wanted
	routed policy.Rule      // that chose the route of the last request
	api    string           // of the last request
	spoken []policy.Rule    // that refused the last request, or would have

	record  *Record
	head    *Head
	request policy.Request
	missing string // the first thing that was asked for and is not recorded
	seen    middleware.Request
}

func newEvaluator(p, other *Policy) *evaluator {
	return &evaluator{policy: p, other: other, fresh: p.freshKeys(other)}
}

// lacks notes that something is not recorded.
func (e *evaluator) lacks(what string) {
	if e.missing == "" {
		e.missing = what
	}
}

// Field implements policy.Fields.
func (e *evaluator) Field(name string) (value string, count int) {
	if strings.EqualFold(name, "Origin") || strings.EqualFold(name, "Access-Control-Request-Method") {
		if e.record.Preflight {
			return "null", 1
		}
		return "", 0
	}
	e.lacks("the policy reads " + name + ", not recorded")
	return "", 0
}

// ClaimOf implements policy.Hosts.
func (e *evaluator) ClaimOf(string) (service, claim string) {
	r := e.record
	switch {
	case r.By == "registration":
		return r.Service, r.Claim
	case len(r.Claimed) == 2:
		return r.Claimed[0], r.Claimed[1]
	}
	return "", ""
}

// Country implements policy.Locator.
func (e *evaluator) Country(netip.Addr) string {
	if !e.record.KnowsCountry {
		e.lacks("the country of the client is not recorded")
	}
	return e.record.Country
}

// Key implements policy.Shown.
func (e *evaluator) Key(names []string) (name string, digest [32]byte, twice bool) {
	r := e.record
	for _, n := range names {
		switch i := slices.Index(r.KeyNames, n); {
		case n == r.Key && r.Key != "":
			return e.key(n)
		case i < 0 || r.Key != "" && i > slices.Index(r.KeyNames, r.Key):
			e.lacks("key-auth looks for a key in " + n + ", not recorded")
			return "", digest, false
		}
	}
	return "", digest, false
}

// key is the one that the request showed.
func (e *evaluator) key(name string) (string, [32]byte, bool) {
	r := e.record
	if r.KeySum == "" { // it was nobody's, or given twice
		if e.fresh {
			e.lacks("a key that was nobody's then may be somebody's now")
		}
		return name, [32]byte{}, false
	}
	digest, ok := e.policy.keys[r.KeySum]
	if ok && digest == [32]byte{} {
		e.lacks("the hashes of two keys begin with " + r.KeySum)
	}
	return name, digest, false // one that is gone is nobody's
}

var errToken = errors.New("the token was not good")

// Token implements policy.Shown.
func (e *evaluator) Token(sum uint32, rules *policy.TokenRules) (*policy.Token, error) {
	r := e.record
	switch e.said("jwt", sum) {
	case no:
		return nil, errToken
	case yes:
		if rules.GroupsClaim != "" {
			e.lacks("plugin jwt: the groups of a token are not recorded")
		}
		t := &policy.Token{}
		if r.Consumer == "" || !r.Token {
			if rules.ConsumerClaim != "" && e.other == nil {
				e.lacks("plugin jwt: whom the token names is not recorded")
			}
			return t, nil
		}
		who := e.policy.set(e.head).Consumer(r.Consumer)
		if who == nil || who.Mark != r.Mark {
			e.lacks("plugin jwt: the consumer of the token is another one now")
			return t, nil
		}
		if t.Consumer = who.CustomID; t.Consumer == "" {
			t.Consumer = who.Name
		}
		return t, nil
	}
	e.lacks("plugin jwt: the token is not recorded")
	return nil, errToken
}

// word is what a plugin said whose answer depends on more than the policy.
type word uint8

const (
	notKnown word = iota
	yes
	no
)

// order is that in which such plugins run, with middleware among them.
var order = []string{"jwt", "request-size-limiting", "rate-limiting", "middleware", "forward-auth"}

// said returns what the plugin of this configuration said of the request.
func (e *evaluator) said(name string, sum uint32) word {
	r := e.record
	if name == "request-size-limiting" && !r.Body {
		return yes
	}
	if !slices.Contains(r.Plugins, Sum{name, sum}) {
		return notKnown
	}
	by := r.Plugin
	if r.Reason == "middleware" {
		by = "middleware"
	}
	switch at := slices.Index(order, by); {
	case r.Verdict != "refuse" || at > slices.Index(order, name):
		return yes
	case by == name:
		return no
	}
	return notKnown // it was refused before
}

// gateway is what the policy makes of a request, if its client and path are these.
func (e *evaluator) gateway(client netip.Addr, path *uri.Path, masked bool) outcome {
	r, set := e.record, e.policy.set(e.head)
	e.missing = ""
	q := &e.request
	q.Method, q.Host, q.Port, q.Path, q.Client, q.Names = r.Method, r.Host, uint16(r.Port), path, client, r.Names
	q.Fields, q.Locator, q.Hosts, q.Shown, q.Now, q.Dry, q.Again = e, e, e, e, r.Time, true, false
	route := set.Route(q)
	e.routed, e.api = e.policy.plain(route.Rule), route.API
	if route.By == policy.ByNothing {
		return e.known(outcome{reason: "no_service"})
	}
	e.spell(set, &route)
	var v policy.Verdict
	out, refused := e.decideEach(set, &route, &v)
	if refused || v.Action == policy.Answer {
		return out
	}
	return e.behind(set, &route, &v, masked, out)
}

// spell gives a service the spelling of its resolver, as the gateway does.
func (e *evaluator) spell(set *policy.Set, route *policy.Route) {
	r := e.record
	if route.By == policy.BySegment && r.By == "segment" && len(r.Routed) == 0 {
		if route.Service != r.Service && strings.EqualFold(route.Service, r.Service) {
			set.Rename(route, r.Service)
		}
	} else if route.By == policy.BySegment && route.Service != strings.ToLower(route.Service) {
		e.lacks("how the registry spells the service is not recorded")
	}
	e.cases(set, route)
	if route.By == policy.BySegment {
		set.Narrow(&e.request, route)
	}
}

// cases notes in a route whether the registry of its service minds the case of names,
// as far as that is recorded.
func (e *evaluator) cases(set *policy.Set, route *policy.Route) {
	r := e.record
	route.AnyCase = strings.EqualFold(route.Service, r.Service) && (r.AnyCase || r.By == "segment" && r.Alias != "")
	if route.AnyCase || route.By == policy.ByRegistration {
		return
	}
	if as := (policy.Route{By: route.By, API: route.API, Service: route.Service, AnyCase: true}); set.OtherName(&as, 0) != "" {
		e.lacks("whether the registry minds the case of names is not recorded")
	}
}

// decideEach asks the policy under each name that its rules call the API by, as the
// gateway does.
func (e *evaluator) decideEach(set *policy.Set, route *policy.Route, v *policy.Verdict) (out outcome, refused bool) {
	for i := 0; ; i++ {
		name := set.OtherName(route, i)
		if name == "" {
			return e.decide(set, route, v)
		}
		as := *route
		set.As(&as, name)
		if out, refused = e.decide(set, &as, v); refused {
			return out, refused
		}
		e.request.Again = true
	}
}

// decide asks the policy, and reports whether it refuses.
func (e *evaluator) decide(set *policy.Set, route *policy.Route, v *policy.Verdict) (out outcome, refused bool) {
	set.Decide(&e.request, route, v, e.rec)
	out = outcome{passed: v.Allowed() || v.Action == policy.Answer, rule: e.policy.plain(v.Rule), reason: string(v.Reason)}
	if out.rule.Key != "" {
		e.spoken = append(e.spoken, out.rule)
	}
	for _, w := range v.Would() {
		e.spoken = append(e.spoken, e.policy.plain(w.Rule))
	}
	if out.passed && v.Rests.Aside {
		e.lacks("a plugin has a say for another reading of the path")
	}
	if out = e.known(out); out.unknown != "" {
		return out, true
	}
	return out, !out.passed
}

// known is the outcome, unless something was asked for that is not recorded.
func (e *evaluator) known(out outcome) outcome {
	if e.missing != "" {
		return unknown(e.missing)
	}
	return out
}

// behind asks what comes after the policy's own rules: plugins whose answer is not the
// policy's, and middleware.
func (e *evaluator) behind(set *policy.Set, route *policy.Route, v *policy.Verdict, masked bool, out outcome) outcome {
	refused := ""
	ask := func(name string, sum uint32) {
		if name == "jwt" || refused != "" {
			return // it was asked
		}
		switch e.said(name, sum) {
		case no:
			refused = name
		case notKnown:
			e.lacks("plugin " + name + ": what it would say is not recorded")
		}
	}
	v.Rests.Plugins(func(name string, sum uint32) {
		if name != "forward-auth" {
			ask(name, sum)
		}
	})
	if refused != "" {
		return e.known(outcome{reason: refused})
	}
	if e.missing != "" {
		return unknown(e.missing)
	}
	if mw := e.middleware(set, route, v, masked); mw.unknown != "" || !mw.passed {
		return mw
	}
	if sum := v.Rests.Plugin("forward-auth"); sum != 0 {
		ask("forward-auth", sum)
	}
	if refused != "" {
		return e.known(outcome{reason: refused})
	}
	return e.known(out)
}
