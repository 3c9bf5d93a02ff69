package uri

import (
	"net/netip"
	"strings"
)

// CanDial reports whether host is something that can be dialled: an IP address
// without brackets, or a DNS name. Underscores are taken, for many use them, and
// a dot at the end. A name whose last label is a number is an IPv4 address with
// a mistake.
func CanDial(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !dnsLabel(label) {
			return false
		}
		last = label
	}
	return !isNumber(last)
}

// dnsLabel reports whether s may stand between the dots of a name.
func dnsLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !unreserved(c) || c == '.' || c == '~' {
			return false
		}
	}
	return true
}

// isNumber reports whether old resolvers read s as a number.
func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}
