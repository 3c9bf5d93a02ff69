package policy

import (
	"maps"
	"slices"
	"strings"
)

// liveACL is an ACL in force.
type liveACL struct {
	*ACL
	key     string
	index   uint64
	filters []ref
	tally   *Tally
	closed  bool // stands for one of which only the API can be read: matches nobody (X6)
}

func (a *liveACL) hasSubject() bool { return len(a.Consumers)+len(a.Groups) > 0 }

// apiACLs are the ACLs of one API, filed by subject, so that the number of
// subjects does not matter. It is immutable.
type apiACLs struct {
	enforced  []*liveACL // in the order of their ids
	report    []*liveACL
	anyone    []*liveACL // without subject (C8)
	consumers map[string][]*liveACL
	groups    map[string][]*liveACL
	identify  bool // some enforced ACL asks who it is
}

func compileACLs(acls map[string]*liveACL) *apiACLs {
	a := &apiACLs{consumers: make(map[string][]*liveACL), groups: make(map[string][]*liveACL)}
	for _, id := range slices.Sorted(maps.Keys(acls)) {
		acl := acls[id]
		if acl.Mode.Reports() {
			a.report = append(a.report, acl)
		} else {
			a.enforced = append(a.enforced, acl)
			a.identify = a.identify || acl.hasSubject()
		}
		if acl.closed {
			continue
		}
		if !acl.hasSubject() {
			a.anyone = append(a.anyone, acl)
		}
		for _, c := range acl.Consumers {
			a.consumers[c] = append(a.consumers[c], acl)
		}
		for _, g := range acl.Groups {
			a.groups[g] = append(a.groups[g], acl)
		}
	}
	return a
}

// grant returns an ACL that lets a request pass, nil if none does. With report
// those in report mode count too.
func (a *apiACLs) grant(d *decision, report bool) *liveACL {
	if acl := d.granting(a.anyone, report); acl != nil || d.who == nil {
		return acl
	}
	if acl := d.granting(a.consumers[d.who.ID], report); acl != nil {
		return acl
	}
	if d.namesItself() {
		if acl := d.granting(a.consumers[d.who.Name], report); acl != nil {
			return acl
		}
	}
	for _, g := range d.who.Groups {
		if acl := d.granting(a.groups[g], report); acl != nil {
			return acl
		}
	}
	return nil
}

func (d *decision) granting(acls []*liveACL, report bool) *liveACL {
	for _, acl := range acls {
		if (report || !acl.Mode.Reports()) && d.set.filtered(acl.filters, d.req, toGrant) {
			return acl
		}
	}
	return nil
}

// namesItself reports whether a reference by name means this consumer: the name
// is not its id as well, which was tried already, nor anybody else's id.
func (d *decision) namesItself() bool {
	if d.who.Name == d.who.ID {
		return false
	}
	_, taken := d.set.byID.Get(hashString(d.who.Name), d.who.Name)
	return !taken
}

// acl applies C5, and C6 if it is on.
func (d *decision) acl() bool {
	a, ok := d.set.acls.Get(hashString(d.route.API), d.route.API)
	switch {
	case !ok || len(a.enforced)+len(a.report) == 0:
		d.rec.skip("acl", "the API has no ACL, so it is open")
	case len(a.enforced) == 0:
		if acl := a.grant(d, true); acl != nil {
			d.verdict.speaks(acl.tally, hasPassed)
			d.rec.pass("acl", acl.rule(), "")
		} else {
			d.verdict.speaks(a.report[0].tally, wouldRefuse)
			d.wouldDeny("acl", ReasonACL, a.report[0].rule())
		}
	default:
		acl := a.grant(d, false)
		if acl == nil {
			return d.refuseACL(a)
		}
		d.verdict.speaks(acl.tally, hasPassed)
		d.rec.pass("acl", acl.rule(), "")
	}
	return d.bound()
}

// refuseACL tells who might be let in if only they said who they are from who
// is not let in (C22).
func (d *decision) refuseACL(a *apiACLs) bool {
	rule := a.enforced[0].rule()
	d.verdict.speaks(a.enforced[0].tally, hasRefused)
	if d.who == nil && a.identify {
		return d.deny("acl", refusal{Reason: ReasonNoCredentials, Status: 401, Rule: rule, Challenge: challenge,
			Message: "Cannot identify the consumer, add an authentication plugin to use the ACL plugin"})
	}
	return d.deny("acl", refusal{Reason: ReasonACL, Status: 403, Rule: rule, Message: messageACL})
}

const messageACL = "You cannot consume this service"

func (a *liveACL) rule() Rule {
	r := Rule{Key: a.key, Index: a.index}
	if a.closed {
		r.Note = "it can not be read, so it lets nobody in"
	}
	return r
}

// binding are the APIs that ACLs give a subject. It is immutable.
type binding struct {
	apis  map[string]Mode // Enforce if any ACL enforces
	rule  Rule            // one of them
	tally *Tally          // of that one
	mode  Mode            // Enforce if any ACL enforces
}

// subject is a consumer (by id or name) or a group that an ACL names.
type subject struct {
	group bool
	name  string
}

func (s subject) hash() uint64 {
	h := hashString(s.name)
	if s.group {
		h = ^h
	}
	return h
}

func (a *ACL) subjects(yield func(subject) bool) {
	for _, c := range a.Consumers {
		if !yield(subject{false, c}) {
			return
		}
	}
	for _, g := range a.Groups {
		if !yield(subject{true, g}) {
			return
		}
	}
}

func compileBinding(acls map[string]*liveACL) *binding {
	b := &binding{apis: make(map[string]Mode), mode: Report}
	for _, id := range slices.Sorted(maps.Keys(acls)) {
		acl := acls[id]
		if b.apis[acl.API] != Enforce {
			b.apis[acl.API] = acl.Mode
		}
		if b.rule.Key == "" || b.mode.Reports() && !acl.Mode.Reports() {
			b.rule, b.tally = acl.rule(), acl.tally
		}
		if !acl.Mode.Reports() {
			b.mode = Enforce
		}
	}
	return b
}

// bound applies C6: who is named in some ACL may use only the APIs of those. Those in
// report mode neither bind nor free anybody, but in what would be (X13).
func (d *decision) bound() bool {
	if !d.set.bind || d.who == nil {
		return true
	}
	var held, would *binding // of an ACL that enforces, of any
	free, wouldFree := false, false
	look := func(s subject) {
		b, ok := d.set.bindings.Get(s.hash(), s)
		if !ok {
			return
		}
		mode, names := b.apis[d.route.API]
		if !names && d.route.AnyCase && sameName(d.route.API, d.route.Alias, true) { // on which it is decided as well
			mode, names = b.apis[d.route.Alias]
		}
		free, wouldFree = free || names && !mode.Reports(), wouldFree || names
		if would == nil {
			would = b
		}
		if held == nil && !b.mode.Reports() {
			held = b
		}
	}
	look(subject{false, d.who.ID})
	if d.namesItself() {
		look(subject{false, d.who.Name})
	}
	for _, g := range d.who.Groups {
		look(subject{true, g})
	}
	switch {
	case held != nil && !free:
		d.verdict.speaks(held.tally, hasRefused)
		return d.deny("bound_consumer", refusal{Reason: ReasonBoundConsumer, Status: 403, Rule: held.rule, Message: messageACL})
	case would != nil && !wouldFree:
		d.verdict.speaks(would.tally, wouldRefuse)
		d.wouldDeny("bound_consumer", ReasonBoundConsumer, would.rule)
	}
	return true
}

// joinGroups is the value of X-Consumer-Groups.
func joinGroups(groups []string) string { return strings.Join(groups, ", ") }
