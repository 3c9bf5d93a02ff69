package policy

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"lictor/internal/uri"
	"lictor/policy/internal/packed"
	"lictor/policy/internal/trie"
)

// liveList is a list object in force.
type liveList struct {
	*List
	name  string
	key   string
	index uint64
	tally *Tally
}

// listIndex finds the entries that speak of a request among any number of
// others, by looking up what the request is under: each domain above its host, each
// prefix of its path, each prefix of its client's address that some entry has. There is one
// for each kind of list, and it is immutable but for enter, which the Builder calls
// before a Set has it.
type listIndex struct {
	filed packed.Map

	// What entries there were so far, so that no more than that is looked up.
	labels   int       // most dots in a host
	depth    int       // most slashes in a path
	paths    bool      // any path
	urls     bool      // any path with a host
	lengths  [3]uint64 // a bit for each length of prefixes, as in a wide address
	services [2]int    // how many name a service, by listener
}

// note widens what is looked up for an entry that comes.
func (x *listIndex) note(e *entry) {
	switch e.form() {
	case filedPath:
		for _, p := range e.paths {
			x.depth = max(x.depth, strings.Count(p, "/"))
		}
		x.paths, x.urls = true, x.urls || e.host != ""
	case filedHost:
		x.labels = max(x.labels, strings.Count(e.host, "."))
	case filedAddr:
		length := wideLength(e.prefix)
		x.lengths[length/64] |= 1 << (length % 64)
	}
}

// inquiry is one look-up in a listIndex.
type inquiry struct {
	lists   *trie.Trie[uint32, *liveList]
	feed    *liveList // that is asked, in place of lists
	side    int       // gateway or egress
	method  string
	host    string
	port    uint16
	tunnel  bool
	denies  bool   // the lists are blacklists
	anyCase bool   // the case of a service's name does not count
	hostSum uint64 // hash of host, once byHost has run
	seek    seek
	who     *Identity

	hit, would hit  // first match sought; first one in report mode
	asks       bool // a list would have spoken if only we knew who it is
}

// hit is an entry that speaks of a request, and its list; the zero hit is none.
type hit struct {
	list *liveList
	text string
}

// seek says which rules count as a hit.
type seek uint8

const (
	seekEnforced seek = iota // enforced ones; one in report mode is remembered
	seekAny                  // as if all were enforced
)

// speaks reports whether a rule found under the right key speaks of the request
// in all other respects.
func (q *inquiry) speaks(r *filed) bool {
	switch {
	case r.method != "" && (q.tunnel || !q.does(r.method)):
		return false
	case r.port == 0:
		return true
	case q.side == egress:
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

// wanted is the key under which a rule has to be filed to be found.
type wanted struct {
	form       int
	host, path string // the host is also the name of a service
	not        hostScope
	addr       netip.Addr
	length     int // of its prefix, as in a wide address
}

// has reports whether a rule is filed under the key.
func (w *wanted) has(r *filed, anyCase bool) bool {
	switch w.form {
	case filedAddr:
		return wideLength(r.prefix) == w.length && r.prefix.Contains(w.addr)
	case filedService:
		return sameName(r.service, w.host, anyCase)
	case filedPath:
		return r.host == w.host && samePath(r.path, w.path, anyCase)
	}
	return r.host == w.host && r.scope != w.not
}

// try looks through what was found under a hash, and reports whether there is an
// enforced rule that speaks of the request.
func (q *inquiry) try(found packed.Found, w wanted) bool {
	var r filed
	for record := found.Next(); record != nil; record = found.Next() {
		if formOf(record) != w.form {
			continue
		}
		if readFiled(record, &r); w.has(&r, q.anyCase) && q.speaks(&r) && q.take(&r) {
			return true
		}
	}
	return false
}

// take reports whether a rule that speaks of the request is what is sought.
func (q *inquiry) take(r *filed) bool {
	live := q.feed
	if live == nil {
		live, _ = q.lists.Get(hashNumber(r.list), r.list)
	}
	if live == nil || !live.Direction.covers([...]Direction{gateway: Ingress, egress: Egress}[q.side]) || !live.admits(q) {
		return false
	}
	if q.seek == seekAny || !live.Mode.Reports() {
		q.hit = hit{live, r.text}
		return true
	}
	if q.would.list == nil {
		q.would = hit{live, r.text}
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
			if dots <= x.labels && x.tryHost(q, finish(h), q.host[i+1:]) {
				return true
			}
			dots++
		}
		h = step(h, q.host[i])
	}
	q.hostSum = finish(h)
	return dots <= x.labels && x.tryHost(q, q.hostSum, q.host)
}

func (x *listIndex) tryHost(q *inquiry, hash uint64, name string) bool {
	found := x.filed.Look(hash)
	if !found.Any() {
		return false
	}
	not := hostExact
	if len(name) == len(q.host) {
		not = hostSubdomains
	}
	return q.try(found, wanted{form: filedHost, host: name, not: not})
}

// byAddr looks for all prefixes that an address lies in, longest first, of the
// lengths that there are.
func (x *listIndex) byAddr(q *inquiry, addr netip.Addr) bool {
	if x.lengths == [3]uint64{} || !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	least := 0
	if addr.Is4() {
		least = 96
	}
	w := wideOf(addr)
	for length := x.longest(128); length >= least; length = x.longest(length - 1) {
		found := x.filed.Look(w.hash(length))
		if found.Any() && q.try(found, wanted{form: filedAddr, addr: addr, length: length}) {
			return true
		}
	}
	return false
}

// longest returns the greatest length of a prefix up to one, -1 if there is none.
func (x *listIndex) longest(upTo int) int {
	for ; upTo >= 0; upTo = upTo/64*64 - 1 {
		if of := x.lengths[upTo/64] << (63 - upTo%64); of != 0 {
			return upTo - bits.LeadingZeros64(of)
		}
	}
	return -1
}

// byService looks for the service of a route or a registered address.
func (x *listIndex) byService(q *inquiry, name string) bool {
	if x.services[q.side] == 0 || name == "" {
		return false
	}
	return q.try(x.filed.Look(hashService(name)), wanted{form: filedService, host: name})
}

// byPath looks for each prefix of a path by whole segments, for any host and
// for this one. byHost has to have run.
func (x *listIndex) byPath(q *inquiry, path string) bool {
	return eachPrefix(path, x.depth, func(hash uint64, prefix string) bool { return x.tryPath(q, hash, prefix) })
}

// tryPath looks for one prefix of a path, where a listener sees paths: at the
// egress only those of URLs count (A4).
func (x *listIndex) tryPath(q *inquiry, hash uint64, prefix string) bool {
	if q.side == gateway {
		if found := x.filed.Look(hash); found.Any() && q.try(found, wanted{form: filedPath, path: prefix}) {
			return true
		}
	}
	if !x.urls {
		return false
	}
	found := x.filed.Look(hashURL(q.hostSum, hash))
	return found.Any() && q.try(found, wanted{form: filedPath, host: q.host, path: prefix})
}

// byReadings looks at the readings of a path: a blacklist wants any to match, a
// whitelist all (D22). A nil path is that of a tunnel, which only entries
// without a path can speak of (A12).
func (x *listIndex) byReadings(q *inquiry, p *uri.Path, r *uri.ReadingSet, any bool) bool {
	switch {
	case !x.paths:
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
