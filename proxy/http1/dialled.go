package http1

import (
	"errors"
	"net"
	"syscall"
	"time"

	"lictor/internal/descriptors"
	"lictor/internal/limits"
)

// Dialer makes connections to instances, whose end is noticed within about half
// a minute while nothing is said, also if the peer vanished without a word.
// What is kept back of the process's descriptors it does not use.
var Dialer = net.Dialer{Control: KeepBack, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}

// KeepBack is the Control of dialers that work for clients. It refuses
// descriptors that are kept back.
func KeepBack(_, _ string, rc syscall.RawConn) error {
	spent := false
	if err := rc.Control(func(fd uintptr) { spent = descriptors.Beyond(descriptors.ForUpstreams(), fd) }); err != nil {
		return err
	}
	if spent {
		limits.Hit("descriptors")
		return ErrBusy
	}
	return nil
}

// madeLate reports whether nc got its descriptor when more than half of those for
// connections to instances were taken: idle ones shall not use up the others.
func madeLate(nc net.Conn) (late bool) {
	if tcp := socketOf(nc); tcp != nil {
		if rc, err := tcp.SyscallConn(); err == nil {
			_ = rc.Control(func(fd uintptr) { late = descriptors.Beyond(descriptors.ForUpstreams()/2, fd) })
		}
	}
	return late
}

// DialerWith returns a Dialer whose connections control may refuse, which sees
// the address that is really dialled; nil refuses none.
func DialerWith(control func(network, address string, rc syscall.RawConn) error) *net.Dialer {
	d := Dialer
	if control != nil {
		d.Control = func(network, address string, rc syscall.RawConn) error {
			if err := control(network, address, rc); err != nil {
				return err
			}
			return KeepBack(network, address, rc)
		}
	}
	return &d
}

// Adopt makes nc, which was dialled elsewhere, a connection of the pool; the
// pool's limits hold for it once it is idle.
func (p *Pool) Adopt(nc net.Conn) *Upstream {
	u := &Upstream{pool: p}
	u.s.init(nc)
	u.s.pulse = NewPulse(nc, p.cfg.Patience)
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
