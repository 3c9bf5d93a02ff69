package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"lictor/internal/uri"
)

// entry is one line of a list, understood (A4, A17).
type entry struct {
	method   string       // of "METHOD url", upper case; "" = any
	service  string       // of "service:NAME"
	prefix   netip.Prefix // of an address or CIDR
	host     string       // of a host entry or URL
	scope    hostScope
	paths    []string // of a URL or bare path: the prefixes to file it under, without last slash; "" is everything
	port     uint16   // 0 = any; for a URL the one of its scheme, if none was written
	portSaid bool     // the port was written
}

// hostScope says what a host entry covers.
type hostScope uint8

const (
	hostExact      hostScope = iota // host
	hostDomain                      // .host: apex and subdomains
	hostSubdomains                  // *.host: subdomains only
)

func (e *entry) isPath() bool { return e.paths != nil }

// parseEntry reads one entry of a list.
func parseEntry(s string) (e entry, err error) {
	s = strings.TrimSpace(s)
	if method, target, ok := strings.Cut(s, " "); ok {
		if !isMethod(method) {
			return e, fmt.Errorf("%q is no method", method)
		}
		if e, err = parseEntry(target); err == nil && (!e.isPath() || e.method != "") {
			err = errors.New("only a URL or a path can follow a method")
		}
		e.method = strings.ToUpper(method)
		return e, err
	}
	switch name, isService := strings.CutPrefix(s, servicePrefix); {
	case s == "":
		return e, errors.New("is empty")
	case isService:
		if !uri.IsServiceName(name) {
			return e, fmt.Errorf("%q is no service name", name)
		}
		e.service = name
		return e, nil
	case s[0] == '/':
		e.paths, err = pathKeys(s)
		return e, err
	case strings.Contains(s, "://"):
		return parseURLEntry(s)
	}
	if s[0] == '.' || s[0] == '*' || isPlainName(s) {
		return parseHostEntry(s)
	}
	if e.prefix, e.port, err = parseAddress(s); err == nil {
		e.portSaid = e.port != 0
		return e, nil
	}
	return parseHostEntry(s)
}

// parseURLEntry reads http://host:port/path.
func parseURLEntry(s string) (e entry, err error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return e, errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return e, fmt.Errorf("scheme is %q, want http or https", u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return e, errors.New("a URL entry has no user, query or fragment")
	}
	e.port = 80
	if u.Scheme == "https" {
		e.port = 443
	}
	if p := u.Port(); p != "" {
		e.portSaid = true
		if e.port, err = parsePort(p); err != nil {
			return e, err
		}
	}
	if e.host, err = compileHost(u.Hostname()); err != nil {
		return e, err
	}
	// The path as written, for url.Parse decodes it.
	_, path, _ := strings.Cut(s, "://")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		path = path[i:]
	} else {
		path = "/"
	}
	e.paths, err = pathKeys(path)
	return e, err
}

// parseHostEntry reads host, .host and *.host, each with an optional port.
func parseHostEntry(s string) (e entry, err error) {
	host, port, found := strings.Cut(s, ":")
	if found {
		e.portSaid = true
		if e.port, err = parsePort(port); err != nil {
			return e, err
		}
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		host, e.scope = rest, hostSubdomains
	} else if rest, ok := strings.CutPrefix(host, "."); ok {
		host, e.scope = rest, hostDomain
	}
	e.host, err = compileHost(host)
	return e, err
}

// compileHost reads a host name; a number where a name should be is an address
// misspelt, and never meant as a name.
func compileHost(s string) (string, error) {
	if isPlainName(s) {
		return s, nil
	}
	host, err := uri.CompileHost(s)
	if err != nil || strings.ContainsFunc(s, isForeignMark) {
		return "", fmt.Errorf("%q is no host name", s)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil {
		return "", fmt.Errorf("%q is neither an address nor a host name", s)
	}
	return host, nil
}

// isPlainName reports whether s is a host name as it is compared: nothing in it is
// to be mapped, and it can be no address. Nearly all of a million names are, and
// all that may be read otherwise is not.
func isPlainName(s string) bool {
	label := 0 // bytes of the label so far
	letter := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.' && label > 0:
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-' && label > 0, c == '_':
		default:
			return false
		}
		if label == 0 {
			letter = 'a' <= c && c <= 'z'
		}
		label++
	}
	return label > 0 && letter && len(s) <= 253 && !strings.Contains(s, "xn--")
}

// parseAddress reads an address or CIDR with an optional port: 1.2.3.4,
// 1.2.3.4:80, 10.0.0.0/8, 10.0.0.0/8:443, ::1, [::1], [::1]:80, [fc00::/7]:80,
// [fc00::]/7:80. Host bits are allowed, mapped addresses are unmapped.
func parseAddress(s string) (p netip.Prefix, port uint16, err error) {
	if p, err = parsePrefix(s); err == nil {
		return p, 0, nil
	}
	addr, tail := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		addr, tail = s[:i], s[i+1:]
	}
	if inside, bits, ok := strings.Cut(addr, "]"); ok && addr[0] == '[' && (bits == "" || bits[0] == '/') {
		addr = inside[1:] + bits
	} else if len(addr) == len(s) {
		return p, 0, err
	}
	if p, err = parsePrefix(addr); err != nil || len(tail) == 0 && s[len(s)-1] != ':' {
		return p, 0, err
	}
	port, err = parsePort(tail)
	return p, port, err
}

// parsePrefix reads an address or a CIDR without port (C26).
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no address or CIDR", s)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("%q cuts through the IPv4-mapped addresses", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port is %q, want 1 to 65535", s)
	}
	return uint16(n), nil
}

// pathKeys are the prefixes a path rule is filed under: its canonical form,
// and, if it is odd itself, the form in which backends decode it.
func pathKeys(s string) ([]string, error) {
	p, _, err := uri.ParsePath(s, nil)
	if err != nil || p.HasQuery {
		return nil, fmt.Errorf("%q is no path", s)
	}
	keys := []string{strings.Clone(trimSlash(p.Canonical))}
	if p.Odd() {
		// "//" must not become a rule for everything.
		if decoded := trimSlash(p.Decoded()); decoded != keys[0] && decoded != "" {
			keys = append(keys, decoded)
		}
	}
	return keys, nil
}

// trimSlash makes "/admin/" the prefix "/admin", and "/" the prefix "".
func trimSlash(path string) string { return strings.TrimSuffix(path, "/") }

// isForeignMark reports whether a character is a quotation mark, dash or other
// punctuation that no host name has, though IDNA lets it pass: “a.example” is
// not the host that its writer meant. The exceptions are dots of other scripts
// and what IDNA 2008 knows as part of names (RFC 5892 2.6).
func isForeignMark(r rune) bool {
	return r >= 0x80 && unicode.IsPunct(r) && !strings.ContainsRune("\u3002\uff0e\uff61\u00b7\u0375\u05f3\u05f4\u30fb", r)
}

// isMethod reports whether s is what people write for a method: a word that
// begins with a letter. HTTP takes any token, but the "-" and "*" of YAML and
// markdown are tokens as well, and so are the commands of other lists.
func isMethod(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if ('a' > c || c > 'z') && (i == 0 || s[i] != '-' && s[i] != '_' && ('0' > s[i] || s[i] > '9')) {
			return false
		}
	}
	return s != "" && !slices.Contains(noMethods, strings.ToUpper(s))
}

// noMethods are words that people put before an entry because other programs
// want them. No request has them for a method.
var noMethods = []string{"ACCEPT", "ALL", "ALLOW", "ANY", "BAN", "BLACKLIST", "BLOCK", "DENY", "DISALLOW", "DROP", "EXCLUDE", "FORBID",
	"INCLUDE", "METHOD", "NO", "NOT", "PASS", "PATH", "PERMIT", "REJECT", "URL", "WHITELIST"}

// isToken reports whether s may be the name of a header (RFC 9110 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
