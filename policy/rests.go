package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// Rests is what a decision rested on that the request alone does not tell: where a
// key was looked for, and which plugins had a say whose answer depends on more than
// the policy. A record of the decision keeps it (R1), so that a replay knows what it
// may take from the record (R2). It holds no value that a client sent.
type Rests struct {
	KeyNames []string // fields and arguments in which a key was looked for, in this order
	Key      string   // of KeyNames, where one was found; "" = nowhere
	KeySum   uint32   // the first digits of the hash of a key that is known; 0 = none was, or it has no id and does not count

	Aside bool // such a plugin had a say for another API that the path may be read as one for

	plugins [nPluginTypes]uint32
}

// LookForKey notes in v, the verdict on a request that was refused before anybody
// looked for its key, where one stands and whether it is known: for a record of the
// decision (R1), so that a replay knows who asked where that refusal is taken away.
// Nothing else of v changes, and nobody is identified. r is that of the decision.
func (s *Set) LookForKey(r *Request, t *Route, v *Verdict) {
	if s == nil || v.Allowed() || v.Rests.KeyNames != nil {
		return
	}
	d := &r.scratch.decision
	*d = decision{set: s, req: r, route: *t}
	names := keyNames
	if won, _ := d.choose(typeKeyAuth); won != nil {
		names = won.config.(*keyAuthConfig).names
	}
	key := d.presented(names)
	v.Rests.KeyNames, v.Rests.Key = names, key.name
	if key.found && !key.twice {
		if who, credential := s.identify(&key.digest, r.Now); who != nil || credential != "" {
			v.Rests.KeySum = binary.BigEndian.Uint32(key.digest[:])
		}
	}
	*d = decision{} // keeps no set alive
}

// behind returns what was before, when r came of another reading of the path.
func (r *Rests) behind(before Rests) Rests {
	before.Aside = before.Aside || r.Aside
	for _, kind := range unsettled {
		before.Aside = before.Aside || r.plugins[kind] != before.plugins[kind]
	}
	return before
}

// unsettled are the types of plugins whose answer depends on what no record holds: a
// token, the length of a body, a counter, an authority. They are in the order in
// which they run.
var unsettled = [...]int{typeJWT, typeRequestSizeLimiting, typeRateLimiting, typeForwardAuth}

// Plugins calls f for each plugin that had a say whose answer depends on more than the
// policy, with its type and a sum of its configuration. It allocates nothing.
func (r *Rests) Plugins(f func(name string, sum uint32)) {
	for _, kind := range unsettled {
		if r.plugins[kind] != 0 {
			f(pluginTypes[kind].name(), r.plugins[kind])
		}
	}
}

// Plugin returns the sum of the configuration of the plugin of a type, 0 if it had no
// say, or is none of those that [Rests.Plugins] tells of.
func (r *Rests) Plugin(name string) uint32 {
	for _, kind := range unsettled {
		if pluginTypes[kind].name() == name {
			return r.plugins[kind]
		}
	}
	return 0
}

// sumOf is a sum of what a plugin does, the same for every object that says the same.
// It is never 0.
func sumOf(p *Plugin) uint32 {
	config, err := json.Marshal(p.Config)
	if err != nil {
		config = []byte(err.Error()) // only of a type that no decoder makes
	}
	sum := sha256.Sum256([]byte(p.Name + " " + string(config)))
	return binary.BigEndian.Uint32(sum[:]) | 1
}

// markOf is a sum of all that tells a consumer from others, as 8 hex digits.
func markOf(c *Consumer) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.ID, c.Name, c.CustomID}, "\x00")))
	return hex.EncodeToString(sum[:4])
}

// ByToken reports whether a token said who it is.
func (v *Verdict) ByToken() bool { return v.token != nil }

// Country returns where the request's client is, as the rules see it: "" for an
// address that belongs to no country, [CountryUnknown] if nobody can tell.
func (r *Request) Country() string { return r.country() }

// Preflight reports whether the request is a preflight (P1).
func (r *Request) Preflight() bool { return r.isPreflight() }
