package gateway

import (
	"net/netip"
	"strings"

	"lictor/proxy/http1"
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
func (x *exchange) identify() {
	x.client, x.from = x.peer, fromSocket
	if len(x.set.TrustedProxies) > 0 && contains(x.set.TrustedProxies, x.peer) {
		x.trusted = true
		x.hops = readForwarded(x.req.Fields)
		switch {
		case x.forwardedFor():
			x.client, x.from = x.forwardedClient(x.peer), fromXForwardedFor
			if !agree(x.hops, x.req.Fields) {
				x.hops = nil
			}
		case len(x.hops) > 0:
			x.client, x.from = x.hopsClient(x.peer), fromForwarded
		}
		if x.client == x.peer {
			x.from = fromSocket
		}
	}
	x.inside = len(x.set.TrustedNetworks) > 0 && contains(x.set.TrustedNetworks, x.client)
}

// hopsClient is forwardedClient of Forwarded. A hop that does not tell its
// address ends the walk.
func (x *exchange) hopsClient(peer netip.Addr) netip.Addr {
	last := peer
	for i := len(x.hops) - 1; i >= 0; i-- {
		a, ok := x.hops[i].addr()
		if !ok {
			break
		}
		if last = a; !contains(x.set.TrustedProxies, a) {
			break
		}
	}
	return last
}

// forwardedClient walks X-Forwarded-For from right to left past trusted
// proxies. What is no address ends the walk: nothing left of it can be believed.
func (x *exchange) forwardedClient(peer netip.Addr) netip.Addr {
	last := peer
	for i := len(x.req.Fields) - 1; i >= 0; i-- {
		f := &x.req.Fields[i]
		if f.ID != http1.FieldXForwardedFor {
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
				if !contains(x.set.TrustedProxies, a) {
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
