package egress

import (
	"errors"
	"net/netip"
	"strings"

	"lictor/internal/uri"
	"lictor/proxy/http1/message"
)

// target is where a request wants to go, read once from the request line. Its
// strings are parts of the request and of the scratch buffers it was read with.
type target struct {
	tunnel bool // CONNECT
	tls    bool // an https URI: TLS is ours to speak
	host   string
	port   uint16
	addr   netip.Addr // of host, if it is an address
	path   uri.Path   // zero for a tunnel
	rest   string     // the path as it goes upstream
}

// Errors of reading a target; each is a 400 bad_target.
var (
	errOrigin   = errors.New("this is a forward proxy: the request line needs a whole URL")
	errTarget   = errors.New("the target of the request cannot be understood")
	errOddHost  = errors.New("the host looks like an address, but is not written as one")
	errPort     = errors.New("port 0 cannot be reached")
	errPath     = errors.New("the path cannot be understood")
	errOddPath  = errors.New("the path is too long for one that can be read in several ways")
	errLongName = errors.New("the host is too long for a name")
)

// scratch is memory to read targets with, kept from request to request.
type scratch struct{ host, path []byte }

// parseTarget reads the target of req. Only the request line counts: the Host
// field may say what it likes (A1).
func parseTarget(req *message.RequestHead, s *scratch) (t target, err error) {
	rest := ""
	switch {
	case req.Method == "CONNECT":
		t.tunnel = true
	case req.Target == "" || req.Target[0] == '/' || req.Target == "*":
		return t, errOrigin
	default:
		scheme, after, ok := strings.Cut(req.Target, "://")
		if !ok {
			return t, errTarget
		}
		t.tls = message.EqualFold(scheme, "https")
		t.port = 80
		if t.tls {
			t.port = 443
		}
		if i := strings.IndexAny(after, "/?"); i >= 0 {
			rest = after[i:]
		}
	}
	if err := t.readHost(req.Host, s); err != nil || t.tunnel {
		return t, err
	}
	return t, t.readPath(req.Method, rest, s)
}

// readHost reads the authority, which the parser took from the request line.
func (t *target) readHost(authority string, s *scratch) error {
	host, port, buf, err := uri.Host(authority, s.host)
	s.host = buf
	if err != nil || host == "" {
		return errTarget
	}
	if port != 0 {
		t.port = port
	} else if t.tunnel || zeroPort(authority) {
		return errPort
	}
	t.host = host
	if len(host) > 253 {
		return errLongName
	}
	if last := host[len(host)-1]; '0' <= last && last <= '9' || strings.IndexByte(host, ':') >= 0 { // anything else is a name, and to try costs
		if addr, err := netip.ParseAddr(host); err == nil {
			t.addr = addr.Unmap()
			return nil
		}
	}
	if oddAddress(host) {
		return errOddHost
	}
	return nil
}

// zeroPort reports whether a port of 0 is written out.
func zeroPort(authority string) bool {
	i := strings.LastIndexByte(authority, ':')
	return i >= 0 && i < len(authority)-1 && authority[len(authority)-1] != ']'
}

// oddAddress reports whether a host that is no canonical address could be taken
// for one (A8): its last label is a number, as in 127.1, 2130706433 or
// 0x7f.0.0.1. There is no such top level domain.
func oddAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if len(last) > 2 && last[0] == '0' && last[1] == 'x' {
		return isEvery(last[2:], func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' })
	}
	return last == "0x" || isEvery(last, func(c byte) bool { return '0' <= c && c <= '9' })
}

func isEvery(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

// readPath reads the path for the rules. What is forwarded is what came, byte for
// byte: a proxy must not modify it (RFC 9110 7.7).
func (t *target) readPath(method, rest string, s *scratch) error {
	received := rest
	if rest == "" {
		received = "/"
	} else if rest[0] == '?' {
		s.path = append(append(s.path[:0], '/'), rest...)
		received = string(s.path) // rare
	}
	var err error
	t.path, s.path, err = uri.ParseLenient(received, s.path)
	if err != nil {
		return errPath
	}
	if t.path.TooOdd() {
		return errOddPath
	}
	t.rest = t.path.Received
	if rest == "" && method == "OPTIONS" {
		t.rest = "*" // RFC 9112 3.2.4
	}
	return nil
}

// name is the host if it has to be looked up, "" if it is an address.
func (t *target) name() string {
	if t.addr.IsValid() {
		return ""
	}
	return t.host
}
