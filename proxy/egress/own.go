package egress

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"lictor/proxy/own"
)

// Endpoint is a part of our own infrastructure.
type Endpoint = own.Endpoint

// endpointName is a host name with a port.
type endpointName struct {
	host string
	port uint16
}

// ownEvery is how often our own names and interfaces are looked at again.
const (
	ownEvery    = 15 * time.Second
	ownPatience = 3 * time.Second
)

// refreshOwn finds out anew where our own infrastructure is.
func (p *Proxy) refreshOwn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ownPatience)
	defer cancel()
	system := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	ours := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return p.lookup(ctx, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	p.own.Store(own.Find(ctx, p.endpoints(), p.ownNames, own.Lookups{system, ours}))
}
