package policy

import (
	"math/bits"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"lictor/uri"
)

// listRule is an entry of a list in force. Where it stands now and what mode
// its list has is looked up when it matches: so a change of a list's note or
// index does not touch its entries.
type listRule struct {
	entry
	list string // the object's name
	text string // the entry as written
}

// liveList is a list object in force.
type liveList struct {
	*List
	key   string
	index uint64
}

// urlKey files a URL entry.
type urlKey struct{ host, path string }

func (k urlKey) hash() uint64 { return urlHash(hashString(k.host), k.path) }

func urlHash(host uint64, path string) uint64 {
	return bits.RotateLeft64(host, 31) ^ hashString(path)
}

// listIndex finds the entries that speak of a request among any number of
// others, by hash and prefix look-ups. It is persistent: add and remove return
// a new one. There is one for each kind of list and listener.
type listIndex struct {
	hosts    trie[string, []*listRule]
	urls     trie[urlKey, []*listRule]
	paths    trie[string, []*listRule] // bare ones, without a host
	services trie[string, []*listRule]
	addrs    *bart.Table[[]*listRule]
	naddrs   int

	labels int // most dots in any host entry so far: longer names are looked up only that far
	depth  int // most slashes in any path so far
}

// enter files a rule, or takes it out if add is false.
func (x *listIndex) enter(r *listRule, add bool) {
	switch {
	case r.isPath():
		for _, p := range r.paths {
			x.depth = max(x.depth, strings.Count(p, "/"))
			if r.host == "" {
				file(&x.paths, hashString(p), p, r, add)
			} else {
				k := urlKey{r.host, p}
				file(&x.urls, k.hash(), k, r, add)
			}
		}
	case r.service != "":
		file(&x.services, hashString(r.service), r.service, r, add)
	case r.host != "":
		x.labels = max(x.labels, strings.Count(r.host, "."))
		file(&x.hosts, hashString(r.host), r.host, r, add)
	default:
		if x.addrs == nil {
			x.addrs = new(bart.Table[[]*listRule])
		}
		old, _ := x.addrs.Get(r.prefix)
		if bucket := withRule(old, r, add); len(bucket) > 0 {
			x.addrs = x.addrs.InsertPersist(r.prefix, bucket)
		} else {
			x.addrs = x.addrs.DeletePersist(r.prefix)
		}
		x.naddrs = x.addrs.Size()
	}
}

// file puts a rule into, or takes it out of, its bucket of a trie.
func file[K comparable](t *trie[K, []*listRule], hash uint64, key K, r *listRule, add bool) {
	old, _ := t.get(hash, key)
	if bucket := withRule(old, r, add); len(bucket) > 0 {
		*t = t.with(hash, key, bucket)
	} else {
		*t = t.without(hash, key)
	}
}

// withRule returns a bucket with or without a rule, in an order that does not
// depend on who came first, so that two lictors cite the same rule.
func withRule(bucket []*listRule, r *listRule, add bool) []*listRule {
	i := 0
	for i < len(bucket) && ruleLess(bucket[i], r) {
		i++
	}
	found := i < len(bucket) && bucket[i].list == r.list && bucket[i].text == r.text
	switch {
	case add && !found:
		return insert(bucket, i, r)
	case !add && found:
		return remove(bucket, i)
	}
	return bucket
}

func ruleLess(a, b *listRule) bool {
	if a.list != b.list {
		return a.list < b.list
	}
	return a.text < b.text
}

// inquiry is one look-up in a listIndex.
type inquiry struct {
	lists   *trie[string, *liveList]
	method  string
	host    string
	port    uint16
	ingress bool
	tunnel  bool
	hostSum uint64 // hash of host
	seek    seek

	hit, would *listRule // first match sought; first one in report mode
}

// seek says which rules count as a hit.
type seek uint8

const (
	seekEnforced seek = iota // enforced ones; one in report mode is remembered
	seekAny                  // as if all were enforced
)

// speaks reports whether a rule found under the right key speaks of the request
// in all other respects.
func (q *inquiry) speaks(r *listRule) bool {
	switch {
	case r.method != "" && (q.tunnel || r.method != q.method):
		return false
	case r.port == 0:
		return true
	case !q.ingress:
		return r.port == q.port
	case r.prefix.IsValid():
		return false // A17: an address with a port is never a client
	}
	return !r.portSaid || r.port == q.port // the gateway's own port is not the URL's default
}

// try looks through a bucket and reports whether an enforced rule is found.
func (q *inquiry) try(bucket []*listRule) bool {
	for _, r := range bucket {
		if q.speaks(r) && q.take(r) {
			return true
		}
	}
	return false
}

func (q *inquiry) take(r *listRule) bool {
	live, ok := q.lists.get(hashString(r.list), r.list)
	if !ok {
		return false
	}
	if q.seek == seekAny || !live.Mode.Reports() {
		q.hit = r
		return true
	}
	if q.would == nil {
		q.would = r
	}
	return false
}

// byHost looks for the host itself and every domain above it.
func (x *listIndex) byHost(q *inquiry) bool {
	if x.hosts.len == 0 || q.host == "" {
		return false
	}
	if bucket, ok := x.hosts.get(q.hostSum, q.host); ok {
		for _, r := range bucket {
			if r.scope != hostSubdomains && q.speaks(r) && q.take(r) {
				return true
			}
		}
	}
	// Only as many labels from the right as the longest entry has.
	rest := q.host
	for n := strings.Count(rest, "."); n > 0; n-- {
		rest = rest[strings.IndexByte(rest, '.')+1:]
		if n-1 > x.labels {
			continue
		}
		bucket, ok := x.hosts.get(hashString(rest), rest)
		if !ok {
			continue
		}
		for _, r := range bucket {
			if r.scope != hostExact && q.speaks(r) && q.take(r) {
				return true
			}
		}
	}
	return false
}

// byAddr looks for all prefixes that an address lies in, longest first.
func (x *listIndex) byAddr(q *inquiry, addr netip.Addr) bool {
	if x.naddrs == 0 || !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	if _, ok := x.addrs.Lookup(addr); !ok {
		return false
	}
	for bits := addr.BitLen(); bits >= 0; {
		p, bucket, ok := x.addrs.LookupPrefixLPM(netip.PrefixFrom(addr, bits))
		if !ok {
			return false
		}
		if q.try(bucket) {
			return true
		}
		bits = p.Bits() - 1
	}
	return false
}

// byService looks for the service of a route or a registered address.
func (x *listIndex) byService(q *inquiry, name string) bool {
	if x.services.len == 0 || name == "" {
		return false
	}
	bucket, _ := x.services.get(hashString(name), name)
	return q.try(bucket)
}

// byPath looks for each prefix of a path by whole segments, for any host and
// for this one.
func (x *listIndex) byPath(q *inquiry, path string) bool {
	depth := 0
	for i := 0; i <= len(path) && depth <= x.depth; i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if x.tryPath(q, path[:i]) {
			return true
		}
		depth++
	}
	return false
}

func (x *listIndex) tryPath(q *inquiry, prefix string) bool {
	if x.paths.len > 0 {
		if bucket, ok := x.paths.get(hashString(prefix), prefix); ok && q.try(bucket) {
			return true
		}
	}
	if x.urls.len > 0 && q.host != "" {
		bucket, ok := x.urls.get(urlHash(q.hostSum, prefix), urlKey{q.host, prefix})
		return ok && q.try(bucket)
	}
	return false
}

// byReadings looks at the readings of a path: a blacklist wants any to match, a
// whitelist all (D22). A nil path is that of a tunnel, which only entries
// without a path can speak of (A12).
func (x *listIndex) byReadings(q *inquiry, p *uri.Path, r *uri.Readings, any bool) bool {
	switch {
	case x.paths.len == 0 && x.urls.len == 0:
		return false
	case p == nil:
		return x.byPath(q, "")
	case any:
		return x.byPath(q, p.Canonical) || uri.Any(r, p, pathInquiry{x, q}, pathInquiry.matches)
	}
	return x.byPath(q, p.Canonical) && !uri.Any(r, p, pathInquiry{x, q}, pathInquiry.misses)
}

type pathInquiry struct {
	x *listIndex
	q *inquiry
}

func (p pathInquiry) matches(path string) bool { return p.x.byPath(p.q, path) }
func (p pathInquiry) misses(path string) bool  { return !p.x.byPath(p.q, path) }
