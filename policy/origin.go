package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lictor/internal/uri"
)

// Bounds of the origins of one plugin: a preflight costs nobody a credential, so
// what it costs lictor has to be small.
const (
	maxOrigins = 256
	maxRegexes = 16
	maxRegex   = 256 // bytes
	maxOrigin  = 512 // bytes, of one in a request; a host has at most 253
)

// origins are those that a plugin cors allows. Origins are compared as whole
// strings in the form that browsers serialize them to (Fetch 4.10, HTML 7.1.1),
// never by a part of them. It is immutable.
type origins struct {
	any     bool            // "*"
	exact   map[string]bool // serialized, and "null"
	within  []wildcard
	regexes []*regexp.Regexp
}

// wildcard is an entry such as "https://*.example.org:8443".
type wildcard struct{ scheme, end string } // "https://", ".example.org:8443"

// names reports whether an entry other than "*" allows an origin.
func (o *origins) names(origin string) bool {
	switch {
	case o.exact[origin]:
		return true
	case len(o.within)+len(o.regexes) == 0 || !isOrigin(origin):
		return false
	}
	for _, w := range o.within {
		if len(origin) > len(w.scheme)+len(w.end) && strings.HasPrefix(origin, w.scheme) && strings.HasSuffix(origin, w.end) {
			return true
		}
	}
	for _, r := range o.regexes {
		if r.MatchString(origin) {
			return true
		}
	}
	return false
}

// add reads an entry.
func (o *origins) add(entry string) error {
	pattern, isRegex := strings.CutPrefix(entry, "~")
	switch {
	case entry == "*":
		o.any = true
	case isRegex:
		return o.addRegex(pattern)
	case strings.HasPrefix(entry, "*."):
		return o.addWildcard("https", entry[2:]) // by http, whoever is on the way there could speak for it
	case strings.Contains(entry, "://*."):
		scheme, parent, _ := strings.Cut(entry, "://*.")
		return o.addWildcard(scheme, parent)
	default:
		origin, err := parseOrigin(entry)
		if err != nil {
			return err
		}
		o.exact[origin] = true
	}
	return nil
}

func (o *origins) addWildcard(scheme, parent string) error {
	origin, err := parseOrigin(scheme + "://" + parent)
	if err != nil {
		return err
	}
	scheme, authority, _ := strings.Cut(origin, "://")
	host, _, _ := strings.Cut(authority, ":")
	if last := host[strings.LastIndexByte(host, '.')+1:]; authority[0] == '[' || strings.Trim(last, "0123456789") == "" {
		return errors.New("want a domain behind *.")
	}
	o.within = append(o.within, wildcard{scheme + "://", "." + authority})
	return nil
}

// addRegex compiles an expression twice: by itself first, for one such as "a)|(b"
// would leave the group that it is put into.
func (o *origins) addRegex(pattern string) error {
	if len(pattern) > maxRegex {
		return fmt.Errorf("the expression has %d bytes, want at most %d", len(pattern), maxRegex)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return fmt.Errorf("want a regular expression of RE2: %w", err)
	}
	r, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return err
	}
	o.regexes = append(o.regexes, r)
	return nil
}

// strangers are origins that nobody would list.
var strangers = []string{"https://6ec5a1d2.invalid", "http://6ec5a1d2.invalid", "https://6ec5a1d2.example:61234", "http://192.0.2.77:61234"}

// namesAnybody reports whether every page can have an origin that is allowed by
// name: "null" is that of any page in a sandbox.
func (o *origins) namesAnybody() bool {
	return o.exact["null"] || slices.ContainsFunc(strangers, o.names)
}

var errOrigin = errors.New(`want an origin such as "https://app.example.org", "*.example.org", "*", "null", or "~" and a regular expression`)

// parseOrigin brings an origin that an operator wrote into the form that browsers
// serialize it to: scheme and host in lower case, the host in punycode, the
// scheme's own port left out.
func parseOrigin(entry string) (string, error) {
	if entry == "null" {
		return entry, nil
	}
	scheme, authority, ok := strings.Cut(entry, "://")
	scheme = strings.ToLower(scheme)
	host, port, portOK := cutPort(authority)
	if !ok || !portOK || !isScheme(scheme) || strings.ContainsAny(host, "/?#@* ") {
		return "", errOrigin
	}
	host, err := uri.CompileHost(host)
	if err != nil {
		return "", errOrigin
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != 0 && port != defaultPort(scheme) {
		host += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + host, nil
}

// cutPort separates the port from an authority, 0 if it names none.
func cutPort(authority string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, 0, true
	}
	n, err := strconv.ParseUint(authority[i+1:], 10, 16)
	host = authority[:i]
	return host, int(n), err == nil && n > 0 && (!strings.Contains(host, ":") || strings.HasSuffix(host, "]"))
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// isScheme reports whether s is a scheme in lower case (RFC 3986 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// isOrigin reports whether s, from a request, is an origin as browsers write it,
// so that a pattern is held against nothing else: a path, an "@" or a second
// origin would be read by it as part of a host. "null" is none.
func isOrigin(s string) bool {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || len(s) > maxOrigin || !isScheme(scheme) {
		return false
	}
	host, port, ok := cutPort(authority)
	if !ok || port != 0 && (port == defaultPort(scheme) || authority[len(host)+1] == '0') {
		return false
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	return isSerializedName(host)
}

// isSerializedName reports whether s can be a host in lower case, without an empty
// label but that of a dot at its end.
func isSerializedName(s string) bool {
	for i := range len(s) {
		c := s[i]
		label := 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
		if !label && (c != '.' || i == 0 || s[i-1] == '.') {
			return false
		}
	}
	return s != ""
}
