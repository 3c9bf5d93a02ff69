// Package egress is the forward proxy: what applications call outside goes
// through it, request by request, and nothing leaves that the policy forbids.
//
// [Proxy.Serve] is the life of a request: read the target, look its name up
// once, check the name and every address (A3, A6), connect to one of the
// addresses that were checked, relay, finish. Two rules hold everywhere:
//
//   - Only the request line says where a request goes; what was checked is what
//     is dialled, and a dial needs the permit that the check gives.
//   - Our own infrastructure is out of reach whatever is configured (X9).
//
// A request on a kept-alive connection is checked like the first one; what runs
// on while the policy changes is checked again, and cut if it is now forbidden.
package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/longlived"
	"lictor/proxy/own"
)

// Config is what a Proxy is made of. Policy, Own and Log are required.
type Config struct {
	Settings Settings
	Policy   func() *policy.Set    // the one in force; nil refuses everything (X6)
	Own      func() []own.Endpoint // our own infrastructure (X9); asked again and again
	Registry Registry              // where services are registered; nil: nowhere
	Resolver *dns.Resolver         // nil: one for Settings.DNSServers
	Roots    *x509.CertPool        // for https URIs; nil: the system's

	Log          hclog.Logger
	Metrics      prometheus.Registerer // nil: none are kept
	AccessLog    *answer.AccessLog     // nil: none is written
	AccessFormat string                // json, common, combined; "" = json
}

// Registry knows which services are registered where.
type Registry interface {
	policy.Registry
	// Missing returns why that is not known; "" = it is.
	Missing() string
}

// Proxy is the forward proxy.
type Proxy struct {
	policy   func() *policy.Set
	registry Registry // nil: none
	resolver *dns.Resolver
	log      hclog.Logger
	access   *answer.AccessLog // nil: none
	metrics  *metrics
	server   *http1.Server
	mark     hops.Mark // in Via

	settings atomic.Pointer[Settings]
	own      *own.Keeper   // knows nothing until Run found out
	era      atomic.Uint64 // grows when decisions made before may not hold any more

	pools   pools
	tunnels *http1.Pool // holds none that is idle: a tunnel is used once
	slots   slots
	live    *longlived.Registry

	// How names are looked up and addresses are dialled; tests replace them.
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	dial   func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// New returns a proxy that Run lets serve.
func New(cfg Config) (*Proxy, error) {
	if cfg.Policy == nil || cfg.Own == nil || cfg.Log == nil {
		return nil, errors.New("egress: Policy, Own and Log are required")
	}
	p := &Proxy{
		policy: cfg.Policy, registry: cfg.Registry, resolver: cfg.Resolver, log: cfg.Log,
		tunnels: http1.NewPool(http1.PoolConfig{Patience: cfg.Settings.withDefaults().ConnectTimeout}), mark: hops.NewMark(),
	}
	if p.resolver == nil {
		p.resolver = dns.New(dns.Config{Servers: cfg.Settings.DNSServers})
	}
	p.lookup, p.dial = p.resolver.Lookup, p.dialChecked
	p.own = own.NewKeeper(cfg.Own, func(ctx context.Context, name string) ([]netip.Addr, error) {
		return p.lookup(ctx, strings.ToLower(strings.TrimSuffix(name, ".")))
	})
	p.pools = pools{members: make(map[poolKey]*member), roots: cfg.Roots, dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return p.dial(ctx, to) }}
	p.pools.patience = cfg.Settings.withDefaults().ConnectTimeout
	p.slots.clients = make(map[netip.Addr]int)
	p.live = longlived.New()
	p.settings.Store(cfg.Settings.withDefaults())
	p.server = http1.NewServer(p, cfg.Settings.limits())
	var err error
	if p.access, err = cfg.AccessLog.As(cfg.AccessFormat); err != nil {
		return nil, err
	}
	p.metrics, err = newMetrics(p, cfg.Metrics)
	return p, err
}

// Update replaces the settings. What runs on is checked by the new ones.
func (p *Proxy) Update(s Settings) {
	old := p.settings.Swap(s.withDefaults())
	p.server.SetLimits(s.limits())
	if !slices.Equal(old.DNSServers, s.DNSServers) {
		p.resolver.SetServers(s.DNSServers)
	}
	p.PolicyChanged()
}

// PolicyChanged has all that runs on checked again, soon (A2, X14). It does not
// wait.
func (p *Proxy) PolicyChanged() {
	p.era.Add(1)
	p.live.Changed()
}

// guard is what a decision made now goes by. As long as it is not known where
// services are registered, nothing may pass but what a whitelist admits by its
// name (X6).
func (p *Proxy) guard() guard {
	era := p.era.Load() // first: what is loaded after it is at least as new
	g := guard{set: p.policy(), own: p.own.Set(), settings: p.settings.Load(), era: era}
	if p.registry != nil {
		g.registry = p.registry
		g.blind = p.Missing() != ""
	}
	return g
}

// Ready returns why requests are refused for want of knowledge, nil if they are not.
func (p *Proxy) Ready() error {
	switch {
	case p.own.Set() == nil:
		return errors.New("it does not run yet")
	case p.Missing() != "":
		return fmt.Errorf("it is not known where services are registered: %s", p.Missing())
	}
	return nil
}

// Missing returns why it is not known where services are registered, if that
// matters: they are out of reach, or a blacklist names some. "" = it is known,
// or does not matter.
func (p *Proxy) Missing() string {
	if p.registry == nil || p.settings.Load().ReachRegistered && !p.policy().DeniesServices() {
		return ""
	}
	return p.registry.Missing()
}

// Run serves l until ctx ends, then closes l, lets what is under way end within
// the drain time, and returns.
func (p *Proxy) Run(ctx context.Context, l net.Listener) error {
	p.own.Refresh(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	served, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	wg.Go(func() { // while it drains, too
		defer crash.Contain(upkeep, nil)
		p.live.Run(served, p.policy)
	})
	wg.Go(func() {
		defer crash.Contain(upkeep, nil)
		p.tend(served)
	})
	stop := context.AfterFunc(ctx, func() {
		defer crash.Contain(upkeep, nil)
		l.Close()
	})
	defer stop()
	err := p.server.Serve(l)
	drain, cancel := context.WithTimeout(served, p.settings.Load().Drain)
	defer cancel()
	if left := p.server.Shutdown(drain); left != nil {
		p.log.Warn("drain time is over, requests and tunnels were cut", "drain_ms", p.settings.Load().Drain.Milliseconds())
	}
	p.pools.close()
	return err
}

// upkeep is the place of panics in what is done now and then. The next time is
// tried again.
const upkeep = "egress upkeep"

// tendEvery is how often what nobody asks for is looked after.
const tendEvery = time.Second

// tend drops connections that were idle for too long, and keeps what is known
// of our own infrastructure fresh.
func (p *Proxy) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	known := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.sweep()
			if now.Sub(known) >= own.RefreshEvery {
				p.own.Refresh(ctx)
				known = now
			}
		}
	}
}

func (p *Proxy) sweep() {
	defer crash.Contain(upkeep, nil)
	p.pools.sweep()
}

// KeepTrailer drops trailers that would not pass as header fields (A13).
func (p *Proxy) KeepTrailer(_ *http1.Conn, f *http1.Field, _ bool) bool {
	return !endsHere(f) && f.ID != http1.FieldContentLength && f.ID != http1.FieldHost
}
