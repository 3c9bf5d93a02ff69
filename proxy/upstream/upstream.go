// Package upstream sends requests to the instances of services: it finds the
// instances, balances between them, makes and keeps connections, tries again
// where nothing can have been acted on, and ejects what cannot be reached. What
// is on a bus it publishes there.
//
// [Sender.Send] wants a [policy.Permit], so what was not decided on is not sent;
// [Sender.Preview] tells by the same steps where a request would go. Neither
// answers a client by itself: what cannot be sent is a refusal in the [Outcome].
package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/monotonic"
	"lictor/proxy/answer"
	"lictor/resolver"
)

// Config is what a Sender is made of. All but Bus, Mesh and Metrics is required.
type Config struct {
	Sources []resolver.Source // asked in order; the first with a usable instance wins (D10)
	Log     hclog.Logger
	Counts  []*answer.Counts      // of each listener
	Bus     *BusRoute             // nil: everything goes by HTTP
	Mesh    Mesh                  // nil: no instance is reached by Consul's mesh
	Metrics prometheus.Registerer // nil: none are kept
}

// Sender sends requests to instances. Its methods may be called at any time.
type Sender struct {
	sources []resolver.Source
	log     hclog.Logger
	bus     *BusRoute
	mesh    Mesh // never nil
	metrics *metrics
	lobby   lobby

	groups atomic.Pointer[map[string]*group] // every service that was asked for and exists
	mu     sync.Mutex                        // serialises changes of groups
	cuts   atomic.Int64                      // sites that are cut off
}

// maxSources is how many a request remembers that it tried.
const maxSources = 64

// New returns a Sender without connections.
func New(cfg Config) (*Sender, error) {
	if len(cfg.Sources) == 0 || cfg.Log == nil || len(cfg.Counts) == 0 {
		return nil, errors.New("upstream: Sources, Log and Counts are required")
	}
	if len(cfg.Sources) > maxSources {
		return nil, fmt.Errorf("upstream: %d sources, want %d at most", len(cfg.Sources), maxSources)
	}
	s := &Sender{sources: cfg.Sources, log: cfg.Log, bus: cfg.Bus, mesh: cfg.Mesh}
	if s.mesh == nil {
		s.mesh = noMesh{}
	}
	if s.bus != nil {
		memory := cmp.Or(s.bus.Memory, maxBusBodies)
		s.bus.bodies.size, s.bus.replies.size = memory, memory
	}
	s.groups.Store(&map[string]*group{})
	s.metrics = newMetrics(s, cfg.Counts, cfg.Metrics)
	for _, src := range s.sources {
		if n, ok := src.(resolver.Notifier); ok {
			n.OnChange(s.catalogChanged)
		}
	}
	return s, nil
}

// Close ends the idle connections; those in use end with their requests.
func (s *Sender) Close() {
	for _, g := range *s.groups.Load() {
		g.close()
	}
}

// Bus returns which services are on a bus, nil if there is none.
func (s *Sender) Bus() *BusRoute { return s.bus }

// Sweep drops what is gone: groups of vanished services, connections to vanished
// instances, connections that were idle for too long, counters of services that
// vanished a day ago. It is to be called now and then.
func (s *Sender) Sweep(set *Settings) {
	var gone []string
	for name, g := range *s.groups.Load() {
		if known := s.needs(g); !known && !g.awaited(set) {
			gone = append(gone, name)
			continue
		} else if known {
			g.lost.Store(0)
		}
		for site := range g.sites() {
			svc := s.following(site)
			if svc == nil {
				site.empty()
				continue
			}
			for _, m := range site.adopt(svc, set).members {
				m.pool.Expire()
				m.slots.SetMost(set.MaxConnections)
			}
		}
	}
	for _, name := range gone {
		s.drop(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.expireLocked(monotonic.Now())
}

// fixedIdle is how long a group that no resolver knows is kept without a request.
const fixedIdle = 10 * time.Minute

// needs reports whether a group is still needed.
func (s *Sender) needs(g *group) bool {
	if g.fixed.Load() != nil || g.onBus.Load() {
		if monotonic.Now()-g.used.Load() < int64(fixedIdle) {
			return true
		}
	}
	if g.fixed.Load() != nil {
		return false
	}
	_, _, known := s.lookup(g.name)
	return known
}

// following returns what the members of a site are taken from; nil if there is
// nothing, or it is not loaded.
func (s *Sender) following(site *group) *resolver.Service {
	if f := site.fixed.Load(); f != nil {
		return f.service
	}
	if site.onBus.Load() && monotonic.Now()-site.used.Load() < int64(fixedIdle) {
		return nil
	}
	if found := s.sources[site.source].Catalog().Lookup(site.name); found != nil && found.Loaded {
		return found
	}
	return nil
}

// group returns the group called name, making it at the first request. name
// must not be part of a request.
func (s *Sender) group(name string) *group {
	if g := (*s.groups.Load())[name]; g != nil {
		return g
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.groups.Load()
	if g := old[name]; g != nil {
		return g
	}
	g := s.newGroup(name)
	g.metrics = s.metrics.serviceLocked(name)
	next := maps.Clone(old)
	next[name] = g
	s.groups.Store(&next)
	return g
}

func (s *Sender) newGroup(name string) *group { return &group{name: name, log: s.log, mesh: s.mesh} }

func (s *Sender) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.groups.Load())
	if g := next[name]; g != nil {
		g.close()
		delete(next, name)
		s.groups.Store(&next)
		s.metrics.retireLocked(name, monotonic.Now())
	}
}

// InFlight is the number of requests that instances are working on.
func (s *Sender) InFlight() (n int) {
	for _, g := range *s.groups.Load() {
		for site := range g.sites() {
			if r := site.current.Load(); r != nil {
				for _, m := range r.members {
					n += int(m.inflight.Load())
				}
			}
		}
	}
	return n
}

// Waiting is how many requests wait for an instance of a service.
func (s *Sender) Waiting(service string) int {
	if g := (*s.groups.Load())[service]; g != nil {
		return s.lobby.waiting(g)
	}
	return 0
}

// Connections returns how many connections to the instances of a service are in
// use and idle.
func (s *Sender) Connections(service string) (active, idle int) {
	if g := (*s.groups.Load())[service]; g != nil {
		active, idle, _ = g.census()
	}
	return active, idle
}
