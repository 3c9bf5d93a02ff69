package config

import (
	"errors"
	"net"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/secret"
)

// Admin is the block admin: the listener for operators.
type Admin struct {
	Address string      // host:port; an empty host is every address
	Token   secret.Text // empty: requests need none, which is allowed on a loopback address only (X8)
	Header  string      // the header field that carries the token
	TLS     TLS         // of this listener
}

func defaultAdmin() Admin {
	return Admin{Address: "127.0.0.1:8001", Header: "X-Admin-Token", TLS: defaultTLS()}
}

func (d *decoder) admin(b *hcl.Block) {
	a := &d.cfg.Admin
	where := d.body(b, options{
		"address": parsed(&a.Address, address),
		"token":   hidden(&a.Token, visible),
		"header":  parsed(&a.Header, headerName),
	}, nested{"tls": d.tls(&a.TLS, nil)})
	if a.Token.Empty() && !IsLoopback(a.Address) {
		d.wrong(where.of("address", b), "admin: a token is needed unless the address is a loopback address, got %q", a.Address)
	}
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
