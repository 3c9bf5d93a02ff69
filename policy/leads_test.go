package policy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestWhereAnAddressLeads(t *testing.T) { // A15
	want := netip.MustParseAddr("127.0.0.1")
	for _, s := range []string{
		"::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1", "64:ff9b:1:7f00:0:100::",
		"2002:7f00:1::", "2002:7f00:1:1::5", "2001:0:1:2::80ff:fffe", "2001:0:7f00:1::1", "0.0.0.0", "::ffff:0.0.0.0", "64:ff9b::127.0.0.1%eth0",
	} {
		if got := LeadsTo(nil, netip.MustParseAddr(s)); !slices.Contains(got, want) {
			t.Errorf("%s leads to %v, want %v among them", s, got, want)
		}
	}
	if got := LeadsTo(nil, netip.IPv6Unspecified()); !slices.Equal(got, []netip.Addr{netip.IPv6Loopback()}) {
		t.Errorf(":: leads to %v", got)
	}
	for _, s := range []string{"8.8.8.8", "127.0.0.1", "2606:2800:220:1::1", "::1", "fd00::1"} {
		if got := LeadsTo(nil, netip.MustParseAddr(s)); len(got) > 0 {
			t.Errorf("%s leads to %v, want to itself alone", s, got)
		}
	}
}
