// Package policy decides what may happen to a request.
//
// Operators write objects (lists, consumers, ACLs, plugins ...); a [Builder]
// turns them into a [Set], one change at a time and at the cost of that change.
// A Set never changes. [Set.Route] names the API and the service of a request,
// [Set.Decide] says whether it may pass; for the egress there are
// [Set.Blacklisted] and [Set.Whitelisted]. All of them are pure functions of
// the set and the request: they read no clock, start no goroutine and allocate
// nothing, so any data plane may call them from any number of goroutines. The
// one thing that a decision changes is the [Limiter] that the caller hands in.
//
// Rules that hold everywhere:
//
//   - The zero [Verdict] denies. A nil Set denies. Whatever is forgotten is refused.
//   - Deny beats allow. The first refusal gives the reason.
//   - A rule that denies sees every reading of a path that some backend could
//     make, a rule that grants wants all of them to match (D22).
//   - A value that can not be read never opens anything (X6).
//   - A rule in report mode is evaluated and told, never enforced (X13).
//
// The package must not import net, net/http, Consul, HCL or a logger.
package policy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Kind is a kind of object, the part of a store key after "policy/" (X11).
type Kind string

// The kinds of objects; [TableOf] says what each is.
const (
	KindBlacklist      Kind = "blacklist"
	KindWhitelist      Kind = "whitelist"
	KindConsumers      Kind = "consumers"
	KindCredentials    Kind = "credentials"
	KindGroups         Kind = "groups"
	KindFilters        Kind = "filters"
	KindPlugins        Kind = "plugins"
	KindACLs           Kind = "acls"
	KindPluginMappings Kind = "plugin-mappings"
	KindAPIs           Kind = "apis"
	KindMappings       Kind = "mappings"
)

// Kinds are all kinds there are.
var Kinds = [...]Kind{
	KindBlacklist, KindWhitelist, KindConsumers, KindCredentials, KindGroups, KindFilters,
	KindPlugins, KindACLs, KindPluginMappings, KindAPIs, KindMappings,
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return slices.Contains(Kinds[:], k) }

// Key names an object in the store: <prefix>policy/<kind>/<name>.
type Key struct {
	Kind Kind
	Name string
}

// String returns the key as it stands behind the store's prefix.
func (k Key) String() string { return "policy/" + string(k.Kind) + "/" + k.Name }

// ParseKey reads what stands behind the store's prefix. ok is false for what is
// no object's key: another tree, an unknown kind, an empty name, a folder.
func ParseKey(s string) (k Key, ok bool) {
	s, ok = strings.CutPrefix(s, "policy/")
	kind, name, found := strings.Cut(s, "/")
	k = Key{Kind: Kind(kind), Name: name}
	return k, ok && found && name != "" && k.Kind.Valid() && !strings.HasSuffix(name, "/")
}

// Compare orders keys by kind, then by name.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Kind, other.Kind), cmp.Compare(k.Name, other.Name))
}

func (k Key) hash() uint64 { return hashString(k.Name) ^ hashString(string(k.Kind)) }

// Mode says whether a rule is enforced (X13). Its zero value enforces.
type Mode string

const (
	Enforce Mode = "enforce" // a rule does what it says
	Report  Mode = "report"  // evaluated, logged, counted; not enforced
)

// Reports reports whether m is report mode.
func (m Mode) Reports() bool { return m == Report }

// Direction says which listeners a list guards (A17).
type Direction string

const (
	Ingress Direction = "ingress" // the gateway
	Egress  Direction = "egress"  // the forward proxy
	Both    Direction = "both"    // the gateway and the forward proxy
)

func (d Direction) covers(other Direction) bool { return d == Both || d == other }

// Problem is one thing that is wrong with an object, with its place.
type Problem struct {
	Line  int    `json:"line,omitempty"`  // in the document, from 1; 0 if not known
	Field string `json:"field,omitempty"` // "entries[3]", "config.second"; "" if it is the whole
	Text  string `json:"text"`            // what is wrong: want, got
}

func (p Problem) String() string {
	s := p.Text
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Line > 0 {
		s = "line " + strconv.Itoa(p.Line) + ": " + s
	}
	return s
}

// Problems is what is wrong with an object, as an error.
type Problems []Problem

// Error tells the first problems, each cut short: a list of which every line is
// wrong, or one line of half a megabyte, is to leave the log readable.
func (p Problems) Error() string {
	const most, longest = 20, 300
	var texts []string
	for _, one := range p[:min(len(p), most)] {
		text := one.String()
		if len(text) > longest {
			text = strings.ToValidUTF8(text[:longest], "") + "..."
		}
		texts = append(texts, text)
	}
	if len(p) > most {
		texts = append(texts, "and "+strconv.Itoa(len(p)-most)+" more")
	}
	return strings.Join(texts, "; ")
}

// Rejection is an object, or a part of one, that is not in force (X6).
type Rejection struct {
	Key      Key      `json:"-"`
	Path     string   `json:"key"` // with the store's prefix
	Index    uint64   `json:"index"`
	Kept     bool     `json:"kept"`    // the former good value stays in force
	Partial  bool     `json:"partial"` // the object is in force without the bad entries
	Closes   bool     `json:"closes"`  // it closes something until it is repaired or deleted
	Problems Problems `json:"problems"`
}
