package app

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"lictor/app/listener"
	"lictor/config"
	"lictor/proxy/gateway"
)

// buildMore makes the further listeners of the gateway, without their sockets.
func (p *Lictor) buildMore() ([]gateway.NamedListener, error) {
	var all []gateway.NamedListener
	for i := range p.cfg.Listeners {
		l := &p.cfg.Listeners[i]
		certificates, err := p.buildTLS(l.Name, &l.TLS, "h2", "http/1.1")
		if err != nil {
			return nil, err
		}
		all = append(all, gateway.NamedListener{Name: l.Name, Listener: way(certificates, &l.TLS, l.ProxyProtocol, l.ClientNames)})
	}
	return all, nil
}

// way is how connections come in by a listener.
func way(certificates *listener.TLS, cfg *config.TLS, proxyProtocol bool, names []string) gateway.Listener {
	l := gateway.Listener{TLS: certificates.Config(), VerifyClient: verifier(certificates, cfg.ClientCAFile), ProxyProtocol: proxyProtocol}
	if len(names) > 0 {
		l.ClientNames = func(name string) bool { return config.MayName(names, name) }
	}
	return l
}

// followAuthorities has clients' certificates verified again when the authorities of
// a listener change. Those of the admin listener are looked at in each handshake.
func (p *Lictor) followAuthorities() {
	for _, t := range p.certificates {
		t.tls.OnChange(p.gateway.AuthoritiesChanged)
	}
}

// openGateway opens the sockets of the gateway's listeners. Those with names of the
// operator's come first: the gateway's takes a socket of systemd that has none.
func (p *Lictor) openGateway() (err error) {
	for i := range p.cfg.Listeners {
		l := &p.cfg.Listeners[i]
		open, err := listen(l.Name, l.Address)
		if err != nil {
			return err
		}
		p.moreListeners = append(p.moreListeners, open)
		p.log.Info("a further listener of the gateway is open", "listener", l.Name, "address", open.Addr().String())
	}
	p.gatewayListener, err = listen("gateway", p.cfg.Gateway.Address)
	return err
}

// trustedProxies are those of each listener.
func trustedProxies(listeners []config.Listener) [][]netip.Prefix {
	all := make([][]netip.Prefix, len(listeners))
	for i := range listeners {
		all[i] = listeners[i].TrustedProxies
	}
	return all
}

// keepListeners undoes in next what of the listeners needs a restart: one that came
// or went, and all of one but whom it trusts. It returns what it undid. While the rest
// of one waits, who is trusted there is whom both configurations trust: whom the new one
// does may be a proxy of which the present listener could not tell what it says from
// what its clients say.
func keepListeners(old, next *config.Config) (kept []string) {
	fixed := func(l config.Listener) config.Listener {
		l.TrustedProxies = nil
		return l
	}
	if g := &next.Gateway; g.Address != old.Gateway.Address || g.ProxyProtocol != old.Gateway.ProxyProtocol {
		trusts := both(old.Gateway.TrustedProxies, g.TrustedProxies)
		if !slices.Equal(trusts, g.TrustedProxies) {
			kept = append(kept, "gateway: trusted_proxies")
		}
		g.TrustedProxies = trusts
	}
	asked := next.Listeners
	next.Listeners = slices.Clone(old.Listeners)
	for i := range next.Listeners {
		mine := &next.Listeners[i]
		at := slices.IndexFunc(asked, func(l config.Listener) bool { return l.Name == mine.Name })
		same := at >= 0 && reflect.DeepEqual(fixed(*mine), fixed(asked[at]))
		switch {
		case same:
			mine.TrustedProxies = asked[at].TrustedProxies
		case at >= 0:
			mine.TrustedProxies = both(mine.TrustedProxies, asked[at].TrustedProxies)
		}
		if !same {
			kept = append(kept, "listener "+strconv.Quote(mine.Name))
		}
	}
	for _, l := range asked {
		if !slices.ContainsFunc(old.Listeners, func(o config.Listener) bool { return o.Name == l.Name }) {
			kept = append(kept, "listener "+strconv.Quote(l.Name))
		}
	}
	return kept
}

// both are the addresses that are in two lists of networks.
func both(a, b []netip.Prefix) (common []netip.Prefix) {
	for _, p := range a {
		for _, q := range b {
			if p.Overlaps(q) && p.Bits() < q.Bits() {
				common = append(common, q)
			} else if p.Overlaps(q) {
				common = append(common, p)
			}
		}
	}
	return common
}
