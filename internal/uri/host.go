package uri

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// ErrBadHost is a host that no rule could be compared with.
var ErrBadHost = errors.New("uri: bad host")

// Host reads the value of Host or :authority, or the authority of a target
// (X2): the host in lower case, without port and trailing dot, an IPv6 address
// without its brackets. port is 0 if there is none. The empty value is an empty
// host. host is a part of hostport if it was in that form already, else it
// lives in scratch, which comes back for the next call.
//
// Requests carry international names in punycode; raw ones are refused.
func Host(hostport string, scratch []byte) (host string, port uint16, _ []byte, err error) {
	host = hostport
	if strings.HasPrefix(hostport, "[") {
		return bracketed(hostport, scratch)
	}
	if i := strings.IndexByte(hostport, ':'); i >= 0 {
		if port, err = parsePort(hostport[i+1:]); err != nil {
			return "", 0, scratch, err
		}
		host = hostport[:i]
	}
	if host == "" {
		if hostport != "" {
			return "", 0, scratch, ErrBadHost
		}
		return "", 0, scratch, nil
	}
	host = strings.TrimSuffix(host, ".")
	upper, ok := checkHost(host)
	if !ok {
		return "", 0, scratch, ErrBadHost
	}
	if upper {
		host, scratch = lower(host, scratch)
	}
	return host, port, scratch, nil
}

// CompileHost brings the host of a rule or a mapping, without port, into the
// form that [Host] gives: lower case, no trailing dot, international names in
// punycode, addresses in their canonical spelling. A leading "*." or "." is the
// caller's to remove before.
func CompileHost(host string) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap().String(), nil
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil {
		// Lookup is stricter than real names are ("_dmarc.example.org"); what is
		// plain ASCII is compared as it is.
		ascii = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if _, ok := checkHost(ascii); !ok || len(ascii) > 253 {
		return "", ErrBadHost
	}
	return ascii, nil
}

// ParseDomain checks the domain that a mapping or a service claims, also "*.x", and
// returns it in lower case without a trailing dot (B13).
func ParseDomain(s string) (string, error) {
	domain := strings.ToLower(strings.TrimSuffix(s, "."))
	host := strings.TrimPrefix(domain, "*.")
	labels := strings.Split(host, ".")
	if len(domain) > 253 || len(labels) < 2 {
		return domain, fmt.Errorf("%q is no domain, want at least one dot and at most 253 characters", s)
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, notLabel) {
			return domain, fmt.Errorf("%q is no domain: label %q, want 1 to 63 of A-Z, 0-9 and inner hyphens", s, l)
		}
	}
	return domain, nil
}

func notLabel(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }

// bracketed reads "[v6]" and "[v6]:port".
func bracketed(hostport string, scratch []byte) (string, uint16, []byte, error) {
	host, tail, ok := strings.Cut(hostport[1:], "]")
	addr, err := netip.ParseAddr(host)
	if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", 0, scratch, ErrBadHost
	}
	port := uint16(0)
	if tail != "" {
		if tail[0] != ':' {
			return "", 0, scratch, ErrBadHost
		}
		if port, err = parsePort(tail[1:]); err != nil {
			return "", 0, scratch, err
		}
	}
	scratch = addr.Unmap().AppendTo(scratch[:0])
	return view(scratch), port, scratch, nil
}

// parsePort reads what follows the colon; nothing is 0, as RFC 3986 allows.
func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '+' {
		return 0, ErrBadHost
	}
	return uint16(n), nil
}

// checkHost reports whether host has only bytes and labels that a name may
// have, and whether any of them is in upper case.
func checkHost(host string) (upper, ok bool) {
	if host == "" || host[0] == '.' || host[len(host)-1] == '.' {
		return false, false
	}
	for i := range len(host) {
		c := host[i]
		if !unreserved(c) || c == '.' && host[i-1] == '.' {
			return false, false
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	return upper, true
}

func lower(s string, buf []byte) (string, []byte) {
	buf = append(buf[:0], s...)
	for i, c := range buf {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	return view(buf), buf
}
