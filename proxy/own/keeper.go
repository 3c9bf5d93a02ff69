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

	"lictor/internal/pace"
)

// RefreshEvery is how often names and interfaces are to be looked at again.
const RefreshEvery = 15 * time.Second

const refreshPatience = 3 * time.Second

// Keeper keeps a [Set] up to date. [NewKeeper] makes it.
type Keeper struct {
	endpoints func() []Endpoint
	look      []Lookup
	names     *Names // who refreshes alone
	set       atomic.Pointer[Set]
}

// NewKeeper returns a keeper of what endpoints returns, which is asked again and
// again. It knows nothing yet. Names are looked up by the system, and by look.
func NewKeeper(endpoints func() []Endpoint, look ...Lookup) *Keeper {
	system := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	return &Keeper{endpoints: endpoints, look: append([]Lookup{system}, look...), names: NewNames()}
}

// Begin learns the endpoints whose address is written out, as they are now,
// and asks nobody. It must not be called while Run runs.
func (k *Keeper) Begin() {
	k.set.Store(Find(context.Background(), k.endpoints(), k.names, nil))
}

// Run looks names up, too, at once and again and again, until ctx ends. It
// returns the error of ctx.
func (k *Keeper) Run(ctx context.Context) error {
	k.Refresh(ctx)
	pace.Every(ctx, RefreshEvery, func(time.Time) { k.Refresh(ctx) })
	return ctx.Err()
}

// Refresh finds out anew where the endpoints are, in 3 s at most. It must not be
// called while Run runs.
func (k *Keeper) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	k.set.Store(Find(ctx, k.endpoints(), k.names, k.look))
}

// Set returns what is known, nil before Begin, Refresh or Run found anything out.
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
