package policy

import "net/netip"

// Addresses of IPv6 that embed one of IPv4.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
	compatible = netip.MustParsePrefix("::/96")
)

// LeadsTo appends the other addresses at which somebody may arrive who connects to a,
// the likeliest first, so that what is denied by one spelling is denied by all: the
// IPv4 address that one of IPv6 embeds, and loopback, for which the kernel takes the
// unspecified address.
func LeadsTo(dst []netip.Addr, a netip.Addr) []netip.Addr {
	v4 := func(w, x, y, z byte) { dst = append(dst, netip.AddrFrom4([4]byte{w, x, y, z})) }
	a = a.WithZone("")
	b := a.As16()
	switch {
	case a == netip.IPv6Unspecified():
		dst = append(dst, netip.IPv6Loopback())
	case a == netip.IPv4Unspecified():
		v4(127, 0, 0, 1)
	case a.Is4(), a == netip.IPv6Loopback():
	case a.Is4In6():
		return LeadsTo(append(dst, a.Unmap()), a.Unmap())
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
	case compatible.Contains(a):
		v4(b[12], b[13], b[14], b[15])
	}
	return dst
}
