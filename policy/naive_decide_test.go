package policy_test

import (
	"net/netip"
	"slices"
	"strings"

	"lictor/policy"
)

// expand returns the plugins of a mapping and the groups that narrow it (C13).
func (n *naive) expand(m *policy.PluginMapping) (ids, scope []string) {
	ids = slices.Clone(m.Plugins)
	for _, g := range m.Groups {
		members := false
		for _, c := range n.consumers {
			members = members || slices.Contains(c.Groups, g)
		}
		x := n.groups[g]
		if x != nil {
			ids = append(ids, x.Plugins...)
		}
		if x == nil || len(x.Plugins) == 0 || members {
			scope = append(scope, g)
		}
	}
	return ids, scope
}

// whitelisted counts the whitelist entries of the listeners but one.
func (n *naive) whitelisted(not policy.Direction) (enforced, reported int) {
	for _, l := range n.lists {
		switch {
		case !l.Allow || l.Direction == not:
		case l.Mode == policy.Report:
			reported += len(l.Entries)
		default:
			enforced += len(l.Entries)
		}
	}
	return enforced, reported
}

// decide follows contract 4 step by step.
func (n *naive) decide(r *policy.Request, key, token string) (v naiveVerdict) {
	var service string
	v.by, v.api, service = n.route(r)
	var would []string
	defer func() { v.would = strings.Join(would, " ") }()
	refuse := func(reason policy.Reason) naiveVerdict {
		v.reason, v.limit, v.most, v.hide, v.asks = reason, 0, 0, false, ""
		return v
	}

	var answered, continued bool
	v.cors, answered, continued = n.cors(v.api, r)
	if v.by != policy.ByHost && n.strays(r) {
		return refuse(policy.ReasonBadPath)
	}
	if n.listed(false, "enforce", r, service) {
		return refuse(policy.ReasonBlacklist)
	}
	if n.listed(false, "report", r, service) {
		would = append(would, "blacklist")
	}
	enforced, reported := n.whitelisted(policy.Egress)
	switch {
	case enforced > 0 && !n.listed(true, "enforce", r, service):
		return refuse(policy.ReasonWhitelist)
	case enforced == 0 && reported > 0 && !n.listed(true, "enforce report", r, service):
		would = append(would, "whitelist")
	}

	if answered {
		v.answered = true
		return v
	}
	var c *policy.Consumer
	if cred := n.keys[key]; cred != nil && !continued {
		c = n.consumer(cred.Consumer)
	}
	demand := n.winner("key-auth", v.api, nil, r, false)
	if c == nil && demand != nil && !continued {
		if key == "" {
			return refuse(policy.ReasonNoCredentials)
		}
		return refuse(policy.ReasonBadCredentials)
	}
	if c != nil {
		v.consumer = c.Name
		if won := n.winner("key-auth", v.api, c, r, false); won != nil {
			v.hide = won.Config["hide_credentials"] == true
		}
	}
	keyed := c
	if !continued {
		var reason policy.Reason
		if c, reason = n.bearer(v.api, keyed, token, r, &v); reason == "" {
			reason = n.acl(v.api, c, r, &would)
		}
		if reason != "" {
			return refuse(reason)
		}
	}
	if reason := n.others(&v, keyed, key, token, r); reason != "" {
		return refuse(reason)
	}
	if reason := n.closed(&v, v.api, c, r); reason != "" {
		return refuse(reason)
	}
	if won := n.winner("rate-limiting", v.api, c, r, false); won != nil {
		v.limit = int(won.Config["minute"].(int64))
	}
	for _, report := range []bool{false, true} {
		if continued {
			break
		}
		n.asks(&v, v.api, c, r, report)
	}
	all := strings.Split(v.asks, "\n")
	slices.Sort(all)
	v.asks = strings.TrimPrefix(strings.Join(slices.Compact(all), " "), " ")
	return v
}

// closed applies the limit of a body, and what answers in place of the service.
func (n *naive) closed(v *naiveVerdict, api string, c *policy.Consumer, r *policy.Request) policy.Reason {
	if won := n.winner("request-size-limiting", api, c, r, false); won != nil {
		most := won.Config["allowed_payload_size"].(int64)
		if r.Length > most {
			return policy.ReasonBodyTooLarge
		}
		if v.most == 0 || most < v.most {
			v.most = most
		}
	}
	if n.winner("request-termination", api, c, r, false) != nil {
		return policy.ReasonTerminated
	}
	return ""
}

// others asks the APIs that other readings of the path lead to, if filters have
// a say in it.
func (n *naive) others(v *naiveVerdict, c *policy.Consumer, key, token string, r *policy.Request) policy.Reason {
	if v.by != policy.ByFilter && v.by != policy.BySegment {
		return ""
	}
	paths := readings(r.Path)[1:]
	if r.Method != strings.ToUpper(r.Method) {
		paths = append(paths, r.Path.Canonical)
	}
	for _, path := range paths {
		api := n.routeByFilter(r, path, "stray")
		if api == "" && v.by == policy.ByFilter && len(path) > 0 {
			api = segment(path)
		}
		if api == "" || api == v.api {
			continue
		}
		if reason := n.other(v, api, c, key, token, r); reason != "" {
			return reason
		}
	}
	return ""
}

// other asks one of them.
func (n *naive) other(v *naiveVerdict, api string, c *policy.Consumer, key, token string, r *policy.Request) policy.Reason {
	if _, _, waived := n.cors(api, r); waived {
		return n.closed(v, api, nil, r)
	}
	if c == nil && n.winner("key-auth", api, nil, r, false) != nil {
		if key == "" {
			return policy.ReasonNoCredentials
		}
		return policy.ReasonBadCredentials
	}
	if won := n.winner("key-auth", api, c, r, false); c != nil && won != nil {
		v.hide = v.hide || won.Config["hide_credentials"] == true
	}
	told := new(naiveVerdict)
	who, reason := n.bearer(api, c, token, r, told)
	v.hide = v.hide || told.hide
	if reason == "" {
		reason = n.acl(api, who, r, new([]string))
	}
	if reason == "" {
		reason = n.closed(v, api, who, r)
	}
	if reason == "" {
		n.asks(v, api, who, r, false)
	}
	return reason
}

// asks notes whom an API wants asked about a request.
func (n *naive) asks(v *naiveVerdict, api string, c *policy.Consumer, r *policy.Request, report bool) {
	won := n.winner("forward-auth", api, c, r, report)
	if won == nil {
		return
	}
	enforced := n.winner("forward-auth", api, c, r, false)
	if report && enforced != nil && !n.beats(won, enforced, api, c, r) {
		return // as in force it would not have won
	}
	name := "service " + won.ID + " /"
	if report {
		name += " (report)"
	}
	v.asks += name + "\n"
}

func (n *naive) acl(api string, c *policy.Consumer, r *policy.Request, would *[]string) policy.Reason {
	enforced, identify, granted, grantedByAny, total := 0, false, false, false, 0
	for _, a := range n.acls {
		if a.API != api {
			continue
		}
		total++
		subject := len(a.Consumers)+len(a.Groups) > 0
		fits := (!subject || n.is(c, a.Consumers) || in(c, a.Groups)) && n.filtersFit(a.Filters, r, "grant")
		grantedByAny = grantedByAny || fits
		if a.Mode != policy.Report {
			enforced++
			identify = identify || subject
			granted = granted || fits
		}
	}
	switch {
	case enforced > 0 && !granted && c == nil && identify:
		return policy.ReasonNoCredentials
	case enforced > 0 && !granted:
		return policy.ReasonACL
	case enforced == 0 && total > 0 && !grantedByAny:
		*would = append(*would, "acl")
	}
	if !n.bind || c == nil {
		return ""
	}
	bound, free, wouldBound, wouldFree := false, false, false, false
	for _, a := range n.acls {
		if n.is(c, a.Consumers) || in(c, a.Groups) {
			wouldBound, wouldFree = true, wouldFree || a.API == api
			if a.Mode != policy.Report {
				bound, free = true, free || a.API == api
			}
		}
	}
	switch {
	case bound && !free:
		return policy.ReasonBoundConsumer
	case wouldBound && !wouldFree:
		*would = append(*would, "bound_consumer")
	}
	return ""
}

// speaksOf reports whether an entry speaks of a destination, at one of its
// addresses and in one reading of its path; the path of a tunnel is "".
func (e *naiveEntry) speaksOf(d *policy.Destination, addr netip.Addr, path string, allow bool) bool {
	tunnel := d.Path == nil
	switch {
	case e.method != "" && (tunnel || !naiveMethod(e.method, d.Method, !allow)):
		return false
	case e.service != "":
		at := services.ServicesAt(netip.AddrPortFrom(addr, d.Port))
		return slices.Contains(append(at, services.ServicesNamed(d.Host, d.Port)...), e.service)
	case e.prefix.IsValid():
		return e.prefix.Contains(addr) && (e.port == 0 || e.port == d.Port)
	case e.path != "":
		port := e.port
		if !e.saidPort {
			port = 80
		}
		return e.host == d.Host && port == d.Port && (tunnel && e.path == "/" || !tunnel && under(path, e.path))
	}
	return hostCovers(d.Host, e.host, e.scope) && (e.port == 0 || e.port == d.Port)
}

// out decides at the egress.
func (n *naive) out(d *policy.Destination) policy.Reason {
	paths := []string{""}
	if d.Path != nil {
		paths = readings(d.Path)
	}
	speaks := func(allow bool, addr netip.Addr, path string) bool {
		for _, l := range n.lists {
			for i := range l.entries {
				if l.Allow == allow && l.Direction != policy.Ingress && l.Mode != policy.Report && l.entries[i].speaksOf(d, addr, path, allow) {
					return true
				}
			}
		}
		return false
	}
	admitted := true
	for _, addr := range d.Addrs {
		for _, path := range paths {
			if speaks(false, addr, path) {
				return policy.ReasonBlacklist
			}
			admitted = admitted && speaks(true, addr, path)
		}
	}
	if enforced, _ := n.whitelisted(policy.Ingress); enforced > 0 && !admitted {
		return policy.ReasonWhitelist
	}
	return ""
}
