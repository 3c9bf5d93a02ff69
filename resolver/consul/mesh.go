package consul

import (
	"context"
	"net/url"
	"slices"
)

var onlyMesh = url.Values{"filter": {`ServiceKind != ""`}}

// countMesh counts the services of the mesh, for status, and notices new ones.
// They cost no watch: they are asked for when the heartbeat saw that some service
// changed.
func (r *Resolver) countMesh(ctx context.Context, known *meshNames) {
	list := nameList{seed: r.seed}
	if _, err := r.read(ctx, "/v1/catalog/services", query{Form: onlyMesh}, &list); err != nil {
		return // they are counted later
	}
	if known.gains(list.names) {
		r.meshMoved()
	}
	services, mesh := r.catalog(), 0
	for _, name := range list.names {
		if services.Lookup(name) == nil { // else it has plain instances, too
			mesh++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Mesh = mesh
}

// meshNames are those of the services of the mesh as they were counted last. Only
// the heartbeat's goroutine uses it.
type meshNames struct{ known map[string]bool }

// gains takes over the names as they are now and reports whether one is new.
func (m *meshNames) gains(names []string) bool {
	before := m.known
	m.known = setOf(names)
	return slices.ContainsFunc(names, func(name string) bool { return !before[name] })
}
