// Package gateway is the life of a request on the gateway (contract 4): what came,
// whether it may pass, and what became of it.
//
// [Gateway.Serve] is that life, step by step: read the path and the client's
// address, route, decide, send, finish. It runs in the goroutine of the client's
// connection and allocates nothing on the common path. What a request meets
// (settings, policy) it loads once. Package upstream sends what has a permit.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/internal/pace"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/http2"
	"lictor/proxy/longlived"
	"lictor/proxy/upstream"
	"lictor/resolver"
)

// Config is what a Gateway is made of. Sources and Log are required.
type Config struct {
	Settings  Settings
	Sources   []resolver.Source // asked in order; the first with a usable instance wins (D10)
	Log       hclog.Logger
	Metrics   prometheus.Registerer // nil: none are kept
	Detail    answer.Detail         // what is counted besides
	AccessLog *answer.AccessLog     // nil: none is written
	Records   *answer.AccessLog     // for what middleware records; nil: AccessLog
	Decisions *answer.DecisionLog   // nil: none is kept
	Recent    *answer.Recent        // keeps what operators may want to look at; nil: nobody does
	Traces    *answer.Traces        // takes the requests whose spans are to be sent; nil: none are
	Policy    Policy                // nil: every request is refused
	Locator   policy.Locator        // nil: no country is known
	Tokens    policy.Tokens         // nil: nobody passes where a token is demanded
	Bus       *upstream.BusRoute    // nil: everything goes by HTTP
	Mesh      upstream.Mesh         // nil: no instance is reached by Consul's mesh

	Listener                 // its own, which is called gateway
	More     []NamedListener // further ones
}

// Policy gives the policy in force.
type Policy interface {
	// Set returns the policy to decide by, nil if there is none or none that is
	// fresh enough: then everything is refused (X6). A request calls it once.
	Set() *policy.Set
}

// Gateway is the reverse proxy.
type Gateway struct {
	log       hclog.Logger
	access    *answer.AccessLog
	records   *answer.AccessLog // nil: records are not written
	recent    *answer.Recent
	traces    *answer.Traces
	decided   *answer.DecisionLog // nil: decisions are not kept
	counts    []*answer.Counts    // by listener
	upstream  *upstream.Sender
	settings  atomic.Pointer[Settings]
	server    *http1.Server
	entrances []*http1.Entrance // the gateway's own first
	names     []string          // of their listeners
	policy    Policy
	locator   policy.Locator
	tokens    policy.Tokens
	limiter   policy.Limiter
	live      *longlived.Registry
	mark      hops.Mark // in Via
	decisions decisions

	authorities *authorities
}

// New returns a gateway that Run lets serve.
func New(cfg Config) (*Gateway, error) {
	if len(cfg.Sources) == 0 || cfg.Log == nil {
		return nil, errors.New("proxy: Sources and Log are required")
	}
	g := &Gateway{log: cfg.Log, access: cfg.AccessLog, records: cmp.Or(cfg.Records, cfg.AccessLog), policy: cfg.Policy, locator: cfg.Locator, tokens: cfg.Tokens}
	g.recent, g.traces, g.decided = cfg.Recent, cfg.Traces, cfg.Decisions
	if g.policy == nil {
		g.policy = noPolicy{}
	}
	g.mark, g.live = hops.NewMark(), longlived.New()
	g.settings.Store(&cfg.Settings)
	g.server = http1.NewServer(g, cfg.Settings.limits())
	g.server.SetHTTP2(http2.NewServer(g.server))
	g.addListener(listenerName, &cfg.Listener)
	for i := range cfg.More {
		g.addListener(cfg.More[i].Name, &cfg.More[i].Listener)
	}
	for _, name := range g.names {
		counts, err := answer.NewCounts(cfg.Metrics, name, cfg.Detail)
		if err != nil {
			return nil, err
		}
		g.counts = append(g.counts, counts)
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(collector{g})
	}
	g.authorities = newAuthorities(cfg.Log, cfg.Metrics)
	g.authorities.send = g.askUpstream
	var err error
	g.upstream, err = upstream.New(upstream.Config{Sources: cfg.Sources, Log: cfg.Log, Counts: g.counts, Bus: cfg.Bus, Mesh: cfg.Mesh, Metrics: cfg.Metrics})
	return g, err
}

// Upstream is what sends the requests.
func (g *Gateway) Upstream() *upstream.Sender { return g.upstream }

// noPolicy refuses everything.
type noPolicy struct{}

func (noPolicy) Set() *policy.Set { return nil }

// Limiter counts the requests that rate limits speak of. It is the gateway's,
// so that a change of policy forgives nobody.
func (g *Gateway) Limiter() *policy.Limiter { return &g.limiter }

// Update replaces the settings; requests under way keep theirs.
func (g *Gateway) Update(s Settings) {
	g.settings.Store(&s)
	g.server.SetLimits(s.limits())
}

// Run serves the listeners until ctx ends, the gateway's own first and the further
// ones in their order. Then it closes them, lets the requests under way end within
// the drain time, and returns.
func (g *Gateway) Run(ctx context.Context, listeners ...net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer crash.Contain(upkeep, nil)
		g.tend(ctx)
	})
	wg.Go(func() {
		defer crash.Contain(upkeep, nil)
		g.live.Run(ctx, g.policy.Set)
	})
	stop := context.AfterFunc(ctx, func() {
		defer crash.Contain(upkeep, nil)
		closeAll(listeners)
	})
	defer stop()
	err := g.serve(listeners)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.settings.Load().Drain)
	defer cancel()
	if left := g.server.Shutdown(drain); left != nil {
		g.log.Warn("drain time is over, requests were cut", "drain_ms", g.settings.Load().Drain.Milliseconds())
	}
	g.upstream.Close()
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// serve serves the listeners until all of them are closed. One that panics ends the
// others, for nobody would miss it who comes by those.
func (g *Gateway) serve(listeners []net.Listener) error {
	failed := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() {
			defer crash.Contain("gateway listener", func() {
				failed[i] = errors.New("proxy: listener " + g.names[i] + " panicked")
				closeAll(listeners)
			})
			failed[i] = g.server.Serve(l, g.entrances[i])
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// tendEvery is how often what nobody asks for is looked after.
const tendEvery = time.Second

// tend drops what is gone: groups of vanished services, connections to
// vanished instances, connections that were idle for too long.
func (g *Gateway) tend(ctx context.Context) {
	pace.Every(ctx, tendEvery, func(time.Time) { g.sweep() })
}

// AuthoritiesChanged has the certificates of connected clients verified again,
// by the authorities as they are now.
func (g *Gateway) AuthoritiesChanged() {
	g.server.AuthoritiesChanged()
	g.cutUnverified()
}

func (g *Gateway) cutUnverified() {
	for _, u := range g.server.CutUnverified() {
		g.log.Info("cut, as the client's certificate does not hold any more", "client", u.Client.Addr().String(), "error", u.Err)
	}
}

// upkeep is the place of panics in what is done now and then. The next time is
// tried again.
const upkeep = "gateway upkeep"

func (g *Gateway) sweep() {
	defer crash.Contain(upkeep, nil)
	g.cutUnverified()
	g.upstream.Sweep(&g.settings.Load().Settings)
	g.authorities.sweep(time.Now())
}
