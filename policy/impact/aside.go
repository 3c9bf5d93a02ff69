package impact

import (
	"fmt"
	"slices"
	"strings"

	"lictor/policy"
)

// elsewhere says of the plugins that do not open or close by a dry question what a
// change of them changes instead.
var elsewhere = map[string]string{
	"cors":                  "what browsers are told, and whether pages may send preflights to the service",
	"key-auth":              "where a key is looked for, and whether it is passed on",
	"jwt":                   "which tokens are good, whose they are and the groups that they bring",
	"request-size-limiting": "how long bodies may be",
	"request-termination":   "the answer that is given instead",
	"rate-limiting":         "how often requests pass",
	"forward-auth":          "which authority is asked",
}

// Never is what no such proof speaks of: only a running gateway knows it.
const Never = "hosts that services claim, services that are not there or that a registry spells otherwise, middleware, intentions, feeds, limits that are used up, " +
	"lengths of bodies, answers of authorities, when keys run out, and paths that are refused whatever the policy says"

// aside tells what else changes, and what no dry question decides (R3): it is never
// told to be the same.
func (rep *Report) aside(was, is *side, c *scope) {
	all := make(map[string]bool)
	for k := range c.changed {
		short := string(k.Kind) + "/" + k.Name
		for _, s := range []*side{was, is} {
			for _, id := range s.pluginsOf(k) {
				if p := s.plugins[id]; p != nil && elsewhere[p.Name] != "" {
					all[fmt.Sprintf("%s changes, and with it %s (plugins/%s, %s)", short, elsewhere[p.Name], id, p.Name)] = true
				}
			}
			if l := s.lists[k]; l != nil && (l.Direction == policy.Egress || l.Direction == policy.Both || l.Allow && l.Direction == "") {
				all[short+" changes what may be asked of others (the egress)"] = true
			}
			if a := s.apis[k.Name]; k.Kind == policy.KindAPIs && a != nil && len(a.ProtectedHeaders) > 0 {
				all[short+" changes, and with it headers that do not pass"] = true
			}
		}
		if a, b := was.plugins[k.Name], is.plugins[k.Name]; k.Kind == policy.KindPlugins && reports(a) != reports(b) {
			all[short+" changes between report and enforce"] = true
		}
	}
	all[keysText(was, is)] = true
	delete(all, "")
	for _, s := range []*side{was, is} {
		for _, p := range s.plugins {
			if p.Name == "jwt" && len(c.changed) > 0 {
				all["who shows a token: here a consumer is somebody who is known, in whatever way, and groups are those of consumers"] = true
			}
		}
	}
	rep.Aside = sortedKeys(all)
	for _, name := range rep.world.people.strangers {
		rep.Roads = append(rep.Roads, Proof{Road: "consumer " + name, Missing: "another consumer has the same id or name, so no question can be theirs"})
	}
}

func reports(p *policy.Plugin) bool { return p != nil && p.Mode.Reports() }

// pluginsOf are the plugins whose place or settings an object says.
func (s *side) pluginsOf(k policy.Key) (ids []string) {
	switch k.Kind {
	case policy.KindPlugins:
		return []string{k.Name}
	case policy.KindPluginMappings:
		if m := s.mappedOf[k.Name]; m != nil {
			return s.expand(m)
		}
	case policy.KindGroups:
		if g := s.groups[k.Name]; g != nil {
			return g.Plugins
		}
	case policy.KindFilters:
		for _, m := range s.mappedOf {
			if slices.Contains(m.Filters, k.Name) {
				ids = append(ids, s.expand(m)...)
			}
		}
	case policy.KindConsumers:
		if c := s.consumers[k.Name]; c != nil {
			for _, m := range s.mappedOf {
				if slices.ContainsFunc(m.Groups, func(g string) bool { return slices.Contains(c.Groups, g) }) ||
					slices.Contains(m.Consumers, c.ID) || slices.Contains(m.Consumers, c.Name) {
					ids = append(ids, s.expand(m)...)
				}
			}
		}
	}
	return ids
}

// keysText tells how many keys change when they run out.
func keysText(was, is *side) string {
	n := 0
	for key, a := range was.credentials {
		if b := is.credentials[key]; b != nil && !a.NotAfter.Equal(b.NotAfter) {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return strings.TrimSpace(plural(n, "key runs", "keys run")) + " out at another time"
}
