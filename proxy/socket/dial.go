package socket

import (
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

// Beyond reports whether the descriptor of the socket that nc runs on is past the first
// n; what has none, or is closed, is not.
func Beyond(n int, nc net.Conn) (is bool) {
	if tcp := socketOf(nc); tcp != nil {
		if rc, err := tcp.SyscallConn(); err == nil {
			_ = rc.Control(func(fd uintptr) { is = descriptors.Beyond(n, fd) })
		}
	}
	return is
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
