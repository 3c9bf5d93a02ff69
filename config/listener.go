package config

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Listener is a block listener: a further way into the gateway, to the same routes
// and the same policy. Whom it believes, it says for itself.
type Listener struct {
	Name           string         // in log, metrics, status and systemd
	Address        string         // host:port; an empty host is every address
	TrustedProxies []netip.Prefix // whose X-Forwarded-* are believed here
	ProxyProtocol  bool           // connections of TrustedProxies begin with a PROXY header
	ClientNames    []string       // names in clients' certificates that may stand for consumers; empty: all
	TLS            TLS            // without ACME
}

// MayName reports whether a name in a client's certificate may stand for a consumer,
// by a list as of client_names.
func MayName(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		if end, ok := strings.CutPrefix(p, "*"); ok {
			return strings.HasSuffix(name, end)
		}
		if begin, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(name, begin)
		}
		return p == name
	})
}

// clientName parses a name as certificates have it, or the end or the beginning of
// some.
func clientName(s string) (string, error) {
	if s == "" || strings.Count(s, "*") > 1 || strings.Contains(strings.TrimPrefix(strings.TrimSuffix(s, "*"), "*"), "*") {
		return "", errors.New(`want a name in certificates, or the end or beginning of some, such as "*.example.org" or "spiffe://example.org/*"`)
	}
	return s, nil
}

// ownNames are those of the listeners that have blocks of their own.
var ownNames = []string{"gateway", "redirect", "egress", "admin"}

// listenerName is what systemd takes as the name of a socket, and metrics as a label.
var listenerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func (d *decoder) listener(b *hcl.Block) {
	l := Listener{Name: b.Labels[0], TLS: defaultTLS()}
	switch {
	case slices.Contains(ownNames, l.Name):
		d.wrong(b.LabelRanges[0], "%s: this is the name of another listener, want one of your own", title(b))
	case !listenerName.MatchString(l.Name):
		d.wrong(b.LabelRanges[0], "%s: want a name of at most 63 small letters, digits, - and _", title(b))
	}
	where := d.body(b, options{
		"address":         parsed(&l.Address, address),
		"trusted_proxies": list(&l.TrustedProxies, cidr),
		"proxy_protocol":  boolean(&l.ProxyProtocol),
		"client_names":    list(&l.ClientNames, clientName),
	}, nested{"tls": d.tls(&l.TLS, nil)})
	if _, given := where["address"]; !given {
		d.wrong(b.DefRange, "%s: address is needed, where to listen", title(b))
	}
	d.behindProxies(l.ProxyProtocol, l.TrustedProxies, where, b)
	d.namesClients(l.ClientNames, &l.TLS, where, b)
	d.listens(title(b), l.Address, where, "address", b)
	d.cfg.Listeners = append(d.cfg.Listeners, l)
}

func (d *decoder) behindProxies(header bool, proxies []netip.Prefix, where places, b *hcl.Block) {
	if header && len(proxies) == 0 {
		d.wrong(where.of("proxy_protocol", b), "%s: proxy_protocol needs trusted_proxies", title(b))
	}
}

func (d *decoder) namesClients(names []string, t *TLS, where places, b *hcl.Block) {
	if len(names) > 0 && t.ClientCAFile == "" {
		d.wrong(where.of("client_names", b), "%s: client_names needs tls { client_ca_file }", title(b))
	}
}

// socket is where a listener is to listen.
type socket struct {
	whose   string // as problems call it
	address string
	shown   string    // the address as problems show it
	at      hcl.Range // zero if that is the default
}

// listens notes where a listener listens by an option of b, "" for nowhere.
func (d *decoder) listens(whose, address string, where places, option string, b *hcl.Block) {
	if address != "" {
		d.sockets = append(d.sockets, socket{whose, address, where.shown(option, address), where.of(option, b)})
	}
}

// distinct reports the listeners that want the same address, in whatever spelling.
func (d *decoder) distinct() {
	for whose, address := range map[string]string{"gateway": d.cfg.Gateway.Address, "admin": d.cfg.Admin.Address} {
		if !slices.ContainsFunc(d.sockets, func(s socket) bool { return s.whose == whose }) {
			d.sockets = append(d.sockets, socket{whose: whose, address: address, shown: address})
		}
	}
	slices.SortStableFunc(d.sockets, func(a, b socket) int { // those with a default address first, the others as they stand
		return cmp.Or(cmp.Compare(a.at.Filename, b.at.Filename), cmp.Compare(a.at.Start.Byte, b.at.Start.Byte), cmp.Compare(a.whose, b.whose))
	})
	for i, s := range d.sockets {
		for _, other := range d.sockets[:i] {
			if s.whose == other.whose || !overlap(s.address, other.address) { // a block that stands twice was reported
				continue
			}
			place := "its default"
			if other.at != (hcl.Range{}) {
				place = other.at.String()
			}
			d.wrong(s.at, "%s: the address %s is taken: %s listens on %s (%s)", s.whose, s.shown, other.whose, other.shown, place)
		}
	}
}

// overlap reports whether two sockets cannot both be had: the same port on the same
// address, or on one that the other, which is for all, has too. A socket for all of
// IPv6 is for all of IPv4 as well, and 0.0.0.0 for that alone. Port 0 is any that is
// free.
func overlap(a, b string) bool {
	hostA, portA := where(a)
	hostB, portB := where(b)
	if portA != portB || portA == 0 {
		return false
	}
	switch all4, all6 := netip.IPv4Unspecified(), netip.IPv6Unspecified(); {
	case hostA == hostB, hostA.IP == all6, hostB.IP == all6:
		return true
	case hostA.IP == all4:
		return hostB.IP.Is4()
	case hostB.IP == all4:
		return hostA.IP.Is4()
	}
	return false
}

// host is an address, or a name that is not looked up.
type host struct {
	IP   netip.Addr // with its zone; invalid for a name
	Name string
}

func where(address string) (host, uint64) {
	name, text, _ := net.SplitHostPort(address)
	port, _ := strconv.ParseUint(text, 10, 16) // it was read before
	switch ip, err := netip.ParseAddr(name); {
	case err == nil:
		return host{IP: ip.Unmap()}, port
	case name == "":
		return host{IP: netip.IPv6Unspecified()}, port
	case strings.EqualFold(strings.TrimSuffix(name, "."), "localhost"):
		return host{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}, port // which net.Listen takes of the two
	}
	return host{Name: strings.ToLower(strings.TrimSuffix(name, "."))}, port
}
