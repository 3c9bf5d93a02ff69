package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lictor/proxy/http1"
)

// poolKey says which requests may share connections: those to the same checked
// address for the same host.
type poolKey struct {
	to   netip.AddrPort
	host string
	tls  bool
}

// member is one address of a host, and the connections to it.
type member struct {
	*http1.Pool
	to   netip.AddrPort
	down atomic.Int64 // unix nanoseconds: it refused, others are tried first until then
}

// rank orders members: first the one on which the client may be logged in, last
// those that refused lately.
func (x *exchange) rank(m *member, now int64) int {
	switch {
	case x.c.BoundTo(m.Pool):
		return -1
	case m.down.Load() > now:
		return 1
	}
	return 0
}

// Limits of idle upstream connections, and how long an address that refused is
// tried last.
const (
	maxIdle     = 256
	idleTimeout = 30 * time.Second
	downTime    = 10 * time.Second
)

// pools hold the connections to targets.
type pools struct {
	roots *x509.CertPool
	dial  func(context.Context, netip.AddrPort) (net.Conn, error)

	mu      sync.Mutex // guards members
	members map[poolKey]*member
}

// maxMembers bounds the members, and so the idle connections that requests to
// ever new hosts leave behind.
const maxMembers = 2048

// get returns the member of a key.
func (ps *pools) get(k poolKey) *member {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	m := ps.members[k]
	if m == nil {
		if len(ps.members) >= maxMembers {
			ps.clear()
		}
		k.host = strings.Clone(k.host)
		m = ps.newMember(k)
		ps.members[k] = m
	}
	return m
}

func (ps *pools) newMember(k poolKey) *member {
	cfg := http1.PoolConfig{
		Address: k.to.String(), MaxIdle: maxIdle, IdleTimeout: idleTimeout,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return ps.dial(ctx, k.to) },
	}
	if k.tls {
		cfg.TLS = &tls.Config{ServerName: k.host, RootCAs: ps.roots, MinVersion: tls.VersionTLS12}
	}
	return &member{Pool: http1.NewPool(cfg), to: k.to}
}

// sweep closes what was idle for too long, and forgets members without
// connections. One that somebody holds at this moment closes its connection
// after that use.
func (ps *pools) sweep() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	now := time.Now().UnixNano()
	for k, m := range ps.members {
		m.Expire()
		if active, idle := m.Counts(); active == 0 && idle == 0 && m.down.Load() < now {
			m.Close()
			delete(ps.members, k)
		}
	}
}

func (ps *pools) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.clear()
}

// clear forgets all members; connections in use are closed after it.
func (ps *pools) clear() {
	for k, m := range ps.members {
		m.Close()
		delete(ps.members, k)
	}
}

// counts returns the number of connections in use and idle.
func (ps *pools) counts() (active, idle int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, m := range ps.members {
		a, i := m.Counts()
		active, idle = active+a, idle+i
	}
	return active, idle
}

// maxDialled bounds the addresses that are tried for one request.
const maxDialled = 8

// minPatience is how long an address gets at least to answer, if that much is left.
const minPatience = 2 * time.Second

// each tries the addresses of a permit in their order, but for rank, until try returns nil. All tries together have budget.
func (x *exchange) each(pm permit, budget time.Duration, try func(m *member, to netip.AddrPort, patience time.Duration) error) error {
	deadline := time.Now().Add(budget)
	var buf [maxDialled]*member
	members := x.members(buf[:0], pm)
	err := errors.New("egress: no time is left to connect")
	for i, m := range members {
		now := time.Now()
		rest := deadline.Sub(now)
		if rest <= 0 {
			return err
		}
		patience := min(rest, max(rest/time.Duration(len(members)-i), minPatience))
		if err = try(m, m.to, patience); err == nil {
			m.down.Store(0)
			x.dialled = m.to
			return nil
		}
		m.down.Store(now.Add(downTime).UnixNano())
	}
	return err
}

// members appends the members of a permit in the order to try them.
func (x *exchange) members(dst []*member, pm permit) []*member {
	for _, a := range pm.addrs[:min(len(pm.addrs), maxDialled)] {
		dst = append(dst, x.p.pools.get(poolKey{to: netip.AddrPortFrom(a, pm.port), host: x.target.host, tls: x.target.tls}))
	}
	if len(dst) > 1 {
		now := time.Now().UnixNano()
		slices.SortStableFunc(dst, func(a, b *member) int {
			return cmp.Compare(x.rank(a, now), x.rank(b, now))
		})
	}
	return dst
}

// errNotChecked is a connection that would have gone elsewhere than was decided.
var errNotChecked = errors.New("egress: the address is not the one that was checked")

// dialChecked connects to an address that was checked, and to nothing else:
// the kernel's argument is compared and checked once more.
func (p *Proxy) dialChecked(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || at != to {
				return fmt.Errorf("%w: %s", errNotChecked, address)
			}
			return p.admits(at)
		},
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// admits checks an address against what no list can open.
func (p *Proxy) admits(at netip.AddrPort) error {
	own, settings := p.own.Load(), p.settings.Load()
	var buf [8]netip.Addr
	for _, a := range embedded(append(buf[:0], at.Addr()), at.Addr()) {
		if own == nil || own.byAddr(a, at.Port()) {
			return fmt.Errorf("%w: %s is our own", errNotChecked, at)
		}
	}
	if settings.private(at.Addr()) {
		return fmt.Errorf("%w: %s is private", errNotChecked, at)
	}
	return nil
}
