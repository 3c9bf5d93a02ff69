package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync/atomic"
	"time"
)

// Tally is what a rule, an object that lets pass or refuses, did in this process. It
// outlives changes of the object, and goes with its key. All of it may be used by any
// goroutine; a nil Tally counts nothing.
type Tally struct {
	passed, refused, would atomic.Uint64
	last, lastWould        atomic.Int64 // in seconds since 1970; 0 = never
	changed                atomic.Int64 // when the object came into force as it stands, likewise; 0 = it was not told
}

// effect is what a rule did.
type effect uint8

const (
	hasPassed effect = iota
	hasRefused
	wouldRefuse // in report mode
)

// spoken are the rules that had a say in a decision.
type spoken struct {
	tallies [maxSpoken]*Tally
	effects [maxSpoken]effect
}

// maxSpoken bounds the rules of one decision that are counted: as many as may have a
// say in one. Of each type of plugin these are one that is enforced and one in report
// mode, and besides a blacklist, a whitelist, an ACL of the API and one of another.
const maxSpoken = 2*nPluginTypes + 4

// speaks notes that a rule had a say. It is counted once the caller says so, for not
// every decision is one on a request.
func (v *Verdict) speaks(t *Tally, e effect) {
	if t != nil && v.nspoken < maxSpoken {
		v.spoken.tallies[v.nspoken], v.spoken.effects[v.nspoken] = t, e
		v.nspoken++
	}
}

// Follow adds to a verdict what rules had said in a former one on the same request,
// which let it pass under another name of its service. What both say counts once.
func (v *Verdict) Follow(former *Verdict) {
	for i, t := range former.spoken.tallies[:former.nspoken] {
		if !slices.Contains(v.spoken.tallies[:v.nspoken], t) {
			v.speaks(t, former.spoken.effects[i])
		}
	}
	for _, w := range former.Would() {
		if v.nwould < maxWould && !slices.Contains(v.Would(), w) {
			v.would[v.nwould] = w
			v.nwould++
		}
	}
}

// Count adds a verdict on a request of that moment to the tallies of the rules that
// had a say, and to the key that was shown. It allocates nothing.
func (v *Verdict) Count(now time.Time) {
	at := now.Unix()
	for i := range v.nspoken {
		v.spoken.tallies[i].add(v.spoken.effects[i], at)
	}
	stamp(v.used, at)
}

func (t *Tally) add(e effect, at int64) {
	stamp(&t.last, at)
	switch e {
	case hasPassed:
		t.passed.Add(1)
	case hasRefused:
		t.refused.Add(1)
	case wouldRefuse:
		t.would.Add(1)
		stamp(&t.lastWould, at)
	}
}

// stamp notes a moment, which costs a store at most once a second. Nil is no place for
// one.
func stamp(when *atomic.Int64, at int64) {
	if when != nil && when.Load() < at {
		when.Store(at)
	}
}

// Hits is what a rule did since this process knows it.
type Hits struct {
	Key       string    // kind/name
	Mode      Mode      // Enforce or Report
	Passed    uint64    // requests that it let pass; a blacklist lets none pass
	Refused   uint64    // requests that it refused
	Would     uint64    // requests that it would have refused in report mode; of whitelists and of the ACLs of an API, that none of them lets pass
	Last      time.Time // of any of these; zero = none
	LastWould time.Time
	Changed   time.Time // when it came into force as it stands; zero = not known
}

// EnforceAfter is how long a rule in report mode has to have refused nothing before it
// counts as ready to be enforced.
const EnforceAfter = 24 * time.Hour

// Ready reports whether a rule in report mode is ready to be enforced as far as this
// process can tell: as it stands now it has been watched for a day, and would have
// refused nothing in that time.
func (h *Hits) Ready(now time.Time) bool {
	return h.Mode.Reports() && !h.Changed.IsZero() && now.Sub(h.Changed) >= EnforceAfter &&
		(h.LastWould.IsZero() || now.Sub(h.LastWould) >= EnforceAfter)
}

// Hits tells of all lists, feeds, ACLs and plugins in force, in the order of their keys. It
// costs in proportion to them.
func (s *Set) Hits() (all []Hits) {
	if s == nil {
		return nil
	}
	for kind, k := range [...]Kind{blacklists: KindBlacklist, whitelists: KindWhitelist} {
		s.lists[kind].All(func(_ uint32, l *liveList) bool {
			h := l.tally.hits(k, l.name, l.Mode)
			if k == KindWhitelist && h.Mode.Reports() {
				for side, direction := range [...]Direction{gateway: Ingress, egress: Egress} {
					if l.Direction.covers(direction) {
						h.join(s.misses[side])
					}
				}
			}
			all = append(all, h)
			return true
		})
	}
	for _, f := range s.feeds {
		all = append(all, f.list.tally.hits("feeds", f.list.name, f.list.Mode))
	}
	s.acls.All(func(_ string, a *apiACLs) bool {
		for _, acl := range a.enforced {
			all = append(all, acl.tally.hits(KindACLs, acl.ID, Enforce))
		}
		for _, acl := range a.report {
			h := acl.tally.hits(KindACLs, acl.ID, Report)
			if acl != a.report[0] {
				h.join(a.report[0].tally) // which stands for all of them
			}
			all = append(all, h)
		}
		return true
	})
	s.pluginIDs.All(func(id string, p *livePlugin) bool {
		all = append(all, p.tally.hits(KindPlugins, id, p.Mode))
		return true
	})
	slices.SortFunc(all, func(a, b Hits) int { return cmp.Compare(a.Key, b.Key) })
	return slices.CompactFunc(all, func(a, b Hits) bool { return a.Key == b.Key })
}

func (t *Tally) hits(kind Kind, name string, mode Mode) Hits {
	h := Hits{Key: string(kind) + "/" + name, Mode: cmp.Or(mode, Enforce)}
	if t != nil {
		h.Passed, h.Refused, h.Would = t.passed.Load(), t.refused.Load(), t.would.Load()
		h.Last, h.LastWould, h.Changed = moment(&t.last), moment(&t.lastWould), moment(&t.changed)
	}
	return h
}

// join adds requests that several rules together would have refused.
func (h *Hits) join(t *Tally) {
	if t == nil {
		return
	}
	h.Would += t.would.Load()
	if last := moment(&t.lastWould); last.After(h.LastWould) {
		h.LastWould = last
	}
	if h.LastWould.After(h.Last) {
		h.Last = h.LastWould
	}
}

// moment is a time that was stamped; zero = none was.
func moment(when *atomic.Int64) time.Time {
	if at := when.Load(); at != 0 {
		return time.Unix(at, 0)
	}
	return time.Time{}
}

// CountKey notes that a key identified who asks; see [Set.Identify].
func (s *Set) CountKey(key string, now time.Time) {
	digest := sha256.Sum256([]byte(key))
	if c, ok := s.credentials.Get(digestHash(&digest), digest); ok {
		stamp(c.used, now.Unix())
	}
}

// LastUsed returns when the credential with a digest in hex, as its object is called,
// was shown last to this process, by a request that it identified; zero = never.
func (s *Set) LastUsed(name string) time.Time {
	var d [32]byte
	if s == nil || len(name) != hex.EncodedLen(len(d)) {
		return time.Time{}
	}
	if _, err := hex.Decode(d[:], []byte(name)); err != nil {
		return time.Time{}
	}
	c, ok := s.credentials.Get(digestHash(&d), d)
	if !ok || c.used == nil {
		return time.Time{}
	}
	return moment(c.used)
}

// Stamp tells when the changes since the last time came into force.
func (b *Builder) Stamp(now time.Time) {
	for _, t := range b.fresh {
		t.changed.Store(now.Unix())
	}
	b.fresh = nil
}

// keepCount has what follows an object go on with its tally, or begin one.
func (b *Builder) keepCount(k Key, old, next *object) {
	switch k.Kind {
	case KindBlacklist, KindWhitelist, KindACLs, KindPlugins:
		next.tally = new(Tally)
		if old != nil && old.tally != nil {
			next.tally = old.tally
		}
		if old == nil || old.digest != next.digest {
			b.fresh = append(b.fresh, next.tally)
		}
	case KindCredentials:
		next.used = new(atomic.Int64)
		if old != nil && old.used != nil {
			next.used = old.used
		}
	}
}
