package app

import (
	"context"
	"slices"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/config"
	"lictor/proxy/answer"
	"lictor/proxy/egress"
	"lictor/proxy/own"
	"lictor/resolver"
	"lictor/resolver/consul"
)

// buildEgress makes the forward proxy, if it is configured.
func (p *Lictor) buildEgress() (err error) {
	if !p.cfg.Egress.Configured {
		return nil
	}
	registry, err := p.buildRegistry()
	if err != nil {
		return err
	}
	p.egress, err = egress.New(egress.Config{
		Settings:     egressSettings(p.cfg),
		Policy:       p.policy.Set,
		Own:          func() []own.Endpoint { return p.ownEndpoints(p.cfg) },
		Registry:     registry,
		Log:          p.log.Named("egress"),
		Metrics:      p.registry,
		Detail:       answer.Detail(p.cfg.Metrics),
		Traces:       p.traces,
		AccessLog:    p.access,
		AccessFormat: p.cfg.AccessLog.Format,
		Decisions:    p.decisions,
	})
	if err != nil {
		return err
	}
	p.policy.OnChange(p.egress.PolicyChanged)
	if p.egressListener, err = listen("egress", p.cfg.Egress.Address); err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{
		Name: "egress", Grace: p.cfg.Gateway.Drain + 5*time.Second,
		Run: func(ctx context.Context) error { return p.egress.Run(ctx, p.egressListener) },
	})
	return nil
}

// buildRegistry makes the list of all addresses at which services are
// registered (A15). Of Consul it is every service: the gateway's own resolver
// knows only those that a path may reach.
func (p *Lictor) buildRegistry() (*egress.Catalogs, error) {
	var sources []resolver.Source
	for _, src := range p.sources {
		if _, isConsul := src.(*consul.Resolver); !isConsul {
			sources = append(sources, src)
		}
	}
	for _, block := range p.cfg.Resolvers {
		if block.Consul == nil {
			continue
		}
		_, conns, err := shares(p.cfg)
		if err != nil {
			return nil, err
		}
		r, err := p.consulResolver("registry", "registry", conns, block.Consul, consul.Config{Everywhere: true})
		if err != nil {
			return nil, err
		}
		sources = append(sources, r)
	}
	p.catalogs = egress.NewCatalogs(sources)
	p.services = append(p.services, supervisor.Service{Name: "registry", Run: p.catalogs.Run, Grace: time.Second})
	return p.catalogs, nil
}

// describeRegistry adds what the egress knows of registered services to the status.
func (p *Lictor) describeRegistry(st *api.Status) {
	if p.catalogs == nil {
		return
	}
	for _, src := range p.catalogs.Sources() {
		if !slices.Contains(p.sources, src) {
			admin.AddResolver(st, "registry "+src.Kind(), src)
		}
	}
	if why := p.egress.Missing(); why != "" {
		st.Problems = append(st.Problems, "egress: it is not known where services are registered, all is refused that no whitelist admits by its name: "+why)
	}
}

// egressSettings are the part of cfg that the egress takes at any time.
func egressSettings(cfg *config.Config) egress.Settings {
	e, g := &cfg.Egress, &cfg.Gateway
	return egress.Settings{
		DNSServers:      e.DNSServers,
		ReachPrivate:    !e.DenyPrivate,
		AllowPrivate:    e.AllowPrivate,
		ReachRegistered: !e.DenyRegistered,
		ConnectPorts:    e.ConnectPorts,
		AllowClients:    e.AllowClients,
		Believed:        slices.Concat(g.TrustedProxies, g.TrustedNetworks),
		Timeout:         g.Timeout,
		Idle:            g.IdleTimeout,
		Body:            g.BodyTimeout,
		Admission:       admission(g),
		Header:          g.HeaderTimeout,
		Stream:          g.StreamIdle,
		MaxHeader:       int(g.MaxHeaderBytes),
		Drain:           g.Drain,
	}
}
