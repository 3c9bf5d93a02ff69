// Package gateway carries requests from clients to instances: the life of a
// request on the gateway (contract 4).
//
// [Gateway.Serve] is that life, step by step: read the path and the client's
// address, route, forward, relay, finish. It runs in the goroutine of the
// client's connection and allocates nothing on the common path. What a request
// meets (settings, catalog) it loads once.
package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/proxy/answer"
	"lictor/proxy/hops"
	"lictor/proxy/http1"
	"lictor/proxy/longlived"
	"lictor/resolver"
)

// Config is what a Gateway is made of. Sources and Log are required.
type Config struct {
	Settings  Settings
	Sources   []resolver.Source // asked in order; the first with a usable instance wins (D10)
	Log       hclog.Logger
	Metrics   prometheus.Registerer // nil: none are kept
	AccessLog *answer.AccessLog     // nil: none is written
	Records   *answer.AccessLog     // for what middleware records; nil: AccessLog
	Policy    Policy                // nil: every request is refused
	Locator   policy.Locator        // nil: no country is known
	Bus       *BusRoute             // nil: everything goes by HTTP

	TLS           *tls.Config                                                  // nil: the listener speaks plain text
	VerifyClient  func(chain []*x509.Certificate) (until time.Time, err error) // nil: a client's certificate is verified once
	ProxyProtocol bool                                                         // connections of trusted proxies begin with a PROXY header
}

// Policy gives the policy in force.
type Policy interface {
	// Set returns the policy to decide by, nil if there is none or none that is
	// fresh enough: then everything is refused (X6). A request calls it once.
	Set() *policy.Set
}

// Gateway is the reverse proxy.
type Gateway struct {
	sources   []resolver.Source
	log       hclog.Logger
	access    *answer.AccessLog
	records   *answer.AccessLog // nil: records are not written
	metrics   *metrics
	settings  atomic.Pointer[Settings]
	server    *http1.Server
	policy    Policy
	locator   policy.Locator
	limiter   policy.Limiter
	bus       *BusRoute
	live      *longlived.Registry
	mark      hops.Mark // in Via
	decisions decisions

	groups atomic.Pointer[map[string]*group] // every service that was asked for and exists
	mu     sync.Mutex                        // serialises changes of groups
}

// New returns a gateway that Run lets serve.
func New(cfg Config) (*Gateway, error) {
	if len(cfg.Sources) == 0 || cfg.Log == nil {
		return nil, errors.New("proxy: Sources and Log are required")
	}
	g := &Gateway{sources: cfg.Sources, log: cfg.Log, access: cfg.AccessLog, records: cmp.Or(cfg.Records, cfg.AccessLog), policy: cfg.Policy, locator: cfg.Locator, bus: cfg.Bus}
	if g.policy == nil {
		g.policy = noPolicy{}
	}
	g.mark = hops.NewMark()
	if g.bus != nil {
		g.bus.bodies.size, g.bus.replies.size = maxBusBodies, maxBusBodies
	}
	g.live = longlived.New()
	g.settings.Store(&cfg.Settings)
	g.groups.Store(&map[string]*group{})
	g.server = http1.NewServer(g, cfg.Settings.limits())
	g.server.SetEntrance(g.entrance(&cfg))
	var err error
	g.metrics, err = newMetrics(g, cfg.Metrics)
	return g, err
}

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

// Run serves l until ctx ends, then closes l, lets the requests under way end
// within the drain time, and returns.
func (g *Gateway) Run(ctx context.Context, l net.Listener) error {
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
		l.Close()
	})
	defer stop()
	err := g.server.Serve(l)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.settings.Load().Drain)
	defer cancel()
	if left := g.server.Shutdown(drain); left != nil {
		g.log.Warn("drain time is over, requests were cut", "drain_ms", g.settings.Load().Drain.Milliseconds())
	}
	for _, grp := range *g.groups.Load() {
		grp.close()
	}
	return err
}

// tendEvery is how often what nobody asks for is looked after.
const tendEvery = time.Second

// tend drops what is gone: groups of vanished services, connections to
// vanished instances, connections that were idle for too long.
func (g *Gateway) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.sweep()
		}
	}
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
	set := g.settings.Load()
	var gone []string
	for name, grp := range *g.groups.Load() {
		switch svc, alive := g.following(grp); {
		case !alive:
			gone = append(gone, name)
		case svc != nil:
			for _, m := range grp.take(svc, set).members {
				m.pool.Expire()
				m.slots.SetMost(set.MaxConnections)
			}
		}
	}
	for _, name := range gone {
		g.drop(name)
	}
}

// fixedIdle is how long a group that no resolver knows is kept without a request.
const fixedIdle = 10 * time.Minute

// following returns what the members of grp are taken from, and whether the
// group is still needed.
func (g *Gateway) following(grp *group) (svc *resolver.Service, alive bool) {
	if f := grp.fixed.Load(); f != nil {
		return f.service, monotonic()-grp.used.Load() < int64(fixedIdle)
	}
	if grp.onBus.Load() && monotonic()-grp.used.Load() < int64(fixedIdle) {
		return nil, true
	}
	return g.find(grp.name)
}

// find returns the service that requests for name go to: of the first source
// with a usable instance, or else of the first that knows it. known tells an
// unknown name from one whose instances are not loaded: before they are, what
// later sources have does not count (D10).
func (g *Gateway) find(name string) (svc *resolver.Service, known bool) {
	return g.findLoaded(name, false)
}

// findLoaded is find that may leave out sources that have not loaded the service.
func (g *Gateway) findLoaded(name string, leaveOut bool) (svc *resolver.Service, known bool) {
	for _, src := range g.sources {
		s := src.Catalog().Lookup(name)
		switch {
		case s == nil:
			continue
		case !s.Loaded && !leaveOut:
			return svc, true
		case s.Loaded && s.Usable():
			return s, true
		case svc == nil && s.Loaded:
			svc = s
		}
		known = true
	}
	return svc, known
}

// spelling returns the name by which a resolver knows the service that a path
// calls name: of the one that find would take, else the first. folded says that
// some resolver knows it in any case.
func (g *Gateway) spelling(name string) (proper string, folded, known bool) {
	if svc, _ := g.find(name); svc != nil {
		proper, known = svc.Name, true
	}
	for _, src := range g.sources {
		c := src.Catalog()
		if s := c.Lookup(name); s != nil {
			if !known {
				proper, known = s.Name, true
			}
			folded = folded || c.Folded()
		}
	}
	return proper, folded, known
}

// loadPatience is how long a request waits for the first answer about a
// service that is known by name only; briefPatience, where another source can
// serve it now.
const (
	loadPatience  = 5 * time.Second
	briefPatience = 250 * time.Millisecond
)

// resolve is find that waits for services to be loaded.
func (g *Gateway) resolve(name string) (*resolver.Service, bool) {
	for _, src := range g.sources {
		s := src.Catalog().Lookup(name)
		if s != nil && !s.Loaded {
			g.await(src, name)
			s = src.Catalog().Lookup(name)
		}
		if s != nil && s.Loaded && s.Usable() {
			return s, true
		}
	}
	return g.findLoaded(name, true)
}

// await has src load a service.
func (g *Gateway) await(src resolver.Source, name string) {
	patience := loadPatience
	if s, _ := g.findLoaded(name, true); s != nil && s.Usable() {
		patience = briefPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-src.Want(name):
	case <-timer.C:
	}
}

// group returns the group called name, making it at the first request. name
// must not be part of a request.
func (g *Gateway) group(name string) *group {
	if grp := (*g.groups.Load())[name]; grp != nil {
		return grp
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := *g.groups.Load()
	if grp := old[name]; grp != nil {
		return grp
	}
	grp := &group{name: name, metrics: g.metrics.service(name), log: g.log}
	next := maps.Clone(old)
	next[name] = grp
	g.groups.Store(&next)
	return grp
}

func (g *Gateway) drop(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := maps.Clone(*g.groups.Load())
	if grp := next[name]; grp != nil {
		grp.close()
		delete(next, name)
		g.groups.Store(&next)
		g.metrics.forget(name)
	}
}

// KeepTrailer drops trailers that would not pass as header fields (D18).
func (g *Gateway) KeepTrailer(c *http1.Conn, f *http1.Field, upstream bool) bool {
	x, ok := c.User.(*exchange)
	if !ok {
		return false
	}
	switch f.ID {
	case http1.FieldXConsumer, http1.FieldXWASP, http1.FieldAlias:
		return x.inside && !upstream
	}
	if upstream && (x.hides(f.Name) || asksWhy(f.Name)) || !upstream && x.limits() && isRateLimit(f.Name) {
		return false
	}
	return !x.edits.drops(f.Name, upstream) && (x.inside || !x.protected(f.Name))
}
