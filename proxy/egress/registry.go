package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
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
	since   time.Time           // Run's only: when all sources were ready
	ready   atomic.Bool
}

// registered is where services are registered. It is immutable.
type registered struct {
	at    map[netip.AddrPort][]string
	named map[endpointName][]string

	loaded bool // no service is known by name only
}

// NewCatalogs returns a registry of what is in the sources' catalogs by now.
func NewCatalogs(sources []resolver.Source) *Catalogs {
	c := &Catalogs{sources: sources, seen: make([]*resolver.Catalog, len(sources))}
	c.follow(time.Now())
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
		case now := <-tick.C:
			c.follow(now)
		}
	}
}

// follow makes a new index if a catalog changed, and has services loaded that
// are known by name only: nobody may have asked the gateway for them.
func (c *Catalogs) follow(now time.Time) {
	changed := c.index.Load() == nil
	for i, src := range c.sources {
		if is := src.Catalog(); is != c.seen[i] {
			c.seen[i], changed = is, true
		}
	}
	if !changed {
		c.judge(now)
		return
	}
	next := &registered{at: make(map[netip.AddrPort][]string), named: make(map[endpointName][]string), loaded: true}
	for i, src := range c.sources {
		for svc := range c.seen[i].All() {
			if !svc.Loaded {
				src.Want(svc.Name)
				next.loaded = false
			}
			for _, inst := range svc.Instances {
				next.add(svc.Name, inst.Address)
				if shown := strings.ToUpper(svc.Name); c.seen[i].Folded() && shown != svc.Name {
					next.add(shown, inst.Address) // rules may call it as its registry shows it (E7)
				}
			}
		}
	}
	c.index.Store(next)
	c.judge(now)
}

// loadPatience is how long services that do not load may keep the rest waiting.
const loadPatience = 10 * time.Second

// judge finds out whether the registry is ready, once: when every source knows
// its services, and every service its instances.
func (c *Catalogs) judge(now time.Time) {
	if c.ready.Load() {
		return
	}
	for _, src := range c.sources {
		if !src.Status().Ready {
			return
		}
	}
	if c.since.IsZero() {
		c.since = now
	}
	c.ready.Store(c.index.Load().loaded || now.Sub(c.since) >= loadPatience)
}

// Ready reports whether it is known where services are registered.
func (c *Catalogs) Ready() bool { return c.ready.Load() }

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
