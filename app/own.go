package app

import (
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
			all = appendEndpoint(all, l.Addr().String(), 0)
		}
	}
	all = append(all, p.servers(cfg)...)
	for _, block := range cfg.Resolvers {
		if block.Eureka == nil {
			continue
		}
		for _, u := range revealed(block.Eureka.URLs) {
			all = appendEndpoint(all, u, 80)
		}
	}
	return all
}

// infrastructure is what the gateway sends no request to, whatever a service, a
// mapping or an API says: the admin API and the egress of this lictor, its
// Consul, its broker and its collector. Each of them trusts whoever is on this machine. The
// gateway itself is not among them: what leads back to it is answered 508.
func (p *Lictor) infrastructure() []own.Endpoint {
	var all []own.Endpoint
	for _, l := range []net.Listener{p.adminListener, p.egressListener} {
		if l == nil {
			continue // not open yet, or never
		}
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		e := own.Endpoint{Port: uint16(at.Port)}
		if !at.IP.IsUnspecified() {
			e.Host, e.Exact = at.IP.String(), true
		}
		all = append(all, e)
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
		all = appendEndpoint(all, at.Host, 0)
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
	return appendEndpoint(nil, p.bus.Address(), 5672) // its url may change
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

// appendEndpoint appends what an address or URL leads to; a socket in the file
// system is out of the egress's reach anyway.
func appendEndpoint(all []own.Endpoint, address string, port uint16) []own.Endpoint {
	if !strings.Contains(address, "://") {
		address = "//" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "unix" {
		return all
	}
	switch u.Scheme {
	case "https":
		port = 443
	case "http":
		port = 80
	case "amqps":
		port = 5671
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	host := u.Hostname()
	if host == "::" || host == "0.0.0.0" {
		host = ""
	}
	return append(all, own.Endpoint{Host: host, Port: port})
}
