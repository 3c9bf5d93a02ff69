package gateway

import (
	"strings"

	"lictor/internal/uri"
	"lictor/proxy/http1/message"
)

// prefix is where clients find the service that gets their paths without it (D25).
type prefix struct {
	client string // with a slash in front and none behind, as the client wrote it
	told   string // the same as the service is told in X-Forwarded-Prefix
	hosts  [2]string
}

// relocate puts right what a field of an answer says of the service's own paths,
// which clients reach below the prefix that was taken off.
func (x *exchange) relocate(f *message.Field) {
	cookie := f.ID == message.FieldSetCookie
	if !cookie && !isLocation(f) || !x.outgoing.RewritesLocation() {
		return
	}
	p := x.in.prefixOf(x.decision.prefix)
	switch {
	case p.client == "":
	case cookie:
		f.Value = p.cookie(f.Value)
	default:
		f.Value = p.location(f.Value)
	}
}

// isLocation reports whether a field of an answer holds a reference to a resource of
// the same service, as far as that says (RFC 9110 10.2.2, 8.7).
func isLocation(f *message.Field) bool {
	return f.ID == message.Other && (message.EqualFold(f.Name, "Location") || message.EqualFold(f.Name, "Content-Location"))
}

// prefixOf returns the prefix of a request of which a segment called name was taken
// off; the zero prefix if there is none that can stand in a URL.
func (in *inbound) prefixOf(name string) prefix {
	segment, _, ok := in.path.Segment()
	before := in.prefixBefore()
	if !ok || name == "" {
		return prefix{}
	}
	if _, _, err := uri.ParsePath(before+"/", nil); err != nil || strings.HasPrefix(before, "//") || strings.ContainsAny(before, `?;\`) {
		before = "" // it would lead to another host, or end what it stands in
	}
	p := prefix{client: before + "/" + segment, told: before + "/" + name}
	p.hosts[0] = in.req.Host
	if in.trusted {
		_, p.hosts[1], _ = in.told()
	}
	return p
}

// location puts the prefix in front of the path of a reference, if it leads to the
// host that the client asked. What readers could take for another one stays as it
// is, and so does what is relative to the path of the request, which is right
// already.
func (p *prefix) location(ref string) string {
	if strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return ref // some readers drop such characters, so that what is left is another reference
	}
	authority := 0 // where the path begins
	if i := strings.Index(ref, "//"); i == 0 || i > 0 && isWebScheme(ref[:i]) {
		authority = i + len("//")
		end := strings.IndexAny(ref[authority:], `/?#\`)
		if end < 0 {
			end = len(ref) - authority
		}
		if !p.isOwn(ref[authority : authority+end]) {
			return ref
		}
		authority += end
	}
	return ref[:authority] + p.before(ref[authority:], authority > 0)
}

// before returns a path and what follows it with the prefix in front. absolute says
// that an authority stands before it: then an empty path is the root.
func (p *prefix) before(path string, absolute bool) string {
	switch {
	case absolute && (path == "" || path[0] == '?' || path[0] == '#'):
	case path == "" || path[0] != '/', strings.HasPrefix(path, `/\`), strings.HasPrefix(path, "//") && !absolute:
		return path
	case isBelow(path, p.client), isBelow(path, p.told):
		return path
	}
	return p.client + path
}

// isBelow reports whether a path, with what follows it, lies below a prefix.
func isBelow(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0)
}

func isWebScheme(s string) bool {
	return message.EqualFold(s, "http:") || message.EqualFold(s, "https:")
}

// isOwn reports whether an authority is that of the request, as the client or the
// proxy in front of lictor says it. The ports that http and https have without
// saying so are none: a service behind TLS may not know of it.
func (p *prefix) isOwn(authority string) bool {
	host, port, _, err := uri.Host(authority, nil)
	if err != nil || host == "" {
		return false
	}
	for _, own := range p.hosts {
		name, at, _, err := uri.Host(own, nil)
		if err == nil && name == host && plainPort(at) == plainPort(port) {
			return true
		}
	}
	return false
}

func plainPort(port uint16) uint16 {
	if port == 80 || port == 443 {
		return 0
	}
	return port
}

// cookie puts the prefix in front of the Path of a cookie (RFC 6265 4.1.2.4, 5.2.4).
// A path that browsers do not take is left alone, for then they take that of the
// request, and so is a cookie that they take with "/" only.
func (p *prefix) cookie(line string) string {
	name, attributes, _ := strings.Cut(line, ";")
	if trimmed := strings.Trim(name, " \t"); len(trimmed) >= len(hostPrefix) && message.EqualFold(trimmed[:len(hostPrefix)], hostPrefix) {
		return line
	}
	out := name
	for more := len(name) < len(line); more; {
		var attribute string
		attribute, attributes, more = strings.Cut(attributes, ";")
		out += ";" + p.attribute(attribute)
	}
	return out
}

// attribute returns an attribute of a cookie; of a Path, with the prefix in front.
func (p *prefix) attribute(s string) string {
	name, value, _ := strings.Cut(s, "=")
	if !message.EqualFold(strings.Trim(name, " \t"), "Path") {
		return s
	}
	path := strings.TrimLeft(value, " \t")
	path = strings.TrimPrefix(path, `"`) // of old, the value was a quoted string
	if path == "" || path[0] != '/' {
		return s
	}
	head := s[:len(s)-len(path)]
	end := strings.TrimRight(path, " \t\"")
	switch {
	case end == "/": // the prefix alone, so that the request for it has the cookie too
		return head + p.client + path[len(end):]
	case isBelow(end, p.client):
		return s
	case isBelow(end, p.told): // the paths of cookies are compared with case
		return head + p.client + path[len(p.told):]
	}
	return head + p.client + path
}

// hostPrefix begins the names of cookies that have no other path than "/"
// (RFC 6265bis 4.1.3.2).
const hostPrefix = "__Host-"
