package gateway

import (
	"net/netip"
	"strings"

	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Where a client's address was taken from.
const (
	fromSocket        = "socket"
	fromXForwardedFor = "x-forwarded-for"
	fromForwarded     = "forwarded"
)

// identify finds the client's address (C17): the socket's peer, or, if that is
// a trusted proxy, the right-most address in X-Forwarded-For, or without that
// in Forwarded, that is not one.
func (in *inbound) identify() {
	in.client, in.from = in.peer, fromSocket
	if len(in.proxies) > 0 && contains(in.proxies, in.peer) {
		in.trusted = true
		in.hops = readForwarded(in.req.Fields)
		switch {
		case in.forwardedFor():
			in.client, in.from = in.forwardedClient(in.peer), fromXForwardedFor
			if !agree(in.hops, in.req.Fields) {
				in.hops = nil
			}
		case len(in.hops) > 0:
			in.client, in.from = in.hopsClient(in.peer), fromForwarded
		}
		if in.client == in.peer {
			in.from = fromSocket
		}
	}
	in.inside = len(in.set.TrustedNetworks) > 0 && contains(in.set.TrustedNetworks, in.client)
}

// ClientOf returns whose request came by c, at a listener that trusts whom the gateway's
// first one does. It keeps nothing of the request.
func (g *Gateway) ClientOf(c *http1.Conn) netip.Addr {
	set := g.settings.Load()
	in := inbound{set: set, proxies: set.proxies(0), req: c.Request(), peer: c.RemoteAddr().Addr()}
	in.identify()
	return in.client
}

// hopsClient is forwardedClient of Forwarded. A hop that does not tell its
// address ends the walk.
func (in *inbound) hopsClient(peer netip.Addr) netip.Addr {
	last := peer
	for i := len(in.hops) - 1; i >= 0; i-- {
		a, ok := in.hops[i].addr()
		if !ok {
			break
		}
		if last = a; !contains(in.proxies, a) {
			break
		}
	}
	return last
}

// forwardedClient walks X-Forwarded-For from right to left past trusted
// proxies. What is no address ends the walk: nothing left of it can be believed.
func (in *inbound) forwardedClient(peer netip.Addr) netip.Addr {
	last := peer
	for i := len(in.req.Fields) - 1; i >= 0; i-- {
		f := &in.req.Fields[i]
		if f.ID != message.FieldXForwardedFor {
			continue
		}
		rest := f.Value
		for {
			comma := strings.LastIndexByte(rest, ',')
			if hop := strings.Trim(rest[comma+1:], " \t"); hop != "" { // RFC 9110 5.6.1.2: empty members count for nothing
				a, ok := hopAddr(hop)
				if !ok {
					return last
				}
				if !contains(in.proxies, a) {
					return a
				}
				last = a
			}
			if comma < 0 {
				break
			}
			rest = rest[:comma]
		}
	}
	return last
}

// hopAddr reads an element of X-Forwarded-For: an address, maybe with a port.
func hopAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}
