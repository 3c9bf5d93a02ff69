package message

import (
	"bytes"
	"net/netip"
	"strings"
)

// RequestHead is the head of a request.
type RequestHead struct {
	Head
	Method     string // in the sender's case
	Target     string // as received, in one of the four forms of RFC 9112 3.2
	Host       string // host[:port]: the authority of Target if it has one, else the Host field; "" if both are empty (RFC 9112 3.2), or in HTTP/1.0
	Expect100  bool   // the client waits for 100 (Continue)
	TETrailers bool   // TE: trailers
}

// Parse reads b, a whole head as HeadEnd measured it. It accepts what has one
// reading by RFC 9112 and refuses the rest with a *ParseError.
func (h *RequestHead) Parse(b []byte) error {
	h.Head.reset()
	h.Method, h.Target, h.Host, h.Expect100, h.TETrailers = "", "", "", false, false
	if !wholeHead(b) {
		return ErrIncomplete
	}
	n := bytes.IndexByte(b, '\n')
	if n < 1 || b[n-1] != '\r' {
		return ErrBareLF
	}
	if err := h.parseLine(b[:n-1]); err != nil {
		return err
	}
	if err := h.parseFields(b, n+1); err != nil {
		return err
	}
	if err := h.parseHost(); err != nil {
		return err
	}
	if h.Method == "CONNECT" && (h.Chunked || h.ContentLength > 0) {
		return errConnectBody
	}
	h.expectations()
	return nil
}

// Framing returns how the body ends. A request that says neither has none.
func (h *RequestHead) Framing() Framing {
	switch {
	case h.Chunked:
		return Chunked
	case h.ContentLength > 0:
		return Length
	}
	return NoBody
}

// OriginForm returns the path and query of the target: absolute-form (RFC 9112
// 3.2.2) is read as its path, for its authority has become Host already. What has
// no path, as "*" or the target of CONNECT, comes back as it is.
func (h *RequestHead) OriginForm() string {
	t := h.Target
	if t == "" || t[0] == '/' {
		return t
	}
	_, after, ok := strings.Cut(t, "://")
	if !ok {
		return t
	}
	i := strings.IndexAny(after, "/?")
	switch {
	case i < 0:
		return "/"
	case after[i] == '?':
		return "/" + after[i:]
	}
	return after[i:]
}

// parseLine reads the request line.
func (h *RequestHead) parseLine(line []byte) error {
	if len(line) == 0 {
		return errEmpty
	}
	if line[0] == 0x16 {
		return ErrTLS
	}
	sp := bytes.IndexByte(line, ' ')
	if sp <= 0 || sp > maxMethod || !ValidFieldName(view(line[:sp])) {
		return errMethod
	}
	h.Method = view(line[:sp])
	line = line[sp+1:]
	sp = bytes.IndexByte(line, ' ')
	if sp <= 0 {
		return errRequestLine
	}
	h.Target = view(line[:sp])
	minor, err := parseVersion(line[sp+1:])
	if err != nil {
		if h.Method == "PRI" && h.Target == "*" && err == ErrVersion {
			return ErrHTTP2Preface
		}
		return err
	}
	h.Minor = minor
	if !validTarget(h.Target) {
		return errTarget
	}
	return nil
}

// parseVersion reads HTTP/1.0 and HTTP/1.1 and returns the last digit.
func parseVersion(v []byte) (minor uint8, err *ParseError) {
	if len(v) != 8 || string(v[:5]) != "HTTP/" || v[6] != '.' || v[5]-'0' > 9 || v[7]-'0' > 9 {
		return 0, errRequestLine
	}
	if v[5] != '1' || v[7] > '1' {
		return 0, ErrVersion
	}
	return v[7] - '0', nil
}

// validTarget reports whether target holds neither blanks, control characters
// nor a fragment. What is left is checked by those who know its form.
func validTarget(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// parseHost checks the form of the target and the Host field and sets Host.
func (h *RequestHead) parseHost() error {
	authority, ok := h.authority()
	if !ok {
		return errTarget
	}
	hosts := 0
	for i := range h.Fields {
		if h.Fields[i].ID == FieldHost {
			h.Host = withoutEmptyPort(h.Fields[i].Value)
			hosts++
		}
	}
	switch {
	case hosts > 1:
		return errManyHosts
	case hosts == 0 && h.Minor == 1:
		return errNoHost
	case hosts == 1 && h.Host != "" && !ValidHost(h.Host):
		return errHost
	}
	if authority != "" {
		h.Host = authority // RFC 9112 3.2.2: Host is ignored
	}
	return nil
}

// authority returns the authority of the target, "" if its form has none, and
// reports whether the form is one that the method may have.
func (h *RequestHead) authority() (authority string, ok bool) {
	t := h.Target
	switch {
	case h.Method == "CONNECT":
		return t, ValidHost(t) && PortOf(t) != ""
	case t[0] == '/':
		return "", true
	case t == "*":
		return "", h.Method == "OPTIONS"
	case len(t) > 7 && EqualFold(t[:7], "http://"):
		t = t[7:]
	case len(t) > 8 && EqualFold(t[:8], "https://"):
		t = t[8:]
	default:
		return "", false
	}
	for i := range len(t) {
		if t[i] == '/' || t[i] == '?' {
			t = t[:i]
			break
		}
	}
	t = withoutEmptyPort(t)
	return t, ValidHost(t)
}

// withoutEmptyPort takes the colon off a host that has one and no port: RFC 3986
// 3.2.3 lets the port be empty, and has that be the same as none.
func withoutEmptyPort(host string) string {
	if n := len(host) - 1; n > 0 && host[n] == ':' {
		return host[:n]
	}
	return host
}

// ValidHost reports whether s is a name, an IPv4 address or an IPv6 address in
// brackets, with an optional port. It is narrower than RFC 3986: percent
// escapes and sub-delims, which no name in DNS has, are refused.
func ValidHost(s string) bool {
	if s == "" || len(s) > 261 {
		return false
	}
	i := 0
	if s[0] == '[' {
		for i++; i < len(s) && (classes[s[i]]&isHex != 0 || s[i] == ':' || s[i] == '.'); i++ { // no zone
		}
		if i == len(s) || s[i] != ']' {
			return false
		}
		if a, err := netip.ParseAddr(s[1:i]); err != nil || !a.Is6() {
			return false
		}
		i++
	} else {
		for i < len(s) && classes[s[i]]&isHost != 0 {
			i++
		}
		if i == 0 {
			return false
		}
	}
	return i == len(s) || s[i] == ':' && validPort(s[i+1:])
}

// validPort reports whether s is a port number.
func validPort(s string) bool {
	n := 0
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 || i == 5 {
			return false
		}
		n = n*10 + int(d)
	}
	return s != "" && n <= 65535
}

// PortOf returns the port of a valid host, "" without one.
func PortOf(host string) string {
	for i := len(host) - 1; i >= 0 && host[i] != ']'; i-- {
		if host[i] == ':' {
			return host[i+1:]
		}
	}
	return ""
}

// expectations sets what the client expects. RFC 9110 10.1.1: in HTTP/1.0 the
// expectation is ignored.
func (h *RequestHead) expectations() {
	for i := range h.Fields {
		switch h.Fields[i].ID {
		case FieldExpect:
			h.Expect100 = h.Expect100 || h.Minor == 1 && HasToken(h.Fields[i].Value, "100-continue")
		case FieldTE:
			h.TETrailers = h.TETrailers || HasToken(h.Fields[i].Value, "trailers")
		}
	}
}
