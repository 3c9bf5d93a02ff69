package consul

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/pace"
	"lictor/internal/uri"
	"lictor/resolver"
)

// metaHosts is the service metadata by which a service claims hosts (K2).
const metaHosts = "lictor-hosts"

// Bounds of what may be claimed.
const (
	maxHosts     = 64     // of one service
	maxClaimants = 10_000 // services that are followed for their claims alone
)

// eraShift leaves the lower bits of a claim's age to Consul's index, which begins
// anew when Consul loses its history: the upper ones count how often it did.
const eraShift = 48

// claim is a host that some instances claim, and how old the oldest of their
// registrations is: since it was made, and since it was changed last.
type claim struct {
	host              string
	created, modified uint64
}

// claims reads the hosts that the instances claim for their service, ordered: all
// that any of them names and may name. Others are told and ignored.
func (p *problems) claims(entries []entry, suffixes []string) []claim {
	var all []claim
	told := map[string]bool{}
	for i := range entries {
		s := &entries[i].Service
		text, ok := s.Meta[metaHosts]
		if !ok {
			continue
		}
		for one := range strings.SplitSeq(text, ",") {
			one = strings.TrimSpace(one)
			host, want := readClaim(one, suffixes)
			at, known := slices.BinarySearchFunc(all, host, func(c claim, host string) int { return strings.Compare(c.host, host) })
			switch {
			case want == "" && known:
				all[at].created, all[at].modified = min(all[at].created, s.CreateIndex), min(all[at].modified, s.ModifyIndex)
				continue
			case want == "" && len(all) < maxHosts:
				all = slices.Insert(all, at, claim{host, s.CreateIndex, s.ModifyIndex})
				continue
			case want == "":
				want = fmt.Sprintf("at most %d hosts of a service", maxHosts)
			}
			if !told[one] {
				told[one] = true
				p.add(entries[i].id(), metaHosts, one, want)
			}
		}
	}
	return all
}

// readClaim reads one host. want says what else it should be, "" if it is fine.
func readClaim(s string, suffixes []string) (host, want string) {
	host, err := uri.ParseDomain(s)
	switch {
	case len(suffixes) == 0:
		return "", `resolver "consul" { host_suffixes } to name the domain that it is below; it names none`
	case err != nil:
		return "", "hosts such as shop.example.com or *.shop.example.com, separated by commas"
	case !below(host, suffixes):
		return "", "a host below " + strings.Join(suffixes, " or ")
	}
	return host, ""
}

// below reports whether a claim is one below a suffix. A wildcard stands there
// with its domain: one for all that is below a suffix would take the hosts of
// services that are not there yet.
func below(claim string, suffixes []string) bool {
	host := strings.TrimPrefix(claim, "*.")
	return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(host, "."+suffix) })
}

// agedLocked returns the claims of an answer, those that the service has made
// already with the age that they have. One that it adds to an older registration
// is as old as that change: it takes the host from nobody. While something is kept
// against the answer, or it is filtered, claims that it lacks are kept as well.
// f.r.mu is held.
func (f *follower) agedLocked(old *resolver.Service, claims []claim, keep bool) []resolver.Claim {
	var all []resolver.Claim
	for _, c := range claims {
		since := c.created
		if old.Loaded || f.late {
			since = c.modified
		}
		all = append(all, resolver.Claim{Host: c.host, Since: since | f.r.era<<eraShift})
	}
	for _, o := range old.Hosts {
		at, found := slices.BinarySearchFunc(all, o.Host, func(c resolver.Claim, host string) int { return strings.Compare(c.Host, host) })
		switch {
		case found:
			all[at].Since = min(all[at].Since, o.Since)
		case keep:
			all = slices.Insert(all, at, o)
		}
	}
	return all
}

// restoredLocked returns the claims of a snapshot that may be made now. r.mu is held.
func (r *Resolver) restoredLocked(claims []resolver.Claim) []resolver.Claim {
	var all []resolver.Claim
	for _, c := range claims {
		if host, want := readClaim(c.Host, r.cfg.HostSuffixes); want == "" && host == c.Host {
			r.era = max(r.era, c.Since>>eraShift)
			all = append(all, c)
		}
	}
	return all
}

// claiming selects the services of which some instance claims hosts.
var claiming = url.Values{"filter": {`ServiceKind == "" and "` + metaHosts + `" in ServiceMeta`}}

// watchClaims follows which services claim hosts, until ctx ends, and has them
// followed: their hosts are to be known before anybody asks for them.
func (r *Resolver) watchClaims(ctx context.Context) {
	var hash uint64
	step := func(ctx context.Context, q query) (uint64, error) {
		list := nameList{seed: r.seed, known: hash}
		q.Form = claiming
		m, err := r.read(ctx, "/v1/catalog/services", q, &list)
		if err != nil {
			return 0, err
		}
		if hash = list.hash; list.names != nil {
			r.claimedBy(list.names)
		}
		return m.Index, nil
	}
	w := client.Watch{
		Step:      step,
		Wait:      func() time.Duration { return pace.Jitter(maxWait) },
		Recovered: r.waitContact,
		Reread:    rereadEvery,
		Pace:      []client.Bucket{{Burst: 20, Every: 100 * time.Millisecond}},
		Contact:   r.cfg.Client.Contact,
		Nudge:     &r.claimsNudge,
	}
	w.Run(ctx)
}

// claimedBy notes which services claim hosts.
func (r *Resolver) claimedBy(names []string) {
	left := max(len(names)-maxClaimants, 0)
	slices.Sort(names)
	claimants := make(map[string]bool, len(names)-left)
	for _, name := range names[:len(names)-left] {
		claimants[name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unheard = left
	before := r.claimants
	r.claimants = claimants
	for name := range claimants {
		if f := r.followClaimantLocked(name); f != nil {
			f.late = before != nil && !before[name]
		}
	}
}

// followClaimantLocked follows a service that claims hosts and is not followed
// yet, once its name is known, and returns its follower. r.mu is held.
func (r *Resolver) followClaimantLocked(name string) *follower {
	s := r.truth.Lookup(name)
	if s == nil || !r.claimants[name] || r.followers[name] != nil {
		return nil
	}
	return r.followLocked(s)
}
