package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unsafe"

	"lictor/policy/internal/trie"
)

// Set is a compiled policy. It is immutable; a nil Set refuses everything with
// policy_unavailable. A [Builder] makes it.
type Set struct {
	prefix string
	bind   bool // C6
	index  uint64
	sum    digestSum
	digits string // the first of sum in hex

	lists  [2]trie.Trie[uint32, *liveList] // of blacklists, of whitelists; by number
	guards [2]listIndex                    // their entries
	feeds  []*Feed                         // blacklists from elsewhere, by name
	admits [2]admission                    // gateway, egress: what whitelists there are
	misses [2]*Tally                       // gateway, egress: what whitelists in report mode do not let pass
	closed [2][]Rule                       // gateway, egress: what closes them as a whole (X6)
	broken trie.Trie[Key, *object]         // stand-ins for what can not be read
	noted  trie.Trie[Key, *object]         // what refers to others, or may be of no use

	consumers   trie.Trie[string, *liveConsumer]
	byID        trie.Trie[string, []*liveConsumer] // in the order of their names
	byCustomID  trie.Trie[string, []*liveConsumer]
	credentials trie.Trie[[32]byte, *liveCredential]
	filters     trie.Trie[string, *liveFilter]
	acls        trie.Trie[string, *apiACLs]
	bindings    trie.Trie[subject, *binding] // only with C6
	plugins     map[string]*apiPlugins       // by API; "" is every API
	tokenRules  []*TokenRules                // of the plugins jwt
	demands     []Closing                    // keys that are demanded as plugins are not known
	members     trie.Trie[string, int]       // consumers that name a group
	groups      trie.Trie[string, bool]      // group objects
	pluginIDs   trie.Trie[string, *livePlugin]

	apis      trie.Trie[string, *liveAPI]
	spellings trie.Trie[string, []string] // of names of APIs with capitals that rules know, by what they are without
	domains   trie.Trie[string, *liveMapping]
	wildcards trie.Trie[string, *liveMapping] // by the domain behind "*."
	routes    *routeTable
	parts     *routeTable // of routes, those of APIs that are parts of another service

	rejected trie.Trie[Key, *Rejection]
	counts   map[Kind]int
}

const (
	blacklists = 0
	whitelists = 1
	gateway    = 0
	egress     = 1
)

// admission counts whitelist entries; without any everything is admitted.
type admission struct {
	enforced, report int
	byAddr           int // of the enforced ones those that admit by address or service
}

// liveConsumer is a consumer in force.
type liveConsumer struct {
	Identity
	key   string
	index uint64
}

// liveMapping is a mapped domain in force.
type liveMapping struct {
	*Mapping
	rule     Rule
	closed   bool // stands in for one that can not be read
	backends *Backends
	service  string // of discovery, "" if there are backends
}

// Version says which policy is in force. Two lictors with the same hash decide
// the same.
type Version struct {
	Hash  string // of all that is live, in whatever order it was loaded
	Index uint64 // of the store, as of the last change applied
}

// Version returns the version of the set.
func (s *Set) Version() Version {
	if s == nil {
		return Version{}
	}
	return Version{Hash: hex.EncodeToString(s.sum.bytes()), Index: s.index}
}

// Digits are the first 8 of the hash in hex, by which people tell policies apart;
// "" for no Set. They are made once.
func (s *Set) Digits() string {
	if s == nil {
		return ""
	}
	return s.digits
}

// Rejected returns what is not in force and why, in the order of the keys.
func (s *Set) Rejected() []*Rejection {
	if s == nil {
		return nil
	}
	var all []*Rejection
	s.rejected.All(func(_ Key, r *Rejection) bool {
		all = append(all, r)
		return true
	})
	slices.SortFunc(all, func(a, b *Rejection) int { return a.Key.Compare(b.Key) })
	return all
}

// Objects returns how many objects of a kind are in force.
func (s *Set) Objects(kind Kind) int {
	if s == nil {
		return 0
	}
	return s.counts[kind]
}

// UsesLocations reports whether some filter asks for a country, which needs a
// GeoIP data base (C29).
func (s *Set) UsesLocations() bool { return s != nil && s.counts[locationsCount] > 0 }

// locationsCount counts filters with locations, beside the kinds.
const locationsCount = Kind("filters with locations")

// Identify returns the consumer that a key belongs to, nil if the key is
// unknown or has run out; and the id of a key that is known, whether it counts or
// not, "" if it has none. The egress asks it about Proxy-Authorization.
func (s *Set) Identify(key string, now time.Time) (who *Identity, credential string) {
	if s == nil || key == "" {
		return nil, ""
	}
	digest := sha256.Sum256(unsafe.Slice(unsafe.StringData(key), len(key)))
	c, credential := s.identify(&digest, now)
	if c == nil {
		return nil, credential
	}
	return &c.Identity, credential
}

// Consumer returns a consumer by id or name, nil if there is none.
func (s *Set) Consumer(name string) *Identity {
	if s == nil {
		return nil
	}
	if c := s.consumer(name); c != nil {
		return &c.Identity
	}
	return nil
}

// consumer finds a consumer by id, else by name.
func (s *Set) consumer(ref string) *liveConsumer {
	h := hashString(ref)
	if same, ok := s.byID.Get(h, ref); ok {
		return same[0]
	}
	c, _ := s.consumers.Get(h, ref)
	return c
}

// certified returns the one consumer that the names of a certificate belong to,
// nil if they belong to nobody, or not all to the same: an id that two have, or
// two ids, leave open who it is.
func (s *Set) certified(names []string) (found *liveConsumer) {
	for _, n := range names {
		same, _ := s.byCustomID.Get(hashString(n), n)
		switch {
		case len(same) == 0:
		case len(same) > 1, found != nil && found != same[0]:
			return nil
		default:
			found = same[0]
		}
	}
	return found
}

// mapping finds the mapping of a host: exact, else wildcard (B14).
func (s *Set) mapping(host string) *liveMapping {
	if s.domains.Len() > 0 {
		if m, ok := s.domains.Get(hashString(host), host); ok {
			return m
		}
	}
	if s.wildcards.Len() > 0 {
		if i := strings.IndexByte(host, '.'); i > 0 {
			m, _ := s.wildcards.Get(hashString(host[i+1:]), host[i+1:])
			return m
		}
	}
	return nil
}
