package resolver

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"lictor/internal/uri"
)

// JoinAddress returns the host:port at which a registry says that an instance
// listens. Registries take any text for a host; if this one cannot be dialled,
// why says so, and there is no instance. Brackets around an IPv6 address, which
// people put there for the sake of a port behind it, are taken off.
func JoinAddress(host string, port int) (address, why string) {
	bare := host
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		if a, err := netip.ParseAddr(inner[:len(inner)-1]); err == nil && a.Is6() {
			bare = inner[:len(inner)-1]
		}
	}
	shown := host
	if len(shown) > 64 {
		shown = strings.ToValidUTF8(shown[:64], "") + "..."
	}
	switch a, err := netip.ParseAddr(bare); {
	case err == nil && isNowhere(a.Unmap()):
		return "", fmt.Sprintf("its address is %q, where no instance listens", shown)
	case host == "":
		return "", "it is registered without an address"
	case err != nil && !uri.CanDial(bare):
		return "", fmt.Sprintf("its address is %q, which is no IP address and no DNS name", shown)
	}
	if strings.Contains(bare, ":") {
		bare = "[" + bare + "]"
	}
	return bare + ":" + strconv.Itoa(port), ""
}

// isNowhere reports whether a is a form of "here" or "everybody".
func isNowhere(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() || a == broadcast }

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
