package resolver

import (
	"slices"
	"strings"
)

// Claim is a host that a service says is its own, where it is registered (K2).
type Claim struct {
	Host  string // as in a request, or "*." and a domain for the hosts one label below it
	Since uint64 // orders the claims of one registry by age: the older one keeps the host
}

// claimed is who has a host.
type claimed struct {
	service, claim string
	since          uint64
}

func (c claimed) olderThan(o claimed) bool {
	return c.since < o.since || c.since == o.since && c.service < o.service
}

// hostKey is what a claim is filed under: the host, or with a leading dot the
// domain above all that it stands for.
func hostKey(host string) string { return strings.TrimPrefix(host, "*") }

// claimsOf gives each host that services claim to the one that has claimed it for
// longest.
func claimsOf(services map[string]*Service) map[string]claimed {
	var all map[string]claimed
	for _, s := range services {
		for _, c := range s.Hosts {
			if all == nil {
				all = make(map[string]claimed)
			}
			mine := claimed{s.Name, c.Host, c.Since}
			if other, taken := all[hostKey(c.Host)]; !taken || mine.olderThan(other) {
				all[hostKey(c.Host)] = mine
			}
		}
	}
	return all
}

// sameClaims reports whether the services claim just what they did in c.
func (c *Catalog) sameClaims(put []*Service, drop []string) bool {
	if c == nil {
		return false
	}
	for _, name := range drop {
		if s := c.services[name]; s != nil && len(s.Hosts) > 0 {
			return false
		}
	}
	for _, s := range put {
		var before []Claim
		if old := c.services[s.Name]; old != nil {
			before = old.Hosts
		}
		if !slices.Equal(before, s.Hosts) {
			return false
		}
	}
	return true
}

// Claimed returns the service that has a host, which is written as in a Claim or,
// for the hosts one label below it, as a domain behind a dot; and the claim. Both
// are "" if nobody has it. It does not allocate.
func (c *Catalog) Claimed(host string) (service, claim string) {
	if c == nil {
		return "", ""
	}
	x := c.hosts[hostKey(host)]
	return x.service, x.claim
}
