package replay

import (
	"net/netip"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
)

// Class is what would become of a decision.
type Class string

// The classes.
const (
	Same    Class = "same"
	Closes  Class = "closes"
	Opens   Class = "opens"
	Unknown Class = "unknown"
)

// classes are all of them, in the order in which they are told.
var classes = []Class{Closes, Opens, Same, Unknown}

// same is what is said of most records.
var same = verdict{class: Same}

// verdict is what is said of a record.
type verdict struct {
	class Class
	rule  policy.Rule // that makes the difference; zero if it is the lack of one, or nobody can tell
	why   string      // in place of a rule
}

func cannotTell(why string) verdict { return verdict{class: Unknown, why: why} }

// comparer says what becomes of one record after the other. It belongs to one
// goroutine.
type comparer struct {
	next   *evaluator
	former *evaluator // nil: what was decided is in the record
	each   []*evaluator
}

// both are the evaluators that there are.
func (c *comparer) both() []*evaluator { return c.each }

func newComparer(next, former *Policy) *comparer {
	c := &comparer{next: newEvaluator(next, former)}
	c.each = []*evaluator{c.next}
	if former != nil {
		c.former = newEvaluator(former, nil)
		c.former.other, c.former.fresh = next, former.freshKeys(next)
		c.each = append(c.each, c.former)
	}
	return c
}

// always are the reasons of what is refused whatever a policy says.
var always = []string{"loop", "bad_request", "bad_path", "bad_target", "client_not_allowed", "own_address", "connect_ports"}

// compare says what becomes of a record.
func (c *comparer) compare(r *Record, h *Head) verdict {
	c.begin(c.next, r, h)
	if c.former != nil {
		c.begin(c.former, r, h)
	}
	refused := r.Verdict == "refuse"
	switch {
	case refused && r.By == "" && slices.Contains(always, r.Reason):
		return same
	case refused && r.Policy == "":
		return cannotTell("no policy was in force")
	case refused && r.Reason == "client_left":
		return cannotTell("the client left before it was decided")
	case refused && strings.HasPrefix(r.Rule, policy.FeedKey) && r.Reason == "policy_unavailable":
		return cannotTell("a feed was not read yet")
	case refused && strings.HasPrefix(r.Rule, policy.FeedKey):
		return same // no policy knows feeds, and what they refuse nothing lets pass
	}
	path, err := c.path(r)
	if err != nil {
		return cannotTell("the path cannot be read")
	}
	client, masked, err := clientOf(r.Client)
	if err != nil {
		return cannotTell("the address of the client cannot be read")
	}
	if !masked.IsValid() && r.Cut == "" {
		return c.inWorld(client, path, false)
	}
	return c.inWorlds(client, masked, path)
}

func (c *comparer) begin(e *evaluator, r *Record, h *Head) {
	e.record, e.head, e.api, e.routed, e.spoken = r, h, "", policy.Rule{}, e.spoken[:0]
}

// path reads the path of a record.
func (c *comparer) path(r *Record) (path *uri.Path, err error) {
	if r.Listener == "egress" && r.Method == "CONNECT" {
		return nil, nil
	}
	p, err := parsePath(r.Path, r.Listener == "egress")
	return &p, err
}

func parsePath(text string, lenient bool) (p uri.Path, err error) {
	if lenient {
		p, _, err = uri.ParseLenient(text, nil)
	} else {
		p, _, err = uri.ParsePath(text, nil)
	}
	return p, err
}

// clientOf reads an address, or what a mask has left of it.
func clientOf(text string) (netip.Addr, netip.Prefix, error) {
	if strings.IndexByte(text, '/') >= 0 {
		p, err := netip.ParsePrefix(text)
		return p.Addr(), p.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	return a, netip.Prefix{}, err
}

// inWorlds says what becomes of a record that is masked: what holds for all that may
// have been hidden, else nobody can tell.
func (c *comparer) inWorlds(client netip.Addr, masked netip.Prefix, path *uri.Path) verdict {
	r := c.next.record
	former := (*Policy)(nil)
	if c.former != nil {
		former = c.former.policy
	}
	clients, paths, ok := []netip.Addr{client}, []*uri.Path{path}, true
	if masked.IsValid() && r.Listener == "gateway" { // the egress asks nobody where they are
		clients, ok = addresses(masked, c.next.policy, former)
	}
	if ok && r.Cut != "" && path != nil {
		paths, ok = pathsBelow(r, path, c.next.policy, former)
	}
	if !ok || len(clients)*len(paths) > maxWorlds {
		return cannotTell(hidden(masked.IsValid(), r.Cut != "") + ", and may be of too many kinds")
	}
	var first verdict
	for i, a := range clients {
		for j, p := range paths {
			v := c.inWorld(a, p, masked.IsValid())
			switch {
			case v.class == Unknown:
				return v
			case i+j == 0:
				first = v
			case v.class != first.class:
				return cannotTell("it depends on what is masked: " + hidden(masked.IsValid() && len(clients) > 1, r.Cut != "" && len(paths) > 1))
			}
		}
	}
	return first
}

func hidden(client, path bool) string {
	switch {
	case client && path:
		return "the address and the path"
	case path:
		return "the path"
	}
	return "the address"
}

// pathsBelow are paths that begin as the recorded one does, one of each class.
func pathsBelow(r *Record, cut *uri.Path, policies ...*Policy) (all []*uri.Path, ok bool) {
	if r.Cut != "plain" || cut.Odd() || strings.Count(cut.Received, "/") != strings.Count(cut.Canonical, "/") || cut.Canonical == "/" {
		return nil, false // what is left of it does not say where it leads
	}
	texts, ok := below(cut.Canonical, policies...)
	if !ok {
		return nil, false
	}
	for _, text := range texts {
		p, err := parsePath(text, r.Listener == "egress")
		if err != nil {
			return nil, false
		}
		all = append(all, &p)
	}
	return all, true
}

// inWorld says what becomes of a record whose client and path were these.
func (c *comparer) inWorld(client netip.Addr, path *uri.Path, masked bool) verdict {
	former := c.decided()
	if c.former != nil {
		former = c.former.in(client, path, masked)
	}
	next := c.next.in(client, path, masked)
	switch {
	case next.unknown != "":
		return cannotTell(next.unknown)
	case former.unknown != "":
		return cannotTell(former.unknown)
	case next.passed == former.passed:
		return same
	case next.passed:
		return verdict{class: Opens, rule: former.rule, why: former.reason}
	}
	return verdict{class: Closes, rule: next.rule, why: next.reason}
}

// in is what a policy makes of the record in a world.
func (e *evaluator) in(client netip.Addr, path *uri.Path, masked bool) outcome {
	if e.record.Listener == "egress" {
		return e.outbound(path)
	}
	return e.gateway(client, path, masked)
}

// ours are the reasons by which a policy, or middleware, refuses.
var ours = []string{"policy_unavailable", "blacklist", "whitelist", "no_credentials", "bad_credentials", "acl", "bound_consumer", "rate_limit",
	"bad_path", "body_too_large", "terminated", "forward_auth", "middleware", "no_service"}

// decided is what was decided, by the record.
func (c *comparer) decided() outcome {
	r := c.next.record
	switch {
	case r.Verdict != "refuse":
		return outcome{passed: true}
	case !slices.Contains(ours, r.Reason) && r.Plugin == "":
		return unknown("it was refused as " + r.Reason + ", not by the policy")
	}
	return outcome{rule: policy.Rule{Key: c.next.head.plain(r.Rule), Entry: r.Entry}, reason: r.Reason}
}
