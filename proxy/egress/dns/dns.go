// Package dns resolves names to addresses for the forward proxy.
//
// It is a stub resolver of its own because the decision about a request needs
// what net.Resolver does not tell: how long an answer holds. A [Resolver] asks
// recursive servers for A and AAAA, gives back all addresses, and keeps the
// answer, also that there is none, no longer than its TTL says; one with a TTL
// of 0 serves only those who were already waiting for it.
//
// Names are absolute: there is no search list, for a rule that speaks of a name
// must speak of the very name that is looked up. /etc/hosts comes first, and
// localhost is this machine whatever a server says (RFC 6761).
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lictor/internal/crash"
)

// Config says whom to ask. The zero Config is the system's.
type Config struct {
	Servers    []netip.AddrPort // asked in their order; empty: those of ResolvConf
	ResolvConf string           // "" = /etc/resolv.conf
	Hosts      string           // "" = /etc/hosts
	Timeout    time.Duration    // for one name, all servers and tries together; 0 = 5 s
}

// Error is a look-up that brought no address.
type Error struct {
	Name    string
	Timeout bool  // no server answered in time
	Err     error // why
}

func (e *Error) Error() string { return fmt.Sprintf("no address for %q: %v", e.Name, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Causes of an Error.
var (
	ErrNoName   = errors.New("the name does not exist")
	ErrNoData   = errors.New("the name has no address")
	ErrBadName  = errors.New("the name cannot be looked up")
	ErrMany     = fmt.Errorf("the name has more than %d addresses", maxAddrs)
	ErrServer   = errors.New("the servers refuse to answer")
	errTimedOut = errors.New("no server answered in time")
)

// Resolver looks names up. Its methods may be called from any goroutine.
type Resolver struct {
	timeout time.Duration
	servers atomic.Pointer[[]netip.AddrPort] // empty: those of conf
	conf    watched[[]netip.AddrPort]
	hosts   watched[map[string][]netip.Addr]
	cache   cache

	mu      sync.Mutex // guards flights
	flights map[string]*flight
}

// flight is a look-up under way, which all who ask meanwhile share.
type flight struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
}

// New returns a resolver.
func New(cfg Config) *Resolver {
	r := &Resolver{
		timeout: cmp.Or(cfg.Timeout, 5*time.Second),
		flights: make(map[string]*flight),
	}
	r.conf = watched[[]netip.AddrPort]{path: cmp.Or(cfg.ResolvConf, "/etc/resolv.conf"), parse: parseResolvConf}
	r.hosts = watched[map[string][]netip.Addr]{path: cmp.Or(cfg.Hosts, "/etc/hosts"), parse: parseHosts}
	r.SetServers(cfg.Servers)
	return r
}

// SetServers replaces the servers, and forgets what the old ones said. What they are
// being asked is told to those who wait for it already, and to nobody else.
func (r *Resolver) SetServers(servers []netip.AddrPort) {
	r.servers.Store(&servers)
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.flights)
	r.cache.clear()
}

// localhost are the addresses of this machine.
var localhost = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// IsLocalhost reports whether name, in lower case, means this machine by RFC 6761.
func IsLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// Lookup returns every address of name, which is in lower case and without a
// trailing dot; the slice is shared and must not be changed. The error is an
// *Error. ctx bounds only the waiting for somebody else's look-up.
func (r *Resolver) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if IsLocalhost(name) {
		return localhost, nil
	}
	if addrs := r.hosts.get()[name]; len(addrs) > 0 {
		return addrs, nil
	}
	if addrs, err, ok := r.cache.get(name, time.Now()); ok {
		return addrs, err
	}
	r.mu.Lock()
	if f := r.flights[name]; f != nil {
		r.mu.Unlock()
		select {
		case <-f.done:
			return f.addrs, f.err
		case <-ctx.Done():
			return nil, &Error{Name: name, Timeout: true, Err: ctx.Err()}
		}
	}
	name = strings.Clone(name) // the caller's may live in a buffer
	f := &flight{done: make(chan struct{})}
	r.flights[name] = f
	r.mu.Unlock()

	r.fly(f, name)
	return f.addrs, f.err
}

// fly looks name up for all who wait for f.
func (r *Resolver) fly(f *flight, name string) {
	defer close(f.done)
	// Not the caller's context: others wait for the answer too.
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	ttl := time.Duration(0)
	defer func() { r.land(f, name, ttl) }()
	f.addrs, ttl, f.err = r.resolve(ctx, name)
}

// land keeps what a look-up brought, unless the servers are others by now.
func (r *Resolver) land(f *flight, name string, ttl time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flights[name] != f {
		return
	}
	delete(r.flights, name)
	r.cache.put(name, f.addrs, f.err, ttl, time.Now())
}

// otherFamily is how long the addresses of one family wait for the answer about
// the other. Some servers drop questions for AAAA.
const otherFamily = 300 * time.Millisecond

// resolve asks for both families at once.
func (r *Resolver) resolve(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v4, v6 := r.asking(ctx, name, typeA), r.asking(ctx, name, typeAAAA)
	var a4, a6 answer
	select {
	case a4 = <-v4:
		a6 = other(v6, a4)
	case a6 = <-v6:
		a4 = other(v4, a6)
	}
	return merge(name, a4, a6)
}

// asking asks on a goroutine of its own, which ends soon after ctx.
func (r *Resolver) asking(ctx context.Context, name string, typ dnsmessage.Type) <-chan answer {
	c := make(chan answer, 1)
	crash.Go("dns question", func() { c <- r.ask(ctx, name, typ) }, func() { c <- answer{err: ErrServer} })
	return c
}

// other waits for the answer about one family, not long if that about the other
// brought addresses.
func other(c <-chan answer, first answer) answer {
	if first.err != nil {
		return <-c
	}
	select {
	case a := <-c:
		return a
	case <-time.After(otherFamily):
		return answer{err: errTimedOut}
	}
}

// partialTTL is how long the addresses of one family are kept while nothing
// was learned about the other.
const partialTTL = 30 * time.Second

// merge makes one result of the two answers, IPv4 first: a machine without a
// way to IPv6 is more common than one without IPv4. The addresses of one family
// are good even if the other could not be asked, since nothing else is dialled.
func merge(name string, v4, v6 answer) ([]netip.Addr, time.Duration, error) {
	ttl := min(v4.ttl, v6.ttl)
	switch {
	case v4.err == nil && v6.err == nil:
		return append(v4.addrs[:len(v4.addrs):len(v4.addrs)], v6.addrs...), ttl, nil
	case v4.err == nil:
		return v4.addrs, loneTTL(v4.ttl, v6), nil
	case v6.err == nil:
		return v6.addrs, loneTTL(v6.ttl, v4), nil
	}
	worse := v4
	if !v4.fails() || errors.Is(v6.err, errTimedOut) {
		worse = v6
	}
	if worse.fails() {
		ttl = 0
	}
	return nil, ttl, &Error{Name: name, Timeout: errors.Is(worse.err, errTimedOut), Err: worse.err}
}

// loneTTL is how long addresses hold when the other family brought none.
func loneTTL(ttl time.Duration, other answer) time.Duration {
	switch {
	case other.fails():
		return min(ttl, partialTTL)
	case other.ttl > 0:
		return min(ttl, other.ttl)
	}
	return ttl // an empty answer without SOA says nothing of how long
}
