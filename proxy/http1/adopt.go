package http1

import (
	"errors"
	"net"

	"lictor/proxy/socket"
)

// Adopt makes nc, which was dialled elsewhere, a connection of the pool; the
// pool's limits hold for it once it is idle.
func (p *Pool) Adopt(nc net.Conn) *Upstream {
	u := &Upstream{pool: p}
	u.s.Init(nc)
	u.s.Pulse = socket.NewPulse(nc, p.cfg.Patience)
	p.active.Add(1)
	return u
}

// Connect begins the exchange of a CONNECT, whose target u is: nothing is sent
// to it. [Conn.Tunnel] is what follows.
func (c *Conn) Connect(u *Upstream) { c.trip.begin(c, u) }

// ErrUnprocessed is what a connection that PoolConfig.Dial returned may fail
// its first Read with, if the whole request came in one Write: nothing of it
// was acted on, and it may be sent elsewhere.
var ErrUnprocessed = errors.New("http1: the request was not processed")
