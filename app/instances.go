package app

import (
	"context"
	"math"
	"sync"
	"time"

	"lictor/admin/api"
	"lictor/internal/crash"
	"lictor/internal/pace"
	"lictor/proxy/upstream"
	"lictor/resolver"
)

// ages know since when each instance is in its state. They may be used by any
// goroutine.
type ages struct {
	sources []resolver.Source

	mu    sync.Mutex // guards known
	known []resolver.Ages
}

// agesEvery is how exact an age is.
const agesEvery = time.Second

func newAges(sources []resolver.Source) *ages {
	return &ages{sources: sources, known: make([]resolver.Ages, len(sources))}
}

// Run looks now and then until ctx ends, and returns nil.
func (a *ages) Run(ctx context.Context) error {
	a.look(time.Now())
	pace.Every(ctx, agesEvery, a.look)
	return nil
}

func (a *ages) look(now time.Time) {
	defer crash.Contain("instance ages", nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, source := range a.sources {
		a.known[i].Note(source.Catalog(), now)
	}
}

// since returns since when an instance that a resolver knows is in its state; the zero
// time if that was before anybody looked.
func (a *ages) since(kind, service, instance string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, source := range a.sources {
		if source.Kind() == kind {
			return a.known[i].Since(service, instance)
		}
	}
	return time.Time{}
}

// instance is what tells instances of a service apart.
type instance struct{ id, address string }

// describeInstances adds to the instances in the status what this process itself knows
// of them.
func (p *Lictor) describeInstances(st *api.Status) {
	p.ages.look(time.Now())
	for s := range st.Services {
		service := &st.Services[s]
		asked := make(map[instance]upstream.InstanceState)
		for _, i := range p.gateway.Upstream().Instances(service.Name) {
			asked[instance{i.ID, i.Address}] = i
		}
		for i := range service.Instances {
			one := &service.Instances[i]
			if since := p.ages.since(service.Resolver, service.Name, one.ID); !since.IsZero() {
				one.Since = &since
			}
			a := asked[instance{one.ID, one.Address}]
			one.InFlight, one.Answers, one.P50MS, one.P99MS = a.InFlight, a.Answers, milliseconds(a.P50), milliseconds(a.P99)
			if a.Ejected != "" {
				one.State, one.Note, one.Since = "ejected", a.Ejected, &a.Since
			}
		}
	}
}

// milliseconds is a duration as far as it is known: by two digits.
func milliseconds(d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	ms := float64(d) / float64(time.Millisecond)
	unit := math.Pow(10, math.Floor(math.Log10(ms))-1)
	return math.Round(math.Round(ms/unit)*unit*1e6) / 1e6
}

// load asks for the instances of a service that nobody asked for yet, and waits for
// the answers or the end of ctx. A name that no source knows leaves nothing behind.
func (p *Lictor) load(ctx context.Context, service string) {
	for _, source := range p.sources {
		if s := source.Catalog().Lookup(service); s == nil || s.Loaded {
			continue
		}
		select {
		case <-source.Want(service):
		case <-ctx.Done():
		}
	}
}
