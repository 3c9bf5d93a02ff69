package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	hashicorp "github.com/hashicorp/consul/api"

	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/config"
	consulapi "lictor/internal/consul"
	"lictor/internal/consul/presence"
	"lictor/resolver/consul"
)

// asksConsul is what the clients of Consul share: as whom it is asked, and what
// is known of its presence.
type asksConsul struct {
	identity *consulapi.Identity           // nil until a client needs it
	contacts map[string]*consulapi.Contact // by datacenter, "" being the one that is asked unless a block says another
	presence *presence.Presence            // nil if there is none
}

// consulUse says what a client of Consul is for.
type consulUse struct {
	answer     int64  // bytes of an answer
	conns      int    // connections, in all
	streams    int    // of them, those of HTTP/2
	datacenter string // "" = as the block consul says
	peer       string // whose services are asked for; "" = none
}

// Connections to Consul, of which an agent accepts 200 from one address
// (http_max_conns_per_client), whatever else on the machine asks it as well. All
// resolvers together have catalogueConns, those of the egress included.
const (
	catalogueConns = 88
	policyConns    = 43
	presenceConns  = 5
	meshConns      = 5
	remoteProbes   = 3 // of another datacenter than the agent's, to look for its return
)

// remoteProbeEvery is the time between them: each that fails is a line in the
// log of the agent.
const remoteProbeEvery = 750 * time.Millisecond

// shares are how many connections to Consul each of the resolvers may have: those
// that the gateway goes by, and those of the egress's registry.
func shares(cfg *config.Config) (gateway, registry int, err error) {
	blocks, remote := 0, make(map[string]bool)
	for _, r := range cfg.Resolvers {
		if r.Consul == nil {
			continue
		}
		blocks++
		if dc := r.Consul.Datacenter; dc != "" && dc != cfg.Consul.Datacenter {
			remote[dc] = true
		}
	}
	if blocks == 0 {
		return 0, 0, nil
	}
	gateway = (catalogueConns - remoteProbes*len(remote)) / blocks
	if cfg.Egress.Configured {
		registry = max(consul.LeastConns, gateway/4)
		gateway -= registry
	}
	if gateway < consul.LeastConns {
		return 0, 0, fmt.Errorf("resolver consul: %d blocks are too many: they share %d connections to the agent", blocks, catalogueConns)
	}
	return gateway, registry, nil
}

// streams is how many of a resolver's connections are of HTTP/2, where Consul is
// reached over TLS: a third, as far as enough others are left.
func streams(conns int) int { return min(conns/3, (conns-consul.LeastConns)/2) }

// addConsul makes the resolver of one block.
func (p *Lictor) addConsul(block *config.ConsulResolver) error {
	conns, _, err := shares(p.cfg)
	if err != nil {
		return err
	}
	r, err := p.consulResolver("resolver", "catalog", conns, block, consul.Config{
		Selection:    selection(block),
		PassingOnly:  block.PassingOnly,
		HostSuffixes: block.HostSuffixes,
		Connect:      consul.Connect(block.Connect),
		MaxStale:     block.MaxStale,
		OwnService:   presence.Service,
	})
	if err == nil {
		p.sources = append(p.sources, r)
	}
	return err
}

// consulResolver makes a resolver that follows what a block names: cfg says how
// else, role for whom, and file is how the name of its snapshot begins.
func (p *Lictor) consulResolver(role, file string, conns int, block *config.ConsulResolver, cfg consul.Config) (r *consul.Resolver, err error) {
	cfg.Client, err = p.consulClient(consulUse{
		answer: consulapi.MaxCatalogue, conns: conns, streams: streams(conns), datacenter: block.Datacenter, peer: block.Peer,
	})
	if err != nil {
		return nil, err
	}
	cfg.Log, cfg.EmptyHold = p.log.Named(role), block.EmptyHold
	file += "-consul"
	switch {
	case block.Peer != "":
		cfg.Name, file = "peer "+block.Peer, file+"-peer-"+block.Peer
		cfg.Log = cfg.Log.Named("peer").Named(block.Peer)
	case block.Datacenter != "":
		cfg.Name, file = block.Datacenter, file+"-dc-"+block.Datacenter
		cfg.Log = cfg.Log.Named(block.Datacenter)
	}
	if cfg.SnapshotFile, err = p.dataFile(file + ".json"); err != nil {
		return nil, err
	}
	if r, err = consul.New(cfg); err != nil {
		return nil, err
	}
	p.services = append(p.services, supervisor.Service{Name: role + " " + r.Kind(), Run: r.Run, Grace: 5 * time.Second})
	return r, nil
}

// consulClient returns a client whose answers and connections are bounded. All
// clients of one datacenter share what they know of its presence.
func (p *Lictor) consulClient(use consulUse) (*consulapi.Client, error) {
	identity, err := p.consulIdentity()
	if err != nil {
		return nil, err
	}
	cfg := consulapi.Config{API: consulConfig(&p.cfg.Consul), Identity: identity, Peer: use.peer, MaxAnswer: use.answer, Conns: consulapi.Kept(use.conns), Streams: use.streams}
	dc := use.datacenter
	if dc == p.cfg.Consul.Datacenter {
		dc = ""
	}
	if dc != "" {
		cfg.API.Datacenter, cfg.Probes = dc, remoteProbes
	}
	contact, known := p.consul.contacts[dc]
	if !known {
		contact = consulapi.NewContact()
		if dc != "" {
			contact.ProbeEvery = remoteProbeEvery
		}
	}
	cfg.Contact = contact
	client, err := consulapi.New(cfg)
	if err == nil && !known {
		p.consul.contacts[dc] = contact
		p.services = append(p.services, supervisor.Service{
			Name: strings.TrimSpace("consul contact " + dc), Grace: time.Second,
			Run: func(ctx context.Context) error { return contact.Probe(ctx, client) },
		})
	}
	return client, err
}

// consulIdentity returns as whom Consul is asked, the same for all clients.
func (p *Lictor) consulIdentity() (*consulapi.Identity, error) {
	if p.consul.identity != nil {
		return p.consul.identity, nil
	}
	log, c := p.log.Named("consul"), &p.cfg.Consul
	identity, err := consulapi.NewIdentity(consulapi.IdentityConfig{
		Token: c.Token, TokenFile: c.TokenFile, TLS: consulConfig(c).TLSConfig,
		Report: func(what string, err error) {
			if err != nil {
				log.Error("the file cannot be used, the former content stays", "what", what, "error", err)
				return
			}
			log.Info("the file was read again and is used from now on", "what", what)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	p.consul.identity, p.consul.contacts = identity, make(map[string]*consulapi.Contact)
	return identity, nil
}

// prepareConsul reads who asks Consul by a configuration that was read again.
func (p *Lictor) prepareConsul(next *config.Config) (put func(), err error) {
	if p.consul.identity == nil {
		return nothing, nil
	}
	if put, err = p.consul.identity.PrepareToken(next.Consul.Token, next.Consul.TokenFile); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return put, nil
}

// describeConsul tells of files that cannot be used, of services that one resolver
// took over from another, and whether the others know of this lictor.
func (p *Lictor) describeConsul(st *api.Status) {
	st.Problems = append(st.Problems, p.gateway.Upstream().CutOff()...)
	if p.consul.identity == nil {
		return
	}
	for _, problem := range p.consul.identity.Problems() {
		st.Problems = append(st.Problems, "consul: "+problem)
	}
	if p.consul.presence == nil {
		return
	}
	p.describeLictors(st)
	if err := p.consul.presence.Problem(); err != nil {
		st.Problems = append(st.Problems, "consul: this lictor is not registered as "+presence.Service+", rate limits of scope split are not divided: "+err.Error())
	}
}

// describeLictors tells of the lictors that live, and of those that decide otherwise.
func (p *Lictor) describeLictors(st *api.Status) {
	all, counted := p.consul.presence.Lictors()
	if counted.IsZero() {
		return
	}
	st.Lictors = &api.LictorsStatus{AgeSeconds: time.Since(counted).Seconds(), Live: []api.LictorStatus{}}
	for _, l := range all {
		one := api.LictorStatus{ID: l.ID, Node: l.Node, Datacenter: l.Datacenter, Address: l.Address, Self: l.Self, Policy: l.Policy}
		if !l.Differs.IsZero() {
			one.Differs = &l.Differs
		}
		st.Lictors.Live = append(st.Lictors.Live, one)
	}
	for _, problem := range p.consul.presence.Disagreements() {
		st.Problems = append(st.Problems, "lictors: "+problem)
	}
}

// consulConfig sets only what the file says or consul/api takes from its
// environment in just the same way; the rest it finds there by itself.
func consulConfig(c *config.Consul) *hashicorp.Config {
	cfg := hashicorp.DefaultConfig()
	cfg.Address, cfg.Scheme, cfg.Datacenter = c.Address, c.Scheme, c.Datacenter
	cfg.TLSConfig.CAFile, cfg.TLSConfig.CertFile, cfg.TLSConfig.KeyFile = c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile
	return cfg
}
