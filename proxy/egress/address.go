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

	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
	compatible = netip.MustParsePrefix("::/96")
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

// embedded appends the IPv4 addresses that an IPv6 address may lead to, the
// likeliest first: what is denied by one spelling is denied by all.
func embedded(dst []netip.Addr, a netip.Addr) []netip.Addr {
	if a.Is4() {
		return dst
	}
	if a.Is4In6() {
		return append(dst, a.Unmap())
	}
	b := a.As16()
	v4 := func(w, x, y, z byte) { dst = append(dst, netip.AddrFrom4([4]byte{w, x, y, z})) }
	switch a = a.WithZone(""); {
	case nat64.Contains(a):
		v4(b[12], b[13], b[14], b[15])
	case nat64Local.Contains(a): // RFC 6052 2.2: the length of the prefix is the operator's
		v4(b[12], b[13], b[14], b[15])
		v4(b[6], b[7], b[9], b[10])
		v4(b[7], b[9], b[10], b[11])
		v4(b[9], b[10], b[11], b[12])
	case sixToFour.Contains(a):
		v4(b[2], b[3], b[4], b[5])
	case teredo.Contains(a):
		v4(^b[12], ^b[13], ^b[14], ^b[15])
		v4(b[4], b[5], b[6], b[7])
	case compatible.Contains(a) && a != netip.IPv6Unspecified() && a != netip.IPv6Loopback():
		v4(b[12], b[13], b[14], b[15])
	}
	return dst
}
