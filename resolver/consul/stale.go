package consul

import (
	"context"
	"time"

	"lictor/internal/pace"
	"lictor/resolver"
)

// showLocked publishes truth, or its blank form past MaxStale. r.mu is held.
func (r *Resolver) showLocked() {
	shown := r.truth
	if r.stale {
		shown = blank(r.truth)
	}
	r.cur.Store(shown)
	r.bell.Ring()
}

// freshenLocked shows the truth again after contact. r.mu is held.
func (r *Resolver) freshenLocked() {
	if r.stale && time.Since(r.status.Since) < r.cfg.MaxStale {
		r.stale = false
		r.showLocked()
	}
}

// blank returns the catalog with the same services, none of which can serve.
// So another resolver may take over, and a request that finds none is told
// that no instance is healthy.
func blank(c *resolver.Catalog) *resolver.Catalog {
	services := make([]*resolver.Service, 0, c.Len())
	for s := range c.All() {
		services = append(services, &resolver.Service{Name: s.Name, Index: s.Index, Loaded: true, Hosts: s.Hosts, // which are no other service's meanwhile
			Held: "no contact with consul for longer than max_stale"})
	}
	return resolver.NewCatalog(services...)
}

// watchAge blanks the catalog when the data is older than MaxStale, until ctx ends.
func (r *Resolver) watchAge(ctx context.Context) {
	for {
		r.mu.Lock()
		left := r.cfg.MaxStale - time.Since(r.status.Since)
		if left <= 0 && !r.stale && !r.status.Since.IsZero() {
			r.stale = true
			r.showLocked()
			r.log.Error("the known services are older than max_stale and are not used any more",
				"services", r.truth.Len(), "max_stale_ms", r.cfg.MaxStale.Milliseconds())
		}
		r.mu.Unlock()
		if pace.Sleep(ctx, max(left, min(r.cfg.MaxStale, time.Second))) != nil {
			return
		}
	}
}
