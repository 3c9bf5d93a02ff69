package own

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// refreshEvery is how often names and interfaces are looked at again.
const (
	refreshEvery    = 15 * time.Second
	refreshPatience = 3 * time.Second
)

// Keeper keeps a Set up to date.
type Keeper struct {
	endpoints func() []Endpoint
	names     *Names // Run's only
	set       atomic.Pointer[Set]
}

// NewKeeper returns a keeper of what endpoints returns, which is asked again
// and again.
func NewKeeper(endpoints func() []Endpoint) *Keeper {
	k := &Keeper{endpoints: endpoints, names: NewNames()}
	k.Begin()
	return k
}

// Begin learns the endpoints whose address is written out, as they are now,
// and asks nobody. It must be called before Run, if at all.
func (k *Keeper) Begin() {
	k.set.Store(Find(context.Background(), k.endpoints(), k.names, nil))
}

// Run looks names up, too, and keeps the set up to date until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		k.refresh(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (k *Keeper) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	look := Lookups{func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
	k.set.Store(Find(ctx, k.endpoints(), k.names, look))
}

// Set returns what is known, never nil.
func (k *Keeper) Set() *Set { return k.set.Load() }

// ErrOwn is a connection to our own infrastructure that was not made.
var ErrOwn = errors.New("it is our own infrastructure, nothing is sent there")

// Control refuses connections to our own infrastructure. It is a
// [net.Dialer.Control]: what it sees is the address that is really dialled.
func (k *Keeper) Control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || k.Set().ByAddr(at.Addr(), at.Port()) {
		return fmt.Errorf("%s: %w", address, ErrOwn)
	}
	return nil
}
