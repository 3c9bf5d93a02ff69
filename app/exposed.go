package app

import (
	"fmt"
	"net"
	"slices"

	"lictor/admin/api"
	"lictor/app/listener"
	"lictor/config"
	"lictor/resolver/consul"
)

// selection is what of Consul's services a path may reach.
func selection(block *config.ConsulResolver) consul.Selection {
	return consul.Selection{Tag: block.Tag, Expose: block.Expose, Hide: block.Hide}
}

// prepareServices has the resolvers of Consul check what next selects, whose blocks are
// those that the sources were made from, in their order.
func (p *Lictor) prepareServices(next *config.Config) (put func(), err error) {
	var all []func()
	for i, block := range next.Resolvers {
		if r, ok := p.sources[i].(*consul.Resolver); ok {
			put, err := r.Prepare(selection(block.Consul))
			if err != nil {
				return nil, err
			}
			all = append(all, put)
		}
	}
	return func() {
		for _, put := range all {
			put()
		}
	}, nil
}

// warnExposed says, once, that everybody who reaches the gateway reaches every
// service of Consul by its name (K1): few mean that.
func (p *Lictor) warnExposed() {
	all := slices.ContainsFunc(p.cfg.Resolvers, func(r config.Resolver) bool {
		return r.Consul != nil && r.Consul.Tag == "" && slices.Contains(r.Consul.Expose, "*")
	})
	for _, l := range append([]net.Listener{p.gatewayListener}, p.moreListeners...) {
		at := l.Addr()
		if !all || listener.IsLocal(at) {
			continue
		}
		p.log.Warn(`a path reaches every service in consul but the hidden ones, and other machines reach the gateway: `+
			`name those that are meant in resolver "consul" { expose = ["shop", "api-*"] }, or the tag that they carry in { tag = "public" }`,
			"address", at.String())
		return
	}
}

// describeClaims tells of the hosts that services claim and mapping objects have.
func (p *Lictor) describeClaims(st *api.Status) {
	set := p.policy.Loaded()
	var all []string
	for _, src := range p.sources {
		for svc := range src.Catalog().All() {
			for _, c := range svc.Hosts {
				if set.Maps(c.Host) {
					all = append(all, fmt.Sprintf("service %s: the host %s is mapped by an object of the policy, which counts", svc.Name, c.Host))
				}
			}
		}
	}
	slices.Sort(all)
	st.Problems = append(st.Problems, all...)
}
