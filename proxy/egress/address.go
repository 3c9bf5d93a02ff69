package egress

import (
	"net/netip"
	"slices"
)

// Addresses that belong to nobody on the internet (A15), by IANA's registries of
// special purpose addresses.
var (
	specialV4 = prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared: carrier-grade NAT
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // a public address that is the host's own service on Azure
		"169.254.0.0/16",   // link-local; the metadata service of clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, and broadcast
	)
	// Of IPv6 only 2000::/3 is given out for global use: loopback, link-local,
	// site-local, unique local, multicast, NAT64, IPv4-compatible and all that
	// is reserved lie outside.
	globalV6  = netip.MustParsePrefix("2000::/3")
	specialV6 = prefixes(
		"2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4
		"3fff::/20",     // documentation
	)
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}

// isPrivate reports whether an address is out of reach by deny_private.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is4() {
		return within(specialV4, a)
	}
	return !globalV6.Contains(a.WithZone("")) || a.Zone() != "" || within(specialV6, a)
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
