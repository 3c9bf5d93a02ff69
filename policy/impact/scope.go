package impact

import (
	"maps"
	"slices"

	"lictor/policy"
)

// scope is what a change can touch. Whatever lies outside of it is decided by the
// same look-ups with the same results in both policies, for a decision finds each
// object by name, and reads no other than these:
//
//   - lists: all of them. An entry that both policies enforce says the same in both,
//     so a request can be decided otherwise only where an entry matches that one of
//     them does not enforce; of a whitelist also where none matches, so that a
//     changed whitelist touches everything.
//   - ACLs and plugin mappings of the API that the route names, of the APIs that
//     another reading of the path leads to, and mappings without an API: a change of
//     one touches its API, a change of a filter, plugin or group the APIs of those
//     that refer to it. A plugin that is global, or becomes it, touches every API.
//   - APIs with filters: a change of one, or of a filter of one, may touch whatever
//     goes its way, so it counts for every request. An API without filters is found
//     by its name, as a mapping is by its domain: one that comes or goes touches what
//     is sent to the hosts that it has, whatever their road was (see hosts).
//   - the consumer who asks, by what he is called and his groups. A change of
//     consumers and credentials alone touches only those who are somebody else, or
//     called otherwise, in the other policy. If a group gets its first member or
//     loses its last, that narrows or widens the mappings that name it (C13): they
//     are changed as well.
//
// With bind_consumers an ACL speaks of its subjects wherever they go, and touches
// everything.
type scope struct {
	changed map[policy.Key]bool
	every   bool            // every API
	apis    map[string]bool // touched
	people  bool            // somebody is somebody else, or called otherwise
	entries []entry         // of blacklists that one policy alone enforces
	bind    bool
}

func newScope(was, is *side, bind bool) *scope {
	c := &scope{changed: make(map[policy.Key]bool), apis: make(map[string]bool), bind: bind}
	for k, o := range was.objects {
		if !same(o, is.objects[k]) {
			c.changed[k] = true
		}
	}
	for k := range is.objects {
		if was.objects[k] == nil {
			c.changed[k] = true
		}
	}
	for k := range c.changed {
		for _, s := range []*side{was, is} {
			c.touch(s, k)
		}
	}
	c.entries = onlyOne(enforced(was, policy.KindBlacklist), enforced(is, policy.KindBlacklist))
	if len(onlyOne(enforced(was, policy.KindWhitelist), enforced(is, policy.KindWhitelist))) > 0 {
		c.every = true
	}
	c.touchByUse(was, is)
	return c
}

// touch notes the APIs that a changed object of one side speaks of.
func (c *scope) touch(s *side, k policy.Key) {
	switch k.Kind {
	case policy.KindMappings:
		c.apis[k.Name] = true
	case policy.KindAPIs:
		c.apis[k.Name] = true
		a := s.apis[k.Name]
		c.every = c.every || a != nil && len(a.Filters) > 0
	case policy.KindACLs:
		if a := s.aclOf[k.Name]; a != nil {
			c.apis[a.API] = true
			c.every = c.every || c.bind
		}
	case policy.KindPluginMappings:
		if m := s.mappedOf[k.Name]; m != nil {
			c.touchMapping(m)
		}
	case policy.KindFilters:
		c.touchFilter(s, k.Name)
	case policy.KindPlugins:
		for _, m := range s.mappedOf {
			if slices.Contains(s.expand(m), k.Name) {
				c.touchMapping(m)
			}
		}
		c.every = c.every || s.global(k.Name)
	case policy.KindGroups:
		for _, m := range s.mappedOf {
			if slices.Contains(m.Groups, k.Name) {
				c.touchMapping(m)
			}
		}
	}
}

func (c *scope) touchMapping(m *policy.PluginMapping) {
	c.apis[m.API] = true
	c.every = c.every || m.API == ""
}

func (c *scope) touchFilter(s *side, name string) {
	for _, a := range s.aclOf {
		if slices.Contains(a.Filters, name) {
			c.apis[a.API] = true
		}
	}
	for _, m := range s.mappedOf {
		if slices.Contains(m.Filters, name) {
			c.touchMapping(m)
		}
	}
	for _, a := range s.apis {
		c.every = c.every || slices.Contains(a.Filters, name)
	}
}

// touchByUse notes what changes without being changed: plugins that become global
// or cease to be it, and mappings of groups that get a member or lose their last.
func (c *scope) touchByUse(was, is *side) {
	for id := range union(was.plugins, is.plugins) {
		if was.global(id) != is.global(id) {
			c.every = true
		}
	}
	for g := range union(was.members, is.members) {
		if was.members[g] == is.members[g] {
			continue
		}
		for _, s := range []*side{was, is} {
			for _, m := range s.mappedOf {
				if x := s.groups[g]; x != nil && len(x.Plugins) > 0 && slices.Contains(m.Groups, g) {
					c.touchMapping(m)
				}
			}
		}
	}
}

// union yields the keys of both maps.
func union[K comparable, V any](a, b map[K]V) map[K]bool {
	all := make(map[K]bool, len(a))
	for k := range maps.Keys(a) {
		all[k] = true
	}
	for k := range maps.Keys(b) {
		all[k] = true
	}
	return all
}

// entry is one of a list, as far as the gateway enforces it.
type entry struct {
	text   string
	allow  bool
	shared bool // both policies enforce it
	policy.Mentions
}

// alone reports whether nothing but an address, a host or a path makes the entry of
// a blacklist match.
func (e *entry) alone() bool {
	return e.Service == "" && len(e.Methods) == 0 && (len(e.Hosts) == 0 || e.Paths == nil)
}

// enforced are the entries of a kind of list that the gateway enforces, by text.
func enforced(s *side, kind policy.Kind) map[string]bool {
	all := make(map[string]bool)
	for k, l := range s.lists {
		if k.Kind == kind && l.Direction != policy.Egress && (l.Direction != "" || !l.Allow) && !l.Mode.Reports() {
			for _, text := range l.Entries {
				all[text] = true
			}
		}
	}
	return all
}

// onlyOne are the entries that one of the two has.
func onlyOne(was, is map[string]bool) (all []entry) {
	for text := range union(was, is) {
		if was[text] != is[text] {
			m, _ := policy.EntryMentions(text)
			all = append(all, entry{text: text, Mentions: m})
		}
	}
	return all
}
