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

	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/socket"
)

// poolKey says which requests may share connections: those to the same address,
// for the same host, both with TLS or both without.
type poolKey struct {
	to   netip.AddrPort
	host string
	tls  bool
}

// member is one address of a host, and the connections to it.
type member struct {
	*http1.Pool
	to   netip.AddrPort
	down atomic.Int64 // unix nanoseconds; it refused, and until then others are tried first
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
	// patience is how long the other side may leave what was sent without an
	// acknowledgement; 0 = no limit.
	patience time.Duration

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
		Address: k.to.String(), MaxIdle: maxIdle, IdleTimeout: idleTimeout, Patience: ps.patience,
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

// minPatience is the least time that an address has to answer, if that much of
// the budget is left.
const minPatience = 2 * time.Second

// tryEach calls try for the addresses of a permit, in order, until it returns nil,
// and returns the last error. All tries together may take budget; patience is how
// long one of them may.
func (x *exchange) tryEach(pm policy.Permit, budget time.Duration, try func(m *member, to netip.AddrPort, patience time.Duration) error) error {
	deadline := time.Now().Add(budget)
	key := poolKey{host: x.target.host, tls: x.target.tls}
	var buf [8]netip.AddrPort
	order := x.order(buf[:0], pm, key)
	err := errors.New("egress: no time is left to connect")
	for i, to := range order {
		now := time.Now()
		rest := deadline.Sub(now)
		if rest <= 0 {
			return err
		}
		patience := min(rest, max(rest/time.Duration(len(order)-i), minPatience))
		key.to = to
		m := x.p.pools.get(key)
		if err = try(m, to, patience); err == nil {
			m.down.Store(0)
			x.dialled, x.reached = to, m
			return nil
		}
		m.down.Store(now.Add(downTime).UnixNano())
	}
	return err
}

// order appends all addresses of a permit as they are to be tried: first the one
// on which the client may be logged in, then the families in turn, for one of
// them may have no way out (RFC 8305 4), last those that refused lately.
func (x *exchange) order(dst []netip.AddrPort, pm policy.Permit, key poolKey) []netip.AddrPort {
	for _, a := range pm.Addrs() {
		dst = append(dst, netip.AddrPortFrom(a, pm.Port()))
	}
	if len(dst) == 1 {
		return dst
	}
	alternateFamilies(dst)
	now := time.Now().UnixNano()
	ps := &x.p.pools
	ps.mu.Lock()
	defer ps.mu.Unlock()
	slices.SortStableFunc(dst, func(a, b netip.AddrPort) int {
		return cmp.Compare(x.rank(key, a, now), x.rank(key, b, now))
	})
	return dst
}

// alternateFamilies puts an IPv6 address behind each IPv4 address, as long as there are
// both. The addresses of a family keep their order.
func alternateFamilies(addrs []netip.AddrPort) {
	v6 := slices.IndexFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Is6() })
	if v6 <= 0 {
		return // one family, or the other one first already
	}
	for i := 1; i < v6 && v6 < len(addrs); i += 2 {
		next := addrs[v6]
		copy(addrs[i+1:v6+1], addrs[i:v6])
		addrs[i] = next
		v6++
	}
}

// rank is what order sorts by. x.p.pools.mu must be held.
func (x *exchange) rank(key poolKey, to netip.AddrPort, now int64) int {
	key.to = to
	switch m := x.p.pools.members[key]; {
	case m == nil:
		return 0
	case x.c.BoundTo(m.Pool):
		return -1
	case m.down.Load() > now:
		return 1
	}
	return 0
}

// errNotChecked is a connection that would have gone elsewhere than was decided.
var errNotChecked = errors.New("egress: the address is not the one that was checked")

// dialChecked connects to an address that was checked, and to nothing else:
// the kernel's argument is compared and checked once more.
func (p *Proxy) dialChecked(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive: 30 * time.Second,
		Control: func(network, address string, rc syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || at != to {
				return fmt.Errorf("%w: %s", errNotChecked, address)
			}
			if err := p.admits(at); err != nil {
				return err
			}
			return socket.KeepBack(network, address, rc)
		},
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// admits returns an error for an address that no list can open.
func (p *Proxy) admits(at netip.AddrPort) error {
	own, settings := p.own.Set(), p.settings.Load()
	var buf [8]netip.Addr
	for _, a := range policy.LeadsTo(append(buf[:0], at.Addr()), at.Addr()) {
		if own == nil || own.ByAddr(a, at.Port()) {
			return fmt.Errorf("%w: %s is our own", errNotChecked, at)
		}
	}
	if settings.private(at.Addr()) {
		return fmt.Errorf("%w: %s is private", errNotChecked, at)
	}
	return nil
}
