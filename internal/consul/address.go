package consul

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"lictor/internal/uri"
)

// Address is where a Consul agent listens.
type Address struct {
	Scheme string // http or https
	Host   string // host:port; "localhost" for a socket, which needs some name
	Path   string // in front of every path of the API; "" or "/p" without trailing slash
	Socket string // path of a unix socket; "" = it is reached by TCP
}

// ParseAddress reads an address in each of the forms that consul/api takes:
// host:port and host, after "http://", "https://" or nothing, and with a path
// behind it if there is a scheme before it; "unix://" and the path of a socket.
// scheme, if it is https, holds whatever the address says. Its errors do not
// repeat the address, in which somebody may have written a password.
func ParseAddress(text, scheme string) (Address, error) {
	a := Address{Scheme: cmp.Or(scheme, "http")}
	if a.Scheme != "http" && a.Scheme != "https" {
		return Address{}, errors.New("want the scheme http or https")
	}
	before, rest, hasScheme := strings.Cut(text, "://")
	switch {
	case !hasScheme:
		rest = cmp.Or(text, "127.0.0.1:8500")
	case before == "unix":
		if rest == "" {
			return Address{}, errors.New(`want the path of a socket after "unix://"`)
		}
		a.Host, a.Socket = "localhost", rest
		return a, nil
	case before == "https":
		a.Scheme = "https"
	case before != "http":
		return Address{}, errors.New(`want nothing, "http://", "https://" or "unix://" before the host`)
	}
	return a, a.split(rest, hasScheme)
}

// split reads the host, port and path.
func (a *Address) split(rest string, mayHavePath bool) error {
	if strings.ContainsRune(rest, '@') {
		return errors.New("want no user or password in the address: CONSUL_HTTP_AUTH and the token are for that")
	}
	host, _, hasPath := strings.Cut(rest, "/")
	if hasPath && !mayHavePath {
		return errors.New(`want "http://" or "https://" before an address with a path`)
	}
	u, err := url.Parse("//" + rest)
	if err != nil || strings.ContainsAny(rest, "?#") || u.Host != host || strings.ContainsAny(u.Path, "\\") {
		return errWantAddress
	}
	// What is looked at is the path as it will be used: "%2f" is a slash by then.
	a.Path = strings.TrimSuffix(u.Path, "/")
	for _, bad := range []string{"//", "/./", "/../"} {
		if strings.Contains(a.Path+"/", bad) {
			return errors.New("want a path without empty parts or dots")
		}
	}
	bare := strings.Contains(u.Hostname(), ":") && host[0] != '[' // an IPv6 address, or too many colons
	if bare || strings.HasSuffix(host, ":") || !uri.CanDial(u.Hostname()) || u.Port() != "" && !isPort(u.Port()) {
		return errWantAddress
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[a.Scheme])
	a.Host = net.JoinHostPort(u.Hostname(), port)
	return nil
}

var errWantAddress = errors.New(`want an address such as "127.0.0.1:8500", "https://consul.example.com" or "unix:///run/consul.sock"`)

func isPort(text string) bool {
	at, err := netip.ParseAddrPort("127.0.0.1:" + text)
	return err == nil && at.Port() != 0
}
