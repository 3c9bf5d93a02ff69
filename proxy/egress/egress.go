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
	"lictor/internal/pace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/egress/dns"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
	"lictor/proxy/longlived"
	"lictor/proxy/own"
)

// Config is what a Proxy is made of. Policy, Own and Log are required. Any
// goroutine may call its functions; they must not block.
type Config struct {
	Settings Settings
	Policy   func() *policy.Set    // the one in force; while it returns nil, everything is refused (X6)
	Own      func() []own.Endpoint // our own infrastructure (X9); called every [own.RefreshEvery]
	Registry Registry              // where services are registered; nil: nowhere
	Resolver *dns.Resolver         // nil: one for Settings.DNSServers
	Roots    *x509.CertPool        // authorities for targets with https; nil: the system's

	Log          hclog.Logger
	Metrics      prometheus.Registerer // nil: none are kept
	Detail       answer.Detail         // what is counted besides
	Traces       *answer.Traces        // takes the requests whose spans are to be sent; nil: none are
	AccessLog    *answer.AccessLog     // nil: none is written
	AccessFormat string                // json, common, combined; "" = json
	Decisions    *answer.DecisionLog   // nil: none is kept
}

// Registry knows which services are registered where. Any goroutine may ask it; it
// does not block.
type Registry interface {
	policy.Registry
	// Missing returns what is not known of where services are registered, in words
	// for the operator; "" = all is known.
	Missing() string
}

// Proxy is the forward proxy. Any goroutine may call its methods.
type Proxy struct {
	policy   func() *policy.Set
	registry Registry // nil: none
	resolver *dns.Resolver
	log      hclog.Logger
	access   *answer.AccessLog   // nil: none
	decided  *answer.DecisionLog // nil: decisions are not kept
	traces   *answer.Traces      // nil: none
	metrics  *metrics
	server   *http1.Server
	mark     hops.Mark // in Via

	settings atomic.Pointer[Settings]
	own      *own.Keeper   // knows nothing until Run found out
	era      atomic.Uint64 // grows with every change after which earlier decisions may be wrong

	pools   pools
	tunnels *http1.Pool // holds none that is idle: a tunnel is used once
	slots   slots
	live    *longlived.Registry

	// How names are looked up and addresses are dialled; tests replace them.
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	dial   func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// New returns a proxy, which serves once Run is called. An error is a Config that
// is not whole, an unknown AccessFormat, or metrics that cannot be registered.
func New(cfg Config) (*Proxy, error) {
	if cfg.Policy == nil || cfg.Own == nil || cfg.Log == nil {
		return nil, errors.New("egress: Policy, Own and Log are required")
	}
	p := &Proxy{
		policy: cfg.Policy, registry: cfg.Registry, resolver: cfg.Resolver, log: cfg.Log, decided: cfg.Decisions, traces: cfg.Traces,
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
	p.metrics, err = newMetrics(p, cfg.Metrics, cfg.Detail)
	return p, err
}

// Update replaces the settings. Requests that are under way are decided on again
// by the new ones, as with PolicyChanged. It does not wait.
func (p *Proxy) Update(s Settings) {
	old := p.settings.Swap(s.withDefaults())
	p.server.SetLimits(s.limits())
	if !slices.Equal(old.DNSServers, s.DNSServers) {
		p.resolver.SetServers(s.DNSServers)
	}
	p.PolicyChanged()
}

// PolicyChanged has all requests and tunnels that are under way decided on again,
// and cut if they are forbidden now (A2, X14). It does not wait for that.
func (p *Proxy) PolicyChanged() {
	p.era.Add(1)
	p.live.Changed()
}

// basis is what a decision made now rests on. As long as it is not known where
// services are registered, nothing may pass but what a whitelist admits by its
// name (X6).
func (p *Proxy) basis() basis {
	era := p.era.Load() // first: what is loaded after it is at least as new
	b := basis{set: p.policy(), own: p.own.Set(), settings: p.settings.Load(), era: era}
	if p.registry != nil {
		b.registry = p.registry
		b.blind = p.Missing() != ""
	}
	return b
}

// Ready returns why requests are refused whatever the policy says: Run was not
// called, or it is not known where services are registered. nil: they are not.
func (p *Proxy) Ready() error {
	switch {
	case p.own.Set() == nil:
		return errors.New("it does not run yet")
	case p.Missing() != "":
		return fmt.Errorf("it is not known where services are registered: %s", p.Missing())
	}
	return nil
}

// Missing returns what is not known of where services are registered, if that
// matters, for they are out of reach or a blacklist names some. "" = all is known,
// or it does not matter.
func (p *Proxy) Missing() string {
	if p.registry == nil || p.settings.Load().ReachRegistered && !p.policy().DeniesServices() {
		return ""
	}
	return p.registry.Missing()
}

// Run serves l until ctx ends, then closes l, waits until what is under way has
// ended, for Settings.Drain at most, cuts the rest and returns. It looks our own
// infrastructure up before it serves. An error is one of l.
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
		p.maintain(served)
	})
	stop := context.AfterFunc(ctx, func() {
		defer crash.Contain(upkeep, nil)
		l.Close()
	})
	defer stop()
	err := p.server.Serve(l, new(http1.Entrance))
	drain, cancel := context.WithTimeout(served, p.settings.Load().Drain)
	defer cancel()
	if left := p.server.Shutdown(drain); left != nil {
		p.log.Warn("drain time is over, requests and tunnels were cut", "drain_ms", p.settings.Load().Drain.Milliseconds())
	}
	p.pools.close()
	return err
}

// upkeep is where panics of what is no request are counted.
const upkeep = "egress upkeep"

// maintainEvery is how often maintain does so.
const maintainEvery = time.Second

// maintain drops connections that were idle for too long, and looks the names of
// our own infrastructure up again, until ctx ends.
func (p *Proxy) maintain(ctx context.Context) {
	known := time.Now()
	pace.Every(ctx, maintainEvery, func(now time.Time) {
		p.sweep()
		if now.Sub(known) >= own.RefreshEvery {
			p.own.Refresh(ctx)
			known = now
		}
	})
}

func (p *Proxy) sweep() {
	defer crash.Contain(upkeep, nil)
	p.pools.sweep()
}

// KeepTrailer implements [http1.Handler]: no trailer passes that would not pass as
// a header field (A13).
func (p *Proxy) KeepTrailer(_ *http1.Conn, f *message.Field, _ bool) bool {
	return !isHopByHop(f) && f.ID != message.FieldContentLength && f.ID != message.FieldHost
}
