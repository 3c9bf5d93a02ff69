package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"lictor/internal/uri"
	"lictor/policy/internal/trie"
)

// listRule is an entry of a list in force. Where it stands now and what mode
// its list has is looked up when it matches: so a change of a list's note or
// index does not touch its entries.
type listRule struct {
	entry
	list string // the object's name
	text string // the entry as written
}

// place is where the index files an entry: under it lie those that differ in
// method, port or spelling only.
type place struct {
	host, path string
	service    bool
	prefix     netip.Prefix
}

func (r *listRule) place() place {
	switch {
	case r.service != "":
		return place{host: r.service, service: true}
	case r.isPath():
		return place{host: r.host, path: r.paths[0]}
	}
	return place{host: r.host, prefix: r.prefix}
}

// liveList is a list object in force.
type liveList struct {
	*List
	key   string
	index uint64
}

// urlKey files a URL entry.
type urlKey struct{ host, path string }

// pathHead is what there is for a path prefix: bare paths, and how many URLs.
type pathHead struct {
	bare []*listRule
	urls int
}

// listIndex finds the entries that speak of a request among any number of
// others, by hash and prefix look-ups. It is persistent: enter changes this one
// and leaves copies of it as they were. There is one for each kind of list and
// listener.
type listIndex struct {
	hosts    trie.Trie[string, []*listRule]
	paths    trie.Trie[string, pathHead]
	urls     trie.Trie[urlKey, []*listRule]
	services trie.Trie[string, []*listRule]
	addrs    *bart.Table[[]*listRule]
	naddrs   int
	seen     bloom // of hosts and paths

	labels int // most dots in any host entry so far: longer names are looked up only that far
	depth  int // most slashes in any path so far
}

// enter files a rule, or takes it out if add is false.
func (x *listIndex) enter(r *listRule, add bool) {
	switch {
	case r.isPath():
		for _, p := range r.paths {
			x.depth = max(x.depth, strings.Count(p, "/"))
			x.enterPath(r, p, add)
		}
	case r.service != "":
		file(&x.services, hashString(r.service), r.service, r, add)
	case r.host != "":
		x.labels = max(x.labels, strings.Count(r.host, "."))
		h := hashHost(r.host)
		file(&x.hosts, h, r.host, r, add)
		x.seen.add(h, add)
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

// enterPath files a rule under one path prefix.
func (x *listIndex) enterPath(r *listRule, path string, add bool) {
	h := hashPath(path)
	head, _ := x.paths.Get(h, path)
	if r.host == "" {
		head.bare = withRule(head.bare, r, add)
	} else {
		k := urlKey{r.host, path}
		before := x.urls.Len()
		file(&x.urls, hashURL(hashHost(r.host), h), k, r, add)
		head.urls += x.urls.Len() - before
	}
	set(&x.paths, h, path, head, len(head.bare)+head.urls > 0)
	x.seen.add(h, add)
}

// file puts a rule into, or takes it out of, its bucket of a trie.
func file[K comparable](t *trie.Trie[K, []*listRule], hash uint64, key K, r *listRule, add bool) {
	old, _ := t.Get(hash, key)
	if bucket := withRule(old, r, add); len(bucket) > 0 {
		*t = t.With(hash, key, bucket)
	} else {
		*t = t.Without(hash, key)
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
		return slices.Concat(bucket[:i], []*listRule{r}, bucket[i:])
	case !add && found:
		return slices.Concat(bucket[:i], bucket[i+1:])
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
	lists   *trie.Trie[string, *liveList]
	method  string
	host    string
	port    uint16
	ingress bool
	tunnel  bool
	denies  bool   // the lists are blacklists
	hostSum uint64 // hash of host, once byHost has run
	seek    seek
	who     *Identity

	hit, would *listRule // first match sought; first one in report mode
	asks       bool      // a list would have spoken if only we knew who it is
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
	case r.method != "" && (q.tunnel || !q.does(r.method)):
		return false
	case r.port == 0:
		return true
	case !q.ingress:
		return r.port == q.port
	case r.prefix.IsValid():
		return false // A17: an address with a port is never a client
	}
	// The port in Host is the client's choice and steers nothing else, so it is no
	// way round an entry that denies.
	return q.denies || !r.portSaid || r.port == q.port
}

// does reports whether the request's method is that of an entry. One that denies
// takes it in any case, for some backends do; one that admits as it is.
func (q *inquiry) does(method string) bool {
	return q.method == method || q.denies && strings.EqualFold(q.method, method)
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
	live, ok := q.lists.Get(hashString(r.list), r.list)
	if !ok || !live.admits(q) {
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

// admits reports whether a list speaks of the one who asks.
func (l *liveList) admits(q *inquiry) bool {
	switch {
	case !l.hasSubject():
		return true
	case q.who == nil:
		q.asks = q.asks || q.seek == seekAny || !l.Mode.Reports()
		return false
	}
	return slices.Contains(l.Consumers, q.who.ID) || slices.Contains(l.Consumers, q.who.Name) ||
		slices.ContainsFunc(q.who.Groups, func(g string) bool { return slices.Contains(l.Groups, g) })
}

// byHost looks for the host itself and every domain above it, from the right,
// as far as the longest entry reaches.
func (x *listIndex) byHost(q *inquiry) bool {
	h, dots := hostSeed, 0
	for i := len(q.host) - 1; i >= 0; i-- {
		if q.host[i] == '.' {
			if dots <= x.labels && x.seen.may(finish(h)) && x.tryHost(q, finish(h), q.host[i+1:]) {
				return true
			}
			dots++
		}
		h = step(h, q.host[i])
	}
	q.hostSum = finish(h)
	return dots <= x.labels && x.seen.may(q.hostSum) && x.tryHost(q, q.hostSum, q.host)
}

func (x *listIndex) tryHost(q *inquiry, hash uint64, name string) bool {
	bucket, _ := x.hosts.Get(hash, name)
	not := hostExact
	if len(name) == len(q.host) {
		not = hostSubdomains
	}
	for _, r := range bucket {
		if r.scope != not && q.speaks(r) && q.take(r) {
			return true
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
	if x.services.Len() == 0 || name == "" {
		return false
	}
	bucket, _ := x.services.Get(hashString(name), name)
	return q.try(bucket)
}

// byPath looks for each prefix of a path by whole segments, for any host and
// for this one. byHost has to have run.
func (x *listIndex) byPath(q *inquiry, path string) bool {
	h, depth := pathSeed, 0
	for i := 0; i < len(path) && depth <= x.depth; i++ {
		if path[i] == '/' {
			if x.seen.may(finish(h)) && x.tryPath(q, finish(h), path[:i]) {
				return true
			}
			depth++
		}
		h = step(h, path[i])
	}
	return depth <= x.depth && x.seen.may(finish(h)) && x.tryPath(q, finish(h), path)
}

func (x *listIndex) tryPath(q *inquiry, hash uint64, prefix string) bool {
	head, _ := x.paths.Get(hash, prefix)
	if len(head.bare) > 0 && q.try(head.bare) {
		return true
	}
	if head.urls == 0 {
		return false
	}
	bucket, _ := x.urls.Get(hashURL(q.hostSum, hash), urlKey{q.host, prefix})
	return q.try(bucket)
}

// byReadings looks at the readings of a path: a blacklist wants any to match, a
// whitelist all (D22). A nil path is that of a tunnel, which only entries
// without a path can speak of (A12).
func (x *listIndex) byReadings(q *inquiry, p *uri.Path, r *uri.ReadingSet, any bool) bool {
	switch {
	case x.paths.Len() == 0:
		return false
	case p == nil:
		return x.byPath(q, "")
	}
	hit := x.byPath(q, p.Canonical)
	if hit == any || !p.Odd() {
		return hit
	}
	for _, path := range r.Of(p) {
		if hit = x.byPath(q, path); hit == any {
			return hit
		}
	}
	return hit
}
