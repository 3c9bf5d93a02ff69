package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/secret"
	"lictor/internal/uri"
)

// Admin is the block admin: the listener for operators.
type Admin struct {
	Address  string      // host:port; an empty host is every address
	Token    secret.Text // may all. Without it and Access requests need none, which is allowed on a loopback address only (X8)
	Access   []Access    // further tokens, which may less (R6)
	AuditLog string      // file of the changes of the policy; "" = they go to the log
	Header   string      // the header field that carries the token
	TLS      TLS         // of this listener
}

func defaultAdmin() Admin {
	return Admin{Address: "127.0.0.1:8001", Header: "X-Admin-Token", TLS: defaultTLS()}
}

func (d *decoder) admin(b *hcl.Block) {
	a := &d.cfg.Admin
	where := d.body(b, options{
		"address":   parsed(&a.Address, address),
		"token":     hidden(&a.Token, visible),
		"header":    parsed(&a.Header, headerName),
		"audit_log": text(&a.AuditLog),
	}, nested{"tls": d.tls(&a.TLS, nil), "access": d.access})
	d.listens("admin", a.Address, where, "address", b)
	if !a.Guarded() && !IsLoopback(a.Address) {
		d.wrong(where.of("address", b), "admin: a token is needed unless the address is a loopback address, got %q", where.shown("address", a.Address))
	}
}

// Guarded reports whether requests need a token.
func (a *Admin) Guarded() bool { return !a.Token.Empty() || len(a.Access) > 0 }

// Access is a block access: a token with rights of its own.
type Access struct {
	Name      string
	Token     secret.Text
	TokenFile string // in place of Token
	May       []string
	Domains   []string // those that mapping:TENANT is for, also "*.x" for all below x; empty = any
}

// access decodes a block access. Where the token is said to be empty, as that of a
// variable that is not set, nobody has it, and the block is as if it were not there.
func (d *decoder) access(b *hcl.Block) {
	one := Access{Name: b.Labels[0]}
	bad := false
	read := func(s string) (string, error) {
		err := right(s)
		bad = bad || err != nil
		return s, err
	}
	where := d.body(b, options{
		"token":      hidden(&one.Token, visible),
		"token_file": text(&one.TokenFile),
		"may":        list(&one.May, read),
		"domains":    list(&one.Domains, domain),
	}, nil)
	a := &d.cfg.Admin
	_, token := where["token"]
	_, file := where["token_file"]
	if !token && !file || !one.Token.Empty() && one.TokenFile != "" {
		d.wrong(where.of("token", b), "%saccess %q: want either token or token_file", d.within, one.Name)
	}
	if len(one.May) == 0 && !bad {
		d.wrong(where.of("may", b), "%saccess %q: may: want at least one right", d.within, one.Name)
	}
	if _, ok := where["domains"]; ok && (len(one.Domains) == 0 || !slices.ContainsFunc(one.May, isTenant)) {
		d.wrong(where.of("domains", b), "%saccess %q: domains: want at least one, and a right mapping:TENANT that they narrow", d.within, one.Name)
	}
	if !one.Token.Empty() && a.holds(one.Token) {
		d.wrong(where.of("token", b), "%saccess %q: token: another access has the same", d.within, one.Name)
	}
	if !one.Token.Empty() || one.TokenFile != "" {
		a.Access = append(a.Access, one)
	}
}

// domain reads the domain of a mapping.
func domain(s string) (string, error) {
	parsed, err := uri.ParseDomain(s)
	if err != nil {
		return "", errors.New(`want a domain such as "shop.example.com", or "*.example.com" for all below it`)
	}
	return parsed, nil
}

// right judges the name of a right (R6).
func right(s string) error {
	if isTenant(s) || slices.Contains(rights, s) {
		return nil
	}
	return fmt.Errorf("want %s or mapping:TENANT", strings.Join(rights, ", "))
}

// isTenant reports whether a right is for the mappings of a tenant.
func isTenant(right string) bool { return strings.HasPrefix(right, "mapping:") && right != "mapping:" }

// rights are those that have a name alone.
var rights = []string{"read", "metrics", "explain", "policy", "admin"}

// holds reports whether a token is one of those before it.
func (a *Admin) holds(token secret.Text) bool {
	same := func(other secret.Text) bool { return other.Reveal() == token.Reveal() }
	return same(a.Token) || slices.ContainsFunc(a.Access, func(other Access) bool { return same(other.Token) })
}

// IsLoopback reports whether only this machine can reach the address host:port.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// visible refuses what a client could not send as a token in a header.
func visible(s string) error {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return errors.New("want visible ASCII characters and no space")
		}
	}
	return nil
}
