package policy

import (
	"strings"
	"time"
	"unicode"
	"unsafe"

	"lictor/internal/uri"
)

// decision is one run of Decide. It lives in the Request's scratch, so that it
// costs no allocation.
type decision struct {
	set     *Set
	req     *Request
	route   Route // a copy, so that the caller's stays off the heap
	verdict *Verdict
	rec     *Recorder
	facts   *Facts        // of a request that was let in before, nil otherwise
	asNamed *uri.Path     // see named
	isNamed bool          // asNamed is known
	keyed   *liveConsumer // whose key or certificate it is
	who     *liveConsumer // the same, or by a token

	preflight bool // the request is one (P1)
	aside     bool // the API is one that another reading of the path leads to
	would     bool // wouldDeny was called
	doubtful  bool // which plugin cors holds depends on how the path is read
}

// Decide says whether a request may pass: blacklist and whitelist, then
// authentication, ACL and rate limit (contract 4). A preflight may be answered
// behind the whitelist already. It overwrites v. rec may be
// nil; it is told each step. A limit is used up only if everything passes. The
// Permit is the zero one unless the request may pass.
func (s *Set) Decide(r *Request, t *Route, v *Verdict, rec *Recorder) Permit {
	s.decide(r, t, v, rec, nil)
	if !v.Allowed() {
		return Permit{}
	}
	return r.permit(t, v)
}

func (s *Set) decide(r *Request, t *Route, v *Verdict, rec *Recorder, facts *Facts) {
	*v = Verdict{}
	if s == nil {
		Unavailable(v)
		return
	}
	if r.Path == nil {
		r.Path = &noPath
	}
	if !r.Again && r.scratch.limited.n > 0 {
		r.scratch.limited = limited{}
	}
	r.scratch.readings.Reset()
	r.scratch.namedReadings.Reset()
	r.assume()
	d := &r.scratch.decision
	*d = decision{set: s, req: r, route: *t, verdict: v, rec: rec, facts: facts}
	v.Drop, v.Credentials = r.scratch.drop[:0], r.scratch.looked[:0]
	d.preflight = r.isPreflight()
	if facts != nil {
		d.preflight = facts.Preflight
	}
	if d.plugin(typeCORS) && d.readable() && d.ownSpelling() && d.blacklist() && d.whitelist() && d.answersPreflight() &&
		d.authorized() && d.others() && d.otherCase() && d.afterACL() {
		v.Action = Allow
	}
	r.scratch.drop, r.scratch.looked = v.Drop, v.Credentials
	*d, r.scratch.inquiry = decision{}, inquiry{} // keeps no set alive
}

// looksIn notes where it is looked for who it is. A backend that does not tell
// X-Key from X_Key must not find another one there.
func (d *decision) looksIn(names []string) {
	if len(names) > 0 {
		d.verdict.Credentials = append(d.verdict.Credentials, names)
	}
}

// drop has headers of the client's dropped that lictor alone sets.
func (d *decision) drop(names []string) {
	if len(names) > 0 {
		d.verdict.Drop = append(d.verdict.Drop, names)
	}
}

// readable refuses what is closed by an object that can not be read (X6).
func (d *decision) readable() bool {
	rule := d.route.closed
	if shut := d.set.closed[gateway]; len(shut) > 0 {
		rule = shut[0]
	}
	if rule.Key == "" {
		return true
	}
	return d.deny("policy", refusal{Reason: ReasonPolicyUnavailable, Status: 503, Message: messageUnavailable, Rule: rule})
}

// authorized asks who it is and whether the API is for them.
func (d *decision) authorized() bool {
	if d.waived() {
		d.dropClaims()
		return true
	}
	return d.plugin(typeKeyAuth) && d.plugin(typeJWT) && d.acl()
}

// others asks the same, and the plugins behind it, for each other API that some
// reading of an odd path leads to by its filters, or would lead to but for them:
// whether a backend reads the path in that way nobody knows, so it is no way round
// the rules of either.
// Some take a method in any case, too.
func (d *decision) others() bool {
	lower := strings.ContainsFunc(d.req.Method, unicode.IsLower)
	if d.set.routes == nil || d.route.By == ByHost || d.route.By == ByNothing || !d.req.Path.Odd() && !lower {
		return true
	}
	for _, path := range d.req.scratch.readings.Of(d.req.Path) {
		if !d.passesRead(path) {
			return false
		}
	}
	return !lower || d.passesRead(d.req.Path.Canonical)
}

// passesRead asks whether the request might go to the API that a reading of its path
// leads to.
func (d *decision) passesRead(path string) bool {
	best := rank{as: toRestrict}
	best.search(d.set.routes, d.req, path)
	api, closed := "", Rule{}
	switch {
	case best.entry == nil && d.route.By == ByFilter:
		api = firstSegment(path)
	case best.entry == nil, d.route.By == ByRegistration && best.host == noHost: // the claim goes before it
	default:
		api, closed = best.entry.api.Name, best.entry.closed
	}
	return api == "" || api == d.route.API || d.passesAny(api, closed)
}

// passesAny asks whether the request might go to another API, under each name that
// rules know it by.
func (d *decision) passesAny(api string, closed Rule) bool {
	if !d.passesAs(api, closed) {
		return false
	}
	for i := 0; d.route.AnyCase; i++ {
		name := d.set.spelling(api, i)
		if name == "" {
			break
		}
		if name != d.route.API && !d.passesAs(name, Rule{}) {
			return false
		}
	}
	return true
}

// passesAs asks whether the request might go to another API, and keeps all that
// is known of the one it goes to.
func (d *decision) passesAs(api string, closed Rule) bool {
	route, who, keyed, rec, v, limiter := d.route, d.who, d.keyed, d.rec, d.verdict, d.req.Limiter
	before := v.known()
	d.named()     // by the service that it goes to, whatever else it may be asked as
	d.who = keyed // a token is shown to each API anew
	d.route.API, d.route.Service, d.route.closed, d.rec, d.aside = api, api, closed, nil, true
	if !d.set.Knows(api) {
		d.req.Limiter = nil // names that clients make up are not counted one by one
	}
	passes := d.readable() && d.authorized() && d.afterACL()
	d.route, d.rec, d.who, d.keyed, d.aside, d.req.Limiter = route, rec, who, keyed, false, limiter
	v.restore(before)
	switch {
	case passes:
		v.Limits = Limits{}
	case rec != nil:
		rec.deny("other_reading", v)
	}
	return passes
}

// firstSegment is the service that a reading of a path names, "" if it names none.
func firstSegment(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !uri.IsServiceName(name) {
		return ""
	}
	return name
}

const messageUnavailable = "The policy is not available"

// Unavailable makes v the refusal of a lictor that has no policy to go by, or
// none fresh enough (X6).
func Unavailable(v *Verdict) {
	*v = Verdict{Reason: ReasonPolicyUnavailable, Status: 503, Message: messageUnavailable}
}

// afterACL runs the plugin types that come after the ACL.
func (d *decision) afterACL() bool {
	for kind := typeJWT + 1; kind < nPluginTypes; kind++ {
		if !d.plugin(kind) {
			return false
		}
	}
	return true
}

// refusal is what deny sets of a verdict. A whole Verdict by value would make
// the stack frame of every caller large, and that of every idle connection.
type refusal struct {
	Reason    Reason
	Status    int
	Message   string
	Rule      Rule
	Challenge string
}

// deny fills the verdict with a refusal, keeping what is known already.
func (d *decision) deny(step string, refusal refusal) bool {
	v := d.verdict
	v.Action, v.Reason, v.Status, v.Message = Deny, refusal.Reason, refusal.Status, refusal.Message
	v.Rule, v.Challenge, v.Plugin = refusal.Rule, refusal.Challenge, pluginOf(step)
	if d.rec != nil {
		d.rec.deny(step, v)
	}
	return false
}

// pluginOf is the plugin that a step of the decision belongs to, "" if it is none's.
func pluginOf(step string) string {
	switch {
	case step == "acl", step == "bound_consumer": // which ACLs bind (C6)
		return "acl"
	case pluginTypeOf(step) >= 0:
		return step
	}
	return ""
}

// wouldDeny notes what a rule in report mode would have done.
func (d *decision) wouldDeny(step string, reason Reason, rule Rule) {
	d.would = true
	noteWould(d.verdict, d.rec, step, reason, rule)
}

func noteWould(v *Verdict, rec *Recorder, step string, reason Reason, rule Rule) {
	if v.nwould < maxWould {
		v.would[v.nwould] = Would{Reason: reason, Rule: rule}
		v.nwould++
	}
	if rec != nil {
		rec.would(step, rule)
	}
}

// inquire asks an index about the request as the gateway sees it (A17): any
// says which readings of the path count.
func (d *decision) inquire(x *listIndex, q *inquiry, any bool) bool {
	readings := &d.req.scratch.readings
	if x.byHost(q) || x.byAddr(q, d.req.Client) || x.byService(q, d.route.Service) || x.byReadings(q, d.req.Path, readings, any) {
		return true
	}
	if !any || !x.paths {
		return false
	}
	named := d.named()
	return named != nil && x.byReadings(q, named, &d.req.scratch.namedReadings, any)
}

// named is the path by which the same resource is reached through its service's
// own segment, nil if that is the request's path. It differs where a host, an API
// or middleware chose the service, or where a resolver does not mind the case of
// names: none of them is a way round a rule that denies.
func (d *decision) named() *uri.Path {
	t := &d.route
	if d.isNamed || t.Service == "" {
		return d.asNamed
	}
	d.isNamed = true
	if name, _, _ := d.req.Path.Segment(); t.Stripped && name == t.Service {
		return nil
	}
	d.asNamed = d.req.asNamed(t)
	return d.asNamed
}

// asNamed is the path behind the segment of the route's service.
func (r *Request) asNamed(t *Route) *uri.Path {
	s := &r.scratch
	s.named = append(append(append(s.named[:0], '/'), t.Service...), t.Rest...)
	s.namedPath = *r.Path
	s.namedPath.Canonical = unsafe.String(unsafe.SliceData(s.named), len(s.named))
	return &s.namedPath
}

func (d *decision) inquiry(kind int, how seek) *inquiry {
	q := &d.req.scratch.inquiry
	*q = inquiry{lists: &d.set.lists[kind], method: d.req.Method, host: d.req.Host, port: d.req.Port, side: gateway, denies: kind == blacklists, seek: how}
	q.anyCase = q.denies && d.route.AnyCase
	if q.host != "" {
		q.hostSum = hashString(q.host)
	}
	return q
}

// blacklist applies A17.
func (d *decision) blacklist() bool {
	x := &d.set.guards[blacklists]
	q := d.inquiry(blacklists, seekEnforced)
	if d.inquire(x, q, true) || d.set.fedHost(q) || d.set.fedAddr(q, d.req.Client) {
		d.verdict.speaks(q.hit.tally(), hasRefused)
		return d.deny("blacklist", refusal{Reason: ReasonBlacklist, Status: 403, Message: "Denied", Rule: q.hit.rule()})
	}
	if q.would.list != nil {
		d.verdict.speaks(q.would.tally(), wouldRefuse)
		d.wouldDeny("blacklist", ReasonBlacklist, q.would.rule())
		return true
	}
	d.rec.pass("blacklist", Rule{}, "")
	return true
}

// whitelist applies A10 and A17: once there is an entry, only what matches one
// passes.
func (d *decision) whitelist() bool {
	n := d.set.admits[gateway]
	if n.enforced+n.report == 0 {
		return true
	}
	x := &d.set.guards[whitelists]
	q := d.inquiry(whitelists, seekEnforced)
	enforced := d.inquire(x, q, false)
	if n.enforced > 0 && !enforced {
		return d.deny("whitelist", refusal{Reason: ReasonWhitelist, Status: 403, Message: "Denied"})
	}
	if n.enforced == 0 {
		q = d.inquiry(whitelists, seekAny)
		if !d.inquire(x, q, false) {
			d.verdict.speaks(d.set.misses[gateway], wouldRefuse)
			d.wouldDeny("whitelist", ReasonWhitelist, Rule{})
			return true
		}
	}
	d.verdict.speaks(q.hit.tally(), hasPassed)
	d.rec.pass("whitelist", q.hit.rule(), "")
	return true
}

// tally is that of the list in which an entry stands, nil of none.
func (h *hit) tally() *Tally {
	if h.list == nil {
		return nil
	}
	return h.list.tally
}

// rule says where an entry stands.
func (h *hit) rule() Rule {
	if h.list == nil {
		return Rule{}
	}
	return Rule{Key: h.list.key, Index: h.list.index, Entry: h.text, Note: h.list.Reason}
}

// Facts copies what is needed to decide a request again, once its verdict was
// to let it pass. Unlike the Request it may be kept.
func (r *Request) Facts(t *Route, v *Verdict) *Facts {
	f := &Facts{
		Method: strings.Clone(r.Method), Host: strings.Clone(r.Host), Port: r.Port, Client: r.Client, Locator: r.Locator,
		Route: *t, Digest: v.digest, Identity: v.keyed, Token: v.token, Tokens: r.Tokens, Preflight: v.CORS.Preflight,
	}
	f.asked = v.asked()
	for _, n := range r.Names {
		f.Names = append(f.Names, strings.Clone(n))
	}
	f.Route.API, f.Route.Alias, f.Route.Service, f.Route.Rest = strings.Clone(t.API), strings.Clone(t.Alias), strings.Clone(t.Service), strings.Clone(t.Rest)
	if r.Path != nil {
		f.Path = r.Path.Clone()
	}
	return f
}

// Recheck decides again about a request that passed before and is still being
// answered (X14). Rate limits are not applied. It may allocate.
func (s *Set) Recheck(f *Facts, now time.Time, v *Verdict) {
	path := f.Path
	path.Query = ""
	r := Request{Method: f.Method, Host: f.Host, Port: f.Port, Path: &path, Client: f.Client, Locator: f.Locator, Now: now}
	t := f.Route
	s.decide(&r, &t, v, nil, f)
}
