package replay

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/cases"
)

// Object is an object of a policy with its key.
type Object struct {
	Key    policy.Key
	Object policy.Object
	Text   string // that differs where the object does
}

// Policy is a policy that records are tried on. It does not change.
type Policy struct {
	prefix  string         // of the keys of its rules
	sets    [2]*policy.Set // without and with bind_consumers
	objects map[policy.Key]string
	rules   []policy.Rule
	keys    map[string][32]byte // by what a record has of their hash; the zero one where two have the same
	known   map[[32]byte]policy.Credential
	acls    map[string]string // their APIs, by name
	cuts    []netip.Prefix    // of rules, sorted
	paths   []string          // of rules, canonical without last slash, sorted
}

// New returns the policy that objects make. compile puts them together, as with
// bind_consumers or without.
func New(objects []Object, compile func(bind bool) (*policy.Set, error)) (*Policy, error) {
	p := &Policy{objects: make(map[policy.Key]string), keys: make(map[string][32]byte), known: make(map[[32]byte]policy.Credential), acls: make(map[string]string)}
	for i := range p.sets {
		var err error
		if p.sets[i], err = compile(i == 1); err != nil {
			return nil, err
		}
	}
	for _, o := range objects {
		p.objects[o.Key] = o.Text
		p.rules = append(p.rules, cases.Rules(o.Key, o.Object)...)
		p.add(o.Key, o.Object)
	}
	slices.SortFunc(p.cuts, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	p.cuts, p.paths = slices.Compact(p.cuts), slices.Compact(slices.Sorted(slices.Values(p.paths)))
	return p, nil
}

// set is the policy as a lictor with these settings has it.
func (p *Policy) set(h *Head) *policy.Set {
	if h != nil && h.BindConsumers {
		return p.sets[1]
	}
	return p.sets[0]
}

// plain is a rule without the prefix of the store.
func (p *Policy) plain(r policy.Rule) policy.Rule {
	r.Key = strings.TrimPrefix(r.Key, p.prefix)
	return r
}

// add notes what of an object the worlds and the keys are made of.
func (p *Policy) add(k policy.Key, o policy.Object) {
	switch o := o.(type) {
	case *policy.Credential:
		var sum [32]byte
		if _, err := hex.Decode(sum[:], []byte(k.Name)); err != nil {
			return
		}
		p.known[sum] = *o
		name := k.Name[:8]
		if _, twice := p.keys[name]; twice {
			sum = [32]byte{}
		}
		p.keys[name] = sum
	case *policy.ACL:
		p.acls[k.Name] = o.API
	case *policy.List:
		for _, e := range o.Entries {
			p.entry(e)
		}
	case *policy.Filter:
		for _, ip := range o.IPs {
			p.entry(ip)
		}
		for _, path := range o.Paths {
			p.path(path)
		}
	}
}

// entry notes the address or path of an entry. That it may be neither does no harm:
// the more cuts, the more worlds.
func (p *Policy) entry(e string) {
	e = strings.TrimSpace(e)
	if _, target, ok := strings.Cut(e, " "); ok {
		e = strings.TrimSpace(target)
	}
	if _, rest, ok := strings.Cut(e, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			p.path(rest[i:])
		}
		return
	}
	if strings.HasPrefix(e, "/") {
		p.path(e)
		return
	}
	if a, err := netip.ParseAddr(e); err == nil {
		a = a.Unmap()
		p.cuts = append(p.cuts, netip.PrefixFrom(a, a.BitLen()))
	} else if c, err := netip.ParsePrefix(e); err == nil {
		if a := c.Addr(); a.Is4In6() && c.Bits() >= 96 {
			c = netip.PrefixFrom(a.Unmap(), c.Bits()-96)
		}
		p.cuts = append(p.cuts, c.Masked())
	}
}

func (p *Policy) path(text string) {
	if path, _, err := uri.ParsePath(text, nil); err == nil {
		p.paths = append(p.paths, strings.TrimSuffix(strings.Clone(path.Canonical), "/"))
		if path.Odd() {
			p.paths = append(p.paths, strings.TrimSuffix(path.Decoded(), "/"))
		}
	}
}

// has reports whether the policy has the object of a rule.
func (p *Policy) has(rule string) bool {
	key, ok := policy.ParseKey(rule)
	if !ok {
		return false
	}
	_, ok = p.objects[key]
	return ok
}

// freshKeys reports whether p has a key that other has not, or that was another's, or
// nobody's.
func (p *Policy) freshKeys(other *Policy) bool {
	if other == nil {
		return len(p.known) > 0
	}
	for sum, c := range p.known {
		o, ok := other.known[sum]
		if !ok || o.ID != c.ID || !o.NotAfter.Equal(c.NotAfter) || p.owner(c.Consumer) != other.owner(o.Consumer) {
			return true
		}
	}
	return false
}

// owner is the id of a consumer by id or name, "" if there is none.
func (p *Policy) owner(ref string) string {
	if who := p.sets[0].Consumer(ref); who != nil {
		return who.ID
	}
	return ""
}

// changed returns the rules of either policy whose objects differ, the rules of p
// first. Without another one each rule is.
func (p *Policy) changed(other *Policy) (all []policy.Rule) {
	differs := func(r policy.Rule) bool {
		key, _ := policy.ParseKey(r.Key)
		return other == nil || p.objects[key] != other.objects[key]
	}
	for _, r := range p.rules {
		if differs(r) {
			all = append(all, r)
		}
	}
	if other == nil {
		return all
	}
	for _, r := range other.rules {
		if differs(r) && !p.has(r.Key) {
			all = append(all, r)
		}
	}
	return all
}

// maxWorlds bounds what is tried for one masked address or path.
const maxWorlds = 1024

// addresses returns one address of each class into which the rules of the policies
// part a prefix; false if there are too many.
func addresses(within netip.Prefix, policies ...*Policy) ([]netip.Addr, bool) {
	all := []netip.Addr{within.Addr()}
	for _, p := range policies {
		if p == nil {
			continue
		}
		i, _ := slices.BinarySearchFunc(p.cuts, within.Addr(), func(c netip.Prefix, a netip.Addr) int { return c.Addr().Compare(a) })
		for ; i < len(p.cuts) && within.Contains(p.cuts[i].Addr()); i++ {
			c := p.cuts[i]
			if c.Bits() <= within.Bits() {
				continue
			}
			all = append(all, c.Addr())
			if after := lastOf(c).Next(); within.Contains(after) {
				all = append(all, after)
			}
			if len(all) > maxWorlds {
				return nil, false
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), true
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// someSegment is one that no rule is thought to name.
const someSegment = "/~b2f1c9"

// below returns one path of each class into which the rules of the policies part what
// lies below a path; false if there are too many. base is canonical.
func below(base string, policies ...*Policy) (all []string, ok bool) {
	base = strings.TrimSuffix(base, "/")
	all = append(all, base+someSegment)
	for _, p := range policies {
		if p == nil {
			continue
		}
		i, _ := slices.BinarySearch(p.paths, base+"/")
		for ; i < len(p.paths) && strings.HasPrefix(p.paths[i], base+"/"); i++ {
			if all = append(all, p.paths[i]); len(all) > maxWorlds {
				return nil, false
			}
		}
	}
	return all, true
}
