package impact

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"lictor/policy"
)

// side is one of the two policies: the set that decides, and the objects that say
// what there is to tell requests apart by.
type side struct {
	set     *policy.Set
	objects map[policy.Key]*policy.Change
	broken  []policy.Key // that cannot be read

	consumers   map[string]*policy.Consumer // by name
	ids         map[string][]string         // names of the consumers that have an id, in order
	custom      map[string][]string         // the same of a custom_id
	credentials map[string]*policy.Credential
	groups      map[string]*policy.Group
	members     map[string]bool // groups that some consumer is in
	filters     map[string]*policy.Filter
	plugins     map[string]*policy.Plugin
	lists       map[policy.Key]*policy.List
	apis        map[string]*policy.API
	domains     map[string]*policy.Mapping
	acls        map[string][]*policy.ACL           // by API
	mapped      map[string][]*policy.PluginMapping // by API; "" is every API
	aclOf       map[string]*policy.ACL             // by name
	mappedOf    map[string]*policy.PluginMapping   // by name
	inUse       map[string]bool                    // plugins that some mapping maps
}

func newSide(changes []policy.Change) *side {
	s := &side{
		objects: make(map[policy.Key]*policy.Change, len(changes)), consumers: make(map[string]*policy.Consumer), ids: make(map[string][]string),
		custom: make(map[string][]string), credentials: make(map[string]*policy.Credential), groups: make(map[string]*policy.Group),
		members: make(map[string]bool), filters: make(map[string]*policy.Filter), plugins: make(map[string]*policy.Plugin),
		lists: make(map[policy.Key]*policy.List), apis: make(map[string]*policy.API), domains: make(map[string]*policy.Mapping),
		acls: make(map[string][]*policy.ACL), mapped: make(map[string][]*policy.PluginMapping),
		aclOf: make(map[string]*policy.ACL), mappedOf: make(map[string]*policy.PluginMapping), inUse: make(map[string]bool),
	}
	for i := range changes {
		if c := &changes[i]; c.Object != nil || c.Err != nil {
			s.objects[c.Key] = c
			if c.Err != nil {
				s.broken = append(s.broken, c.Key)
			} else {
				s.file(c)
			}
		}
	}
	for id := range s.ids {
		slices.Sort(s.ids[id])
	}
	for _, all := range s.mapped {
		for _, m := range all {
			for _, id := range s.expand(m) {
				s.inUse[id] = true
			}
		}
	}
	return s
}

// file notes an object under what others call it. It completes what a document
// leaves out, as a [policy.Builder] does.
func (s *side) file(c *policy.Change) {
	if len(policy.Check(c.Key.Name, c.Object)) > 0 {
		s.broken = append(s.broken, c.Key)
		return
	}
	switch o := c.Object.(type) {
	case *policy.Consumer:
		s.consumers[o.Name] = o
		s.ids[o.ID] = append(s.ids[o.ID], o.Name)
		if o.CustomID != "" {
			s.custom[o.CustomID] = append(s.custom[o.CustomID], o.Name)
		}
		for _, g := range o.Groups {
			s.members[g] = true
		}
	case *policy.Credential:
		s.credentials[c.Key.Name] = o
	case *policy.Group:
		s.groups[c.Key.Name] = o
	case *policy.Filter:
		s.filters[c.Key.Name] = o
	case *policy.Plugin:
		s.plugins[c.Key.Name] = o
	case *policy.List:
		s.lists[c.Key] = o
	case *policy.API:
		s.apis[c.Key.Name] = o
	case *policy.Mapping:
		s.domains[o.Domain] = o
	case *policy.ACL:
		s.acls[o.API] = append(s.acls[o.API], o)
		s.aclOf[c.Key.Name] = o
	case *policy.PluginMapping:
		s.mapped[o.API] = append(s.mapped[o.API], o)
		s.mappedOf[c.Key.Name] = o
	}
}

// expand returns the plugins that a mapping maps, by itself or by its groups (C13).
func (s *side) expand(m *policy.PluginMapping) (ids []string) {
	ids = slices.Clone(m.Plugins)
	for _, g := range m.Groups {
		if x := s.groups[g]; x != nil {
			ids = append(ids, x.Plugins...)
		}
	}
	return ids
}

// global reports whether a plugin holds everywhere (C12).
func (s *side) global(id string) bool {
	p := s.plugins[id]
	return p != nil && !s.inUse[id] && (p.Enabled == nil || *p.Enabled) && (p.Global == nil || *p.Global)
}

// consumer finds a consumer by id, else by name, as the policy does.
func (s *side) consumer(ref string) string {
	if names := s.ids[ref]; len(names) > 0 {
		return names[0]
	}
	if s.consumers[ref] != nil {
		return ref
	}
	return ""
}

// namesItself reports whether a reference by name means the consumer.
func (s *side) namesItself(c *policy.Consumer) bool {
	return c.Name != c.ID && len(s.ids[c.Name]) == 0
}

// reference returns by what a dry question is that of a consumer, "" if by nothing:
// of two with one id the second can be known by a certificate or a token alone.
func (s *side) reference(name string) string {
	c := s.consumers[name]
	for _, ref := range []string{name, c.ID} {
		if s.consumer(ref) == name {
			return ref
		}
	}
	return ""
}

// mappingOf returns the domain of the mapping that has a host (B14), "" if none has.
func mappingOf(host string, has func(domain string) bool) string {
	if has(host) {
		return host
	}
	if _, parent, ok := strings.Cut(host, "."); ok && has("*."+parent) {
		return "*." + parent
	}
	return ""
}

// same reports whether two changes put the same into force.
func same(a, b *policy.Change) bool {
	if a == nil || b == nil {
		return a == b
	}
	if k := a.Key.Kind; (k == policy.KindPlugins || k == policy.KindAPIs) && a.Created != b.Created {
		return false // which settles ties
	}
	if a.Object == b.Object || reflect.DeepEqual(a.Object, b.Object) {
		return true
	}
	x, errX := json.Marshal(a.Object)
	y, errY := json.Marshal(b.Object)
	return errX == nil && errY == nil && string(x) == string(y)
}
