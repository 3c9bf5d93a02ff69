package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"lictor/internal/pace"
	"lictor/internal/uri"
	"lictor/resolver"
)

// Catalogs is the [Registry] of all services that resolvers know, usable or not
// (A15). [Catalogs.Run] keeps it up to date; any goroutine may ask it.
type Catalogs struct {
	sources []resolver.Source
	index   atomic.Pointer[registered]
	missing atomic.Pointer[string]

	// Run's only.
	seen   []*resolver.Catalog
	listed bool                 // every source has listed its services
	known  bool                 // where each of these is was known once
	since  time.Time            // since when a source does not tell; zero = each does
	waits  map[string]time.Time // services that are known by name only, since when; zero = since all were listed
}

// registered is where services are registered. It is immutable.
type registered struct {
	at      map[netip.AddrPort][]string
	named   map[endpointName][]string
	anyCase map[string]bool // services whose registry does not mind the case of names (E7)
}

// endpointName is a host name with a port.
type endpointName struct {
	host string
	port uint16
}

// NewCatalogs returns a registry of what is in the catalogs of the sources now. It
// asks nobody, and does not wait.
func NewCatalogs(sources []resolver.Source) *Catalogs {
	c := &Catalogs{sources: sources, seen: make([]*resolver.Catalog, len(sources))}
	c.follow(time.Now())
	return c
}

// followEvery is how soon a change in a catalog is in the registry.
const followEvery = 200 * time.Millisecond

// Run follows the catalogs until ctx ends, and returns its error.
func (c *Catalogs) Run(ctx context.Context) error {
	pace.Every(ctx, followEvery, c.follow)
	return ctx.Err()
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
		c.noteMissing(now)
		return
	}
	waits := make(map[string]time.Time)
	next := &registered{at: make(map[netip.AddrPort][]string), named: make(map[endpointName][]string), anyCase: make(map[string]bool)}
	for i, src := range c.sources {
		for svc := range c.seen[i].All() {
			if !svc.Loaded {
				src.Want(svc.Name)
				since, waited := c.waits[svc.Name]
				if !waited {
					since = now
				}
				waits[svc.Name] = since
			}
			next.addService(svc, c.seen[i].Folded())
		}
	}
	c.waits = waits
	c.index.Store(next)
	c.noteMissing(now)
}

// addService enters every address of a service. folded says that its registry does not
// mind the case of names, and shows them in upper case.
func (r *registered) addService(svc *resolver.Service, folded bool) {
	if folded {
		r.anyCase[svc.Name] = true
	}
	enter := func(address string) {
		r.add(svc.Name, address)
		if shown := strings.ToUpper(svc.Name); folded && shown != svc.Name {
			r.add(shown, address) // rules may call it as its registry shows it (E7)
		}
	}
	for _, address := range svc.Registered {
		enter(address)
	}
	for _, inst := range svc.Instances {
		if _, noted := slices.BinarySearch(svc.Registered, inst.Address); !noted {
			enter(inst.Address)
		}
	}
}

// loadPatience is how long a service that turns up may be unknown before the
// rest is closed. At the start there is no patience: nothing is known then.
const loadPatience = 10 * time.Second

// noteMissing stores what is not known of where services are registered. All is
// known when every source has listed its services, and the instances of each.
func (c *Catalogs) noteMissing(now time.Time) {
	why := c.untold()
	switch {
	case why == "":
		c.since = time.Time{}
		c.list()
	case c.since.IsZero():
		c.since = now
	}
	if c.known && now.Sub(c.since) < loadPatience {
		why = ""
	}
	if names := c.late(now); why == "" && len(names) > 0 {
		some := strings.Join(names[:min(len(names), 3)], ", ")
		why = fmt.Sprintf("%d services are known by name only, as %.200q", len(names), some)
	}
	c.known = c.known || why == ""
	if last := c.missing.Load(); last == nil || *last != why {
		c.missing.Store(&why)
	}
}

// list notes, once, that every source has listed its services.
func (c *Catalogs) list() {
	if !c.listed {
		c.listed = true
		for name := range c.waits {
			c.waits[name] = time.Time{}
		}
	}
}

// late returns the services that are not waited for any more. Each has a time of its
// own: others that turn up all the time, as anybody may have them do, close nothing.
func (c *Catalogs) late(now time.Time) (names []string) {
	for name, since := range c.waits {
		if since.IsZero() || c.known && now.Sub(since) >= loadPatience {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// untold returns which source does not tell, in words; "" = each does.
func (c *Catalogs) untold() string {
	for _, src := range c.sources {
		switch s := src.Status(); {
		case !s.Ready:
			return "resolver " + src.Kind() + " has not answered yet"
		case s.Partial != "":
			return "resolver " + src.Kind() + ": " + s.Partial
		}
	}
	return ""
}

// Missing implements [Registry].
func (c *Catalogs) Missing() string { return *c.missing.Load() }

// Sources returns the resolvers that the registry follows.
func (c *Catalogs) Sources() []resolver.Source { return c.sources }

// AnyCase implements policy.Registry.
func (c *Catalogs) AnyCase(service string) bool { return c.index.Load().anyCase[service] }

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
