// Package consul follows the services of a Consul datacenter, or those that a
// peer of it exports.
//
// A [Resolver] watches the names of all services with one blocking query, and
// the health of each service that was ever asked for with one more, as far as
// the client has streams of HTTP/2 or connections for them (see room.go); services
// beyond that are read again when something moved (see sweep.go). A name that does not exist, or that Expose and Hide keep back, never reaches Consul.
//
// Three promises hold:
//
//   - What is published is never empty because Consul is away, refuses, filters
//     by its ACLs, or has lost its memory (D8, X6): see belief.go and names.go.
//   - Instances and services that did not change keep their pointers.
//   - Lookups take no lock; Want never blocks.
package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/resolver"
)

const (
	// maxWait bounds blindness: a Consul that lost its history lets a query with
	// an old index wait out its whole time, without an error. See also [Resolver.patience].
	maxWait = 60 * time.Second

	// filteredWait is the same where ACLs hide a part.
	filteredWait = 5 * time.Second

	// Connections of the client that no service's watch takes: the names and the two
	// states of checks wait on three, what is read at once has up to five.
	waitingConns = 3
	readingConns = 5

	// LeastConns is how many connections a client needs in all, at most.
	LeastConns = waitingConns + 4

	// rereadEvery is how often a watch asks without an index, whatever it believes.
	rereadEvery = 5 * time.Minute
)

// Config is what a Resolver needs.
type Config struct {
	Client *client.Client // required; its datacenter or peer is the one that is followed
	Log    hclog.Logger   // required
	Name   string         // tells the resolver from others of Consul; "" = it is the only one

	Selection             // to begin with; Select changes it
	TaggedAddress string  // dial this tagged address (wan, lan_ipv4 ...) of instances that have it; "" = the plain one
	PassingOnly   bool    // false: instances in warning too, by their warning weight
	Connect       Connect // "off" is ConnectOff

	HostSuffixes []string // domains below which services may claim hosts; none = nowhere
	OwnService   string   // lictor's own name in Consul, which is never reachable; "" = not registered

	// Everywhere is for who wants to know where anything at all is registered and
	// sends no requests there: all names and the sidecars and gateways of the mesh
	// count, whatever Expose, Hide and OwnService say; all addresses of an instance
	// are noted in Service.Registered; and a service of which ACLs hide a part is
	// not Loaded.
	Everywhere bool

	MaxStale     time.Duration // without contact for longer, nothing is usable; 0 = serve on
	EmptyHold    time.Duration // how long a loss that looks wrong is disbelieved; 0 = not at all
	SnapshotFile string        // where the last good catalog is kept; "" = nowhere
	Watches      int           // services with a blocking query of their own where Client has no streams; 0 = as many as it has connections for
}

// Resolver is a [resolver.Source] fed by Consul.
type Resolver struct {
	cfg  Config
	log  hclog.Logger
	bell resolver.Bell
	seed maphash.Seed

	// cur is what lookups see: truth, or its blank form past MaxStale.
	cur       atomic.Pointer[resolver.Catalog]
	selection atomic.Pointer[Selection] // stored with mu held

	wake chan struct{} // tells Run that pending has something
	save chan struct{} // tells the snapshot writer that truth changed

	mu        sync.Mutex // guards what follows; lookups do not take it
	truth     *resolver.Catalog
	stale     bool // MaxStale is past
	followers map[string]*follower
	pending   []*follower   // to be started by Run
	watched   int           // followers with a watch of their own
	leaving   int           // of them, those whose watch is being ended as there is no room for it
	doubt     window        // Consul is believed to have lost something
	down      chan struct{} // closed when Consul answers again; nil while it does
	apart     string        // why the peer's services are as old as they are; "" = it is connected, or there is none
	status    resolver.Status
	sweeper   sweeper
	talk      client.Bucket // paces what is logged about single services

	claimants   map[string]bool // services of which some instance claims hosts
	unheard     int             // how many of them are too many
	left        string          // which names are left out, for people; "" = none
	era         uint64          // how often Consul lost its history
	claimsNudge client.Nudge    // of the watch for them; has a lock of its own

	namesIndex uint64       // of the last list of names
	namesNudge client.Nudge // of their watch; has a lock of its own
}

// window is a time during which losses are disbelieved.
type window struct {
	until time.Time
	why   string
}

func (w window) open(now time.Time) bool { return now.Before(w.until) }

// New checks cfg. Nothing is read or asked before Run.
func New(cfg Config) (*Resolver, error) {
	if cfg.Client == nil || cfg.Log == nil {
		return nil, errors.New("consul resolver: Client and Log are required")
	}
	if cfg.MaxStale < 0 || cfg.EmptyHold < 0 || cfg.Watches < 0 {
		return nil, errors.New("consul resolver: MaxStale, EmptyHold and Watches must not be negative")
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	conns := cfg.Client.Conns()
	waiting := waitingConns
	if len(cfg.HostSuffixes) > 0 {
		waiting++ // for those that claim hosts
	}
	room := conns - waiting - min(max(1, conns/4), readingConns)
	if room < 1 || cfg.Watches > room {
		return nil, fmt.Errorf("consul resolver: %d connections are too few", conns)
	}
	cfg.Watches = cmp.Or(cfg.Watches, room)
	switch cfg.Connect {
	case "off":
		cfg.Connect = ConnectOff
	case ConnectOff, ConnectPrefer, ConnectRequire:
	default:
		return nil, fmt.Errorf("consul resolver: Connect is %q, want off, prefer or require", cfg.Connect)
	}
	r := &Resolver{
		cfg:       cfg,
		log:       cfg.Log,
		seed:      maphash.MakeSeed(),
		wake:      make(chan struct{}, 1),
		save:      make(chan struct{}, 1),
		sweeper:   newSweeper(),
		talk:      client.Bucket{Burst: 20, Every: time.Second},
		truth:     resolver.NewCatalog(),
		followers: make(map[string]*follower),
	}
	r.cur.Store(r.truth)
	r.selection.Store(&cfg.Selection)
	return r, nil
}

// Kind implements [resolver.Source].
func (r *Resolver) Kind() string { return strings.TrimSpace("consul " + r.cfg.Name) }

// Catalog implements [resolver.Source]. Past MaxStale without contact the
// services are there without their instances.
func (r *Resolver) Catalog() *resolver.Catalog { return r.cur.Load() }

// OnChange implements [resolver.Notifier].
func (r *Resolver) OnChange(f func()) { r.bell.OnChange(f) }

// Status implements [resolver.Source].
func (r *Resolver) Status() resolver.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Watches = r.watched + 1
	if len(r.sweeper.members) > 0 && !r.ofPeer() {
		s.Watches += 2 // of critical and warning checks
	}
	if s.Error == "" {
		s.Error = r.apart
	}
	if r.doubt.open(time.Now()) {
		s.Held = r.doubt.why
	}
	if name := r.otherTagLocked(); name != "" && s.Held == "" {
		s.Held = "consul has not told of the new tag yet: the instances of " + name + " are those of the former one"
	}
	if s.Error == "" && r.unheard > 0 {
		s.Error = fmt.Sprintf("%d services claim hosts, of %d that is not heard", maxClaimants+r.unheard, r.unheard)
	}
	if s.Error == "" {
		s.Error = r.left
	}
	for _, f := range r.followers {
		if s.Error == "" && f.err != "" {
			s.Error = f.name + ": " + f.err
		}
	}
	return s
}

// Want implements [resolver.Source]. For a service that is loaded already
// there is nothing to wait for either.
func (r *Resolver) Want(name string) <-chan struct{} {
	s := r.Catalog().Lookup(name)
	if s == nil || s.Loaded {
		return resolver.NoWait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s = r.truth.Lookup(name)
	if s == nil || s.Loaded {
		return resolver.NoWait() // it went, or came in, between the two looks
	}
	f := r.followers[s.Name]
	if f == nil {
		f = r.followLocked(s)
	}
	return f.answered
}

// Run follows Consul until ctx ends, and returns when everything that it
// started has ended. Consul being away is no reason to return.
func (r *Resolver) Run(ctx context.Context) error {
	restored := r.load()
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	r.cfg.Client.OnStreams(func() { poke(r.wake) })
	parts.Go(func() { r.cfg.Client.TryStreams(ctx) })
	parts.Go(func() { r.watchNames(ctx, restored) })
	parts.Go(func() { r.watchHeart(ctx) })
	parts.Go(func() { r.keepSnapshot(ctx) })
	if r.cfg.MaxStale > 0 {
		parts.Go(func() { r.watchAge(ctx) })
	}
	if len(r.cfg.HostSuffixes) > 0 {
		parts.Go(func() { r.watchClaims(ctx) })
	}
	sweeping := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		started, overflow := r.allot(ctx)
		for _, start := range started {
			parts.Go(start)
		}
		if overflow && !sweeping {
			sweeping = true
			parts.Go(func() { r.sweep(ctx) })
			parts.Go(func() { r.readFresh(ctx) })
			if r.ofPeer() {
				continue // the names tell of its checks as well
			}
			parts.Go(func() { r.watchChecks(ctx, "critical") })
			parts.Go(func() { r.watchChecks(ctx, "warning") })
		}
	}
}

// publishLocked puts services into the catalog and drops others. r.mu is held.
func (r *Resolver) publishLocked(put []*resolver.Service, drop []string) {
	if len(put)+len(drop) == 0 {
		return
	}
	r.truth = r.truth.With(put, drop)
	r.showLocked()
	poke(r.save)
}

// poke wakes the reader of a channel that has room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
