package app

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	hashicorp "github.com/hashicorp/consul/api"

	"lictor/admin/api"
	"lictor/config"
	consulapi "lictor/internal/consul"
	"lictor/proxy/own"
)

// ownEndpoints are what nobody may reach through the egress (X9): every
// listener, and the Consul, RabbitMQ, Eureka and collector that are configured. Consul
// counts even if only its environment variables are set.
func (p *Lictor) ownEndpoints(cfg *config.Config) []own.Endpoint {
	var all []own.Endpoint
	for _, l := range append([]net.Listener{p.gatewayListener, p.redirectListener, p.egressListener, p.adminListener}, p.moreListeners...) {
		if l != nil {
			all = appendListening(all, l.Addr())
		}
	}
	all = append(all, p.servers(cfg)...)
	for _, block := range cfg.Resolvers {
		if block.Eureka == nil {
			continue
		}
		for _, u := range revealed(block.Eureka.URLs) {
			all = appendURL(all, u)
		}
	}
	return all
}

// infrastructure is what the gateway sends no request to, whatever a service, a
// mapping or an API says: the admin API, the egress and the redirects of this lictor, its
// Consul, its broker and its collector. Each of them trusts whoever is on this machine, or
// would answer in the place of a service. The gateway's own listeners are not among them:
// what leads back to one is answered 508.
func (p *Lictor) infrastructure() []own.Endpoint {
	var all []own.Endpoint
	for _, l := range []net.Listener{p.adminListener, p.egressListener, p.redirectListener} {
		if l == nil {
			continue // not open yet, or never
		}
		for _, e := range appendListening(nil, l.Addr()) {
			e.Exact = e.Host != ""
			all = append(all, e)
		}
	}
	if !p.cfg.Consul.Configured && p.consul.identity == nil && os.Getenv(hashicorp.HTTPAddrEnvName) == "" {
		return append(all, p.others(p.cfg)...)
	}
	return append(all, p.servers(p.cfg)...)
}

// servers are the Consul, the broker and the collector that lictor uses.
func (p *Lictor) servers(cfg *config.Config) []own.Endpoint {
	var all []own.Endpoint
	if at, err := consulapi.ParseAddress(cfg.Consul.Address, cfg.Consul.Scheme); err == nil && at.Socket == "" {
		all = appendAddress(all, at.Host)
	}
	return append(all, p.others(cfg)...)
}

// others are the broker and the collector.
func (p *Lictor) others(cfg *config.Config) []own.Endpoint {
	return append(p.brokers(), collectors(cfg)...)
}

func (p *Lictor) brokers() []own.Endpoint {
	if p.bus == nil {
		return nil
	}
	return appendAddress(nil, p.bus.Address()) // its url may change
}

// describeOwn tells of instances and backends that lead to our own infrastructure.
func (p *Lictor) describeOwn(st *api.Status) {
	ours := p.own.Set()
	leads := func(address string) bool {
		host, text, err := net.SplitHostPort(address)
		port, wrong := strconv.ParseUint(text, 10, 16)
		if err != nil || wrong != nil {
			return false
		}
		if a, err := netip.ParseAddr(host); err == nil {
			return ours.ByAddr(a, uint16(port))
		}
		return ours.ByName(strings.ToLower(strings.TrimSuffix(host, ".")), uint16(port))
	}
	tell := func(what, address string) {
		if leads(address) {
			st.Problems = append(st.Problems, fmt.Sprintf("%s: %s: %v", what, address, own.ErrOwn))
		}
	}
	for _, src := range p.sources {
		for svc := range src.Catalog().All() {
			for _, inst := range svc.Instances {
				tell("service "+svc.Name+": "+inst.ID, inst.Address)
			}
		}
	}
	for backends := range p.policy.Set().AllBackends() {
		for _, one := range backends.List {
			tell("backend of "+backends.Name, one.Address)
		}
	}
}

// appendListening appends where a listener is.
func appendListening(all []own.Endpoint, addr net.Addr) []own.Endpoint {
	at, ok := addr.(*net.TCPAddr)
	if !ok {
		return all // a socket in the file system is out of the egress's reach anyway
	}
	return appendAddress(all, at.String())
}

// appendAddress appends what host:port leads to. It is no part of a URL: there a zone of
// IPv6 would be written in another way.
func appendAddress(all []own.Endpoint, address string) []own.Endpoint {
	host, text, err := net.SplitHostPort(address)
	port, wrong := strconv.ParseUint(text, 10, 16)
	if err != nil || wrong != nil {
		return all
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsUnspecified() {
		host = ""
	}
	return append(all, own.Endpoint{Host: host, Port: uint16(port)})
}

// appendURL appends what a URL of HTTP leads to.
func appendURL(all []own.Endpoint, text string) []own.Endpoint {
	u, err := url.Parse(text)
	if err != nil {
		return all // which the configuration does not take
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return appendAddress(all, net.JoinHostPort(u.Hostname(), port))
}
