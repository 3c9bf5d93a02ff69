package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"lictor/policy"
)

// established is the answer to a CONNECT, after which the bytes are the client's
// and the target's.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// tunnel connects the client to the target (A12). The bytes pass once Serve has
// returned.
func (x *exchange) tunnel(pm policy.Permit) {
	settings := x.inquiry.settings
	client := x.c.RemoteAddr().Addr()
	if !x.p.slots.take(client, settings) {
		x.refuse(refuseTunnels)
		return
	}
	x.slot = true // until the exchange is over
	began := time.Now()
	x.sent = began.Sub(x.began)
	nc, err := x.dialTunnel(pm, settings.ConnectTimeout)
	if err != nil {
		x.err = err
		x.refuse(refuseUnreachable)
		return
	}
	x.connect = time.Since(began)
	x.c.Connect(x.p.tunnels.Adopt(nc))
	x.status = 200
	x.relays = true
	x.c.Tunnel(append(x.c.Scratch(), established...))
}

// dialTunnel returns a new connection to an address of the permit.
func (x *exchange) dialTunnel(pm policy.Permit, budget time.Duration) (nc net.Conn, err error) {
	err = x.tryEach(pm, budget, func(_ *member, to netip.AddrPort, patience time.Duration) (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		nc, err = x.p.dial(ctx, to)
		return err
	})
	return nc, err
}

// hostBits are those of an IPv6 address that tell clients apart: a host may use
// every address of its /64.
const hostBits = 64

// slots bound the tunnels: each holds two sockets for as long as its client likes.
type slots struct {
	mu      sync.Mutex // guards what follows
	open    int
	clients map[netip.Addr]int
}

// take reports whether a client may open another tunnel. If so, giveBack is to be
// called when it is closed.
func (s *slots) take(client netip.Addr, limits *Settings) bool {
	client = policy.CountedAs(client, hostBits)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= limits.MaxTunnels || s.clients[client] >= limits.MaxClientTunnels {
		return false
	}
	s.open++
	s.clients[client]++
	return true
}

func (s *slots) giveBack(client netip.Addr) {
	client = policy.CountedAs(client, hostBits)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.clients[client]--; s.clients[client] == 0 {
		delete(s.clients, client)
	}
}

func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}
