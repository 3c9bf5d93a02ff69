// Package app is one lictor: it builds the parts that a configuration asks for,
// hands them to the supervisor, reloads, and tells how it goes. It decides
// nothing about requests. A test can run one in its own process.
package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin"
	"lictor/admin/objects"
	"lictor/app/acme"
	"lictor/app/supervisor"
	"lictor/app/telemetry"
	"lictor/config"
	"lictor/internal/consul/mesh"
	"lictor/internal/descriptors"
	"lictor/internal/durable"
	"lictor/internal/lines"
	"lictor/internal/secret"
	"lictor/policy/feed"
	"lictor/policy/geoip"
	"lictor/policy/live"
	"lictor/policy/tokens"
	"lictor/proxy/answer"
	"lictor/proxy/egress"
	"lictor/proxy/gateway"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
	"lictor/proxy/own"
	"lictor/proxy/rabbitmq"
	"lictor/proxy/redirect"
	"lictor/proxy/upstream"
	"lictor/resolver"
	"lictor/resolver/eureka"
	"lictor/resolver/static"
)

// Lictor is a configured lictor whose sockets are open. Open makes one, Run has it serve.
type Lictor struct {
	log          hclog.Logger
	cfg          *config.Config                // that the process was built from; it never changes
	began        time.Time                     // when it was built
	inForce      atomic.Pointer[config.Config] // the same with what was reloaded since
	generation   atomic.Uint64                 // of inForce
	reloads      reloads
	files        []string      // that a reload reads again
	output       *lines.Writer // where log writes
	audit        *lines.Writer // of changes of the policy; nil = they go to log
	logs         []namedLog    // whose dropped lines are counted
	certificates []namedTLS    // that may expire

	services []supervisor.Service // in the order they start in
	sources  []resolver.Source
	static   *static.Resolver // one of sources; nil if there is none
	registry *prometheus.Registry
	access   *answer.AccessLog // nil if there is none
	recent   answer.Recent
	traces   *answer.Traces      // nil if none are sent
	exporter *telemetry.Exporter // of traces; nil if none are sent
	consul   asksConsul
	mesh     *mesh.Mesh // nil if no resolver wants it

	decisions *answer.DecisionLog // nil if there is none

	acme *acme.Manager // nil if there is none
	// challenge answers those who ask on redirect_address for the proof that a host
	// is ours; nil: nobody asks. See [redirect.Config].
	challenge func(http.ResponseWriter, *http.Request) bool

	policy  *live.Policy
	feeds   *feed.Feeds
	geoip   *geoip.Reader // nil if there is none
	tokens  *tokens.Verifier
	bus     *rabbitmq.Bus // nil if there is none
	gateway *gateway.Gateway
	admin   *admin.Server

	documents *objects.Documents // of the policy, for API and pages
	ages      *ages              // of what the sources know

	own         *own.Keeper      // what the gateway sends nothing to
	catalogs    *egress.Catalogs // nil if there is no egress
	upstreamTLS *tls.Config      // how instances with scheme https are spoken to
	upstreamCAs *authorities     // whom their certificates are from; nil = the system's
	egress      *egress.Proxy    // nil if there is none
	redirect    *redirect.Server // nil if there is none

	gatewayListener  net.Listener
	moreListeners    []net.Listener // of cfg.Listeners, in their order
	redirectListener net.Listener   // nil if there is none
	egressListener   net.Listener   // nil if there is none
	adminListener    net.Listener

	unlockData func() // nil: data_dir is not used
}

// build makes everything that cfg asks for and opens the listeners. What it
// made works once its services run. ctx is that of the process.
func build(ctx context.Context, cfg *config.Config, log hclog.Logger) (*Lictor, error) {
	p := &Lictor{log: log, cfg: cfg, began: time.Now(), registry: prometheus.NewRegistry()}
	p.inForce.Store(cfg)
	p.generation.Store(1)
	p.reloads.done(nil)
	p.registry.MustRegister(&p.reloads, metrics{p})
	for _, step := range []func() error{p.buildSources, p.buildMesh, p.buildPolicy, p.buildFeeds, p.buildGeoIP, p.buildTokens, p.buildBus, p.buildACME, p.buildTelemetry, p.buildDecisionLog, p.buildGateway, p.buildRedirect, p.buildEgress, p.buildPresence} {
		if err := step(); err != nil {
			p.release()
			return nil, err
		}
	}
	// Started first and stopped last, so that it can tell how the rest goes.
	server, err := p.buildAdmin(ctx)
	if err != nil {
		p.release()
		return nil, err
	}
	p.own.Begin() // all listeners are open
	p.services = append([]supervisor.Service{{
		Name: "admin", Grace: 5 * time.Second,
		Run: func(ctx context.Context) error { return server.Run(ctx, p.adminListener) },
	}}, p.services...)
	return p, nil
}

func (p *Lictor) buildSources() error {
	for _, block := range p.cfg.Resolvers {
		var err error
		switch {
		case block.Consul != nil:
			err = p.addConsul(block.Consul)
		case block.Eureka != nil:
			err = p.addEureka(block.Eureka)
		case block.Static != nil:
			err = p.addStatic(block.Static)
		}
		if err != nil {
			return err
		}
	}
	if len(p.sources) == 0 {
		if !p.cfg.RabbitMQ.Configured {
			p.log.Warn("no resolver is configured, no path leads to a service")
		}
		return p.addStatic(&config.StaticResolver{})
	}
	return nil
}

func (p *Lictor) addStatic(block *config.StaticResolver) (err error) {
	if p.static, err = static.New(block.Services, block.Meta); err != nil {
		return err
	}
	p.sources = append(p.sources, p.static)
	return nil
}

func (p *Lictor) addEureka(block *config.EurekaResolver) error {
	snapshot, err := p.dataFile("catalog-eureka.json")
	if err != nil {
		return err
	}
	r, err := eureka.New(eureka.Config{
		URLs:           revealed(block.URLs),
		Refresh:        block.Refresh,
		PreferHostname: block.PreferHostname,
		Delta:          block.Delta,
		EmptyHold:      block.EmptyHold,
		SnapshotFile:   snapshot,
		Log:            p.log.Named("resolver"),
	})
	if err != nil {
		return err
	}
	p.sources = append(p.sources, r)
	p.services = append(p.services, supervisor.Service{Name: "resolver eureka", Run: r.Run, Grace: 5 * time.Second})
	return nil
}

// dataFile returns the path of a file in data_dir, which it makes if need be,
// or "" if there is none. A directory that cannot be written to, or that another
// lictor uses, is an error now, not when the file would have been needed.
func (p *Lictor) dataFile(name string) (string, error) {
	dir := p.cfg.DataDir
	if dir == "" {
		return "", nil
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".probe-*"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return "", fmt.Errorf(`data_dir cannot be written to (data_dir = "" keeps nothing): %w`, err)
	}
	if p.unlockData == nil {
		if p.unlockData, err = durable.Lock(dir, formerLife); err != nil {
			return "", fmt.Errorf(`data_dir (data_dir = "" keeps nothing): %w`, err)
		}
	}
	return filepath.Join(dir, name), nil
}

func revealed(all []secret.Text) []string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.Reveal()
	}
	return texts
}

// formerLife is how long a lictor that was told to end is waited for, or one that
// was killed and is not gone yet, before its data_dir is refused.
const formerLife = 3 * time.Second

// release gives up what the process has beside its services.
func (p *Lictor) release() {
	if p.unlockData != nil {
		p.unlockData()
		p.unlockData = nil
	}
}

func (p *Lictor) buildGateway() (err error) {
	if log := p.cfg.AccessLog; log.Path != "" {
		if p.access, err = answer.NewAccessLog(log.Path, log.Format); err != nil {
			return err
		}
		p.services = append(p.services, supervisor.Service{Name: "access log", Run: p.access.Run, Grace: 5 * time.Second})
	}
	records, err := p.buildRecords()
	if err != nil {
		return err
	}
	certificates, err := p.buildTLS("gateway", &p.cfg.Gateway.TLS, "h2", "http/1.1")
	if err != nil {
		return err
	}
	more, err := p.buildMore()
	if err != nil {
		return err
	}
	if p.upstreamTLS, err = upstreamTLS(&p.cfg.HTTP.TLS); err != nil {
		return fmt.Errorf("dispatch http: upstream_tls: %w", err)
	}
	if p.upstreamCAs, err = newAuthorities(p.cfg.HTTP.TLS.CAFile, p.log.Named("gateway")); err != nil {
		return fmt.Errorf("dispatch http: upstream_tls: %w", err)
	}
	p.own = own.NewKeeper(p.infrastructure)
	p.gateway, err = gateway.New(gateway.Config{
		Settings:  p.settings(p.cfg),
		Sources:   p.sources,
		Log:       p.log.Named("gateway"),
		Metrics:   p.registry,
		Detail:    answer.Detail(p.cfg.Metrics),
		AccessLog: p.access,
		Recent:    &p.recent,
		Traces:    p.traces,
		Decisions: p.decisions,
		Records:   records,
		Policy:    p.policy,
		Locator:   p.locator(),
		Tokens:    p.tokens,
		Bus:       p.busRoute(),
		Mesh:      p.meshOf(),

		Listener: way(certificates, &p.cfg.Gateway.TLS, p.cfg.Gateway.ProxyProtocol, p.cfg.Gateway.ClientNames),
		More:     more,
	})
	if err != nil {
		return err
	}
	p.gateway.Limiter().SetPrefix(p.cfg.Policy.Prefix6)
	p.policy.OnChange(p.gateway.PolicyChanged)
	p.tokens.OnChange(p.gateway.PolicyChanged)
	p.followAuthorities()
	if err := p.openGateway(); err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "own infrastructure", Grace: time.Second, Run: p.own.Run}, supervisor.Service{
		Name: "gateway", Grace: p.cfg.Gateway.Drain + 5*time.Second,
		Run: func(ctx context.Context) error {
			p.awaitLoaded(ctx)
			return p.gateway.Run(ctx, append([]net.Listener{p.gatewayListener}, p.moreListeners...)...)
		},
	})
	return nil
}

// admission bounds the connections of clients. What the configuration leaves
// open follows from how many descriptors there are: a request takes another one
// for its instance.
func admission(g *config.Gateway) http1.Admission {
	n := descriptors.ForClients()
	all := cmp.Or(g.MaxConnections, n/2)
	return http1.Admission{
		Connections:          all,
		ConnectionsPerClient: cmp.Or(g.MaxConnectionsPerClient, all*3/4),
		StreamsPerClient:     cmp.Or(g.MaxStreamsPerClient, min(n/4, 4000)),
	}
}

// settings are the part of cfg that the gateway takes at any time.
func settings(cfg *config.Config) gateway.Settings {
	g, h := &cfg.Gateway, &cfg.HTTP
	return gateway.Settings{
		Settings: upstream.Settings{
			Timeout:        g.Timeout,
			Balance:        h.Balance,
			HashOn:         h.HashOn,
			Retries:        h.Retries,
			ConnectTimeout: h.ConnectTimeout,
			MaxIdle:        h.MaxIdlePerInstance,
			MaxConnections: h.MaxConnections,
			MaxRequests:    h.MaxRequests,
			SlowStart:      h.SlowStart,
			Eject:          h.Eject,
			Hold:           h.Hold,

			RewriteLocation: h.RewriteLocation,
		},
		Idle:               g.IdleTimeout,
		Body:               g.BodyTimeout,
		Admission:          admission(g),
		Header:             g.HeaderTimeout,
		Stream:             g.StreamIdle,
		MaxHeader:          int(g.MaxHeaderBytes),
		MaxFields:          g.MaxFields,
		MaxBody:            g.MaxBody,
		Drain:              g.Drain,
		TrustedProxies:     g.TrustedProxies,
		MoreTrustedProxies: trustedProxies(cfg.Listeners),
		TrustedNetworks:    g.TrustedNetworks,
		ProtectedHeaders:   g.ProtectedHeaders,
		ErrorPage:          g.ErrorPage,
		HSTS:               g.HSTS,
		Middleware:         middleware.New(cfg.Middleware),
	}
}

// delayed returns a context that ends for as long after ctx as shutdown_delay
// says then: the time that balancers need to see that /readyz is 503.
func (p *Lictor) delayed(ctx context.Context) context.Context {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		delay := p.inForce.Load().Gateway.ShutdownDelay
		if delay > 0 {
			p.log.Info("about to stop, the listeners serve on", "delay_ms", delay.Milliseconds())
		}
		time.AfterFunc(delay, cancel)
	})
	return later
}
