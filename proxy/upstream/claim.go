package upstream

import "strings"

// ClaimOf returns the service that a host goes to as the service's registration
// says so, and the claim (K2); "" if there is none. An exact claim beats a
// wildcard, of whatever source. It implements [policy.Hosts].
func (s *Sender) ClaimOf(host string) (service, claim string) {
	for _, src := range s.sources {
		if service, claim = src.Catalog().Claimed(host); service != "" {
			return service, claim
		}
	}
	dot := strings.IndexByte(host, '.')
	if dot <= 0 {
		return "", ""
	}
	for _, src := range s.sources {
		if service, claim = src.Catalog().Claimed(host[dot:]); service != "" {
			return service, claim
		}
	}
	return "", ""
}
