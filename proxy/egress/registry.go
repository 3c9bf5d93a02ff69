package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"lictor/resolver"
	"lictor/uri"
)

// Catalogs is the policy.Registry of all services that resolvers know, usable
// or not (A15). [Catalogs.Run] keeps it up to date.
type Catalogs struct {
	sources []resolver.Source
	index   atomic.Pointer[registered]
	seen    []*resolver.Catalog // Run's only
}

// registered is where services are registered. It is immutable.
type registered struct {
	at    map[netip.AddrPort][]string
	named map[endpointName][]string
}

// NewCatalogs returns a registry of what is in the sources' catalogs by now.
func NewCatalogs(sources []resolver.Source) *Catalogs {
	c := &Catalogs{sources: sources, seen: make([]*resolver.Catalog, len(sources))}
	c.follow()
	return c
}

// followEvery is how soon a change in a catalog is in the registry.
const followEvery = 200 * time.Millisecond

// Run follows the catalogs until ctx ends.
func (c *Catalogs) Run(ctx context.Context) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			c.follow()
		}
	}
}

// follow makes a new index if a catalog changed, and has services loaded that
// are known by name only: nobody may have asked the gateway for them.
func (c *Catalogs) follow() {
	changed := c.index.Load() == nil
	for i, src := range c.sources {
		if now := src.Catalog(); now != c.seen[i] {
			c.seen[i], changed = now, true
		}
	}
	if !changed {
		return
	}
	next := &registered{at: make(map[netip.AddrPort][]string), named: make(map[endpointName][]string)}
	for i, src := range c.sources {
		for svc := range c.seen[i].All() {
			if !svc.Loaded {
				src.Want(svc.Name)
			}
			for _, inst := range svc.Instances {
				next.add(svc.Name, inst.Address)
			}
		}
	}
	c.index.Store(next)
}

func (r *registered) add(service, address string) {
	host, portText, err := net.SplitHostPort(address)
	port, wrong := strconv.ParseUint(portText, 10, 16)
	if err != nil || wrong != nil {
		return
	}
	if a, err := netip.ParseAddr(host); err == nil {
		at := netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port))
		r.at[at] = append(r.at[at], service)
	} else if name, err := uri.CompileHost(host); err == nil {
		k := endpointName{name, uint16(port)}
		r.named[k] = append(r.named[k], service)
	}
}

// ServicesAt implements policy.Registry.
func (c *Catalogs) ServicesAt(at netip.AddrPort) []string { return c.index.Load().at[at] }

// ServicesNamed implements policy.Registry.
func (c *Catalogs) ServicesNamed(host string, port uint16) []string {
	return c.index.Load().named[endpointName{host, port}]
}
