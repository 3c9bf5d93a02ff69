package policy

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	"lictor/policy/internal/trie"
)

// link enters an object into the tables of the next Set, or takes it out. Each
// kind touches only its own: what refers to it finds it by name when a request
// is decided.
func (b *Builder) link(k Key, o *object, add bool) {
	switch x := o.Object.(type) {
	case *Consumer:
		b.linkConsumer(k, x, o, add)
	case *Credential:
		var d [32]byte
		if _, err := hex.Decode(d[:], []byte(k.Name)); err == nil {
			set(&b.set.credentials, digestHash(&d), d, &liveCredential{Credential: x, digest: d, used: o.used}, add)
		}
	case *Group:
		setMap(b.groups, k.Name, &pluginGroup{x, b.ruleOf(k, o), o.broken}, add)
		set(&b.set.groups, hashString(k.Name), k.Name, true, add)
		b.dirty.plugins = true
	case *Filter:
		b.linkFilter(k, x, o, add)
	case *Plugin:
		p := &livePlugin{Plugin: x, key: b.path(k), index: o.index, created: o.created, kind: pluginTypeOf(x.Name), sum: sumOf(x), broken: o.broken, tally: o.tally}
		p.config = pluginTypes[p.kind].compile(x.Config, func(string, string, ...any) {})
		setMap(b.plugins, k.Name, p, add)
		set(&b.set.pluginIDs, hashString(k.Name), k.Name, p, add)
		b.dirty.plugins = true
	case *PluginMapping:
		setMap(b.mappings, k.Name, &mappedPlugins{x, b.ruleOf(k, o), o.broken}, add)
		b.dirty.plugins = true
	case *ACL:
		b.linkACL(k, x, o, add)
	case *API:
		a := &liveAPI{API: x, rule: b.ruleOf(k, o), created: o.created, backends: compileBackends(x.Name, x.Backends), service: x.ServiceName(), closed: o.broken}
		set(&b.set.apis, hashString(k.Name), k.Name, a, add)
		b.dirty.names[k.Name] = true
		if len(x.Filters) > 0 {
			setMap(b.routing, k.Name, a, add)
			b.dirty.routes = true
		}
	case *Mapping:
		m := &liveMapping{Mapping: x, rule: b.ruleOf(k, o), closed: o.broken, backends: compileBackends(x.Domain, x.Backends), service: serviceIn(x.Backends)}
		table, domain := &b.set.domains, x.Domain
		if parent, ok := strings.CutPrefix(domain, "*."); ok {
			table, domain = &b.set.wildcards, parent
		}
		set(table, hashString(domain), domain, m, add)
	}
}

func (b *Builder) ruleOf(k Key, o *object) Rule { return Rule{Key: b.path(k), Index: o.index} }

// among notes c among the consumers that have the same id, or takes it out.
func among(t *trie.Trie[string, []*liveConsumer], id string, c *liveConsumer, add bool) {
	same, _ := t.Get(hashString(id), id)
	same = slices.DeleteFunc(slices.Clone(same), func(o *liveConsumer) bool { return o.Name == c.Name })
	if add {
		same = append(same, c)
		slices.SortFunc(same, func(a, b *liveConsumer) int { return cmp.Compare(a.Name, b.Name) })
	}
	set(t, hashString(id), id, same, len(same) > 0)
}

func (b *Builder) linkConsumer(k Key, c *Consumer, o *object, add bool) {
	live := &liveConsumer{key: b.path(k), index: o.index, Identity: Identity{
		ID: c.ID, Name: c.Name, CustomID: c.CustomID, Groups: c.Groups, GroupsText: joinGroups(c.Groups), Mark: markOf(c)}}
	set(&b.set.consumers, hashString(c.Name), c.Name, live, add)
	among(&b.set.byID, c.ID, live, add)
	if c.CustomID != "" {
		among(&b.set.byCustomID, c.CustomID, live, add)
	}
	for _, g := range c.Groups {
		h := hashString(g)
		before, _ := b.set.members.Get(h, g)
		after := before - 1
		if add {
			after = before + 1
		}
		set(&b.set.members, h, g, after, after > 0)
		// A group that holds plugins narrows a mapping as soon as it has a member.
		if (before == 0) != (after == 0) && b.groups[g] != nil && len(b.groups[g].Plugins) > 0 {
			b.dirty.plugins = true
		}
	}
}

func (b *Builder) linkFilter(k Key, f *Filter, o *object, add bool) {
	live := compileFilter(f, b.path(k), o.index)
	live.broken = o.broken
	set(&b.set.filters, hashString(k.Name), k.Name, live, add)
	if len(f.Locations) > 0 {
		if add {
			b.set.counts[locationsCount]++
		} else {
			b.set.counts[locationsCount]--
		}
	}
	b.dirty.routes = b.dirty.routes || len(b.routing) > 0
}

func (b *Builder) linkACL(k Key, a *ACL, o *object, add bool) {
	if o.broken && a.API == "" {
		return // it closes every API
	}
	live := &liveACL{ACL: a, key: b.path(k), index: o.index, filters: refs(a.Filters), closed: o.broken, tally: o.tally}
	if b.acls[a.API] == nil {
		b.acls[a.API] = make(map[string]*liveACL)
	}
	setMap(b.acls[a.API], k.Name, live, add)
	b.dirty.apis[a.API] = true
	if !b.set.bind {
		return
	}
	a.subjects(func(s subject) bool {
		if b.subjects[s] == nil {
			b.subjects[s] = make(map[string]*liveACL)
		}
		setMap(b.subjects[s], k.Name, live, add)
		b.dirty.subjects[s] = true
		return true
	})
}

// set enters a value into a trie, or takes the key out.
func set[K comparable, V any](t *trie.Trie[K, V], hash uint64, key K, value V, add bool) {
	if add {
		*t = t.With(hash, key, value)
	} else {
		*t = t.Without(hash, key)
	}
}

// setMap is set for a map.
func setMap[V any](m map[string]V, key string, value V, add bool) {
	if add {
		m[key] = value
	} else {
		delete(m, key)
	}
}
