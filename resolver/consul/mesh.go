package consul

import (
	"context"
	"net/url"
)

var onlyMesh = url.Values{"filter": {`ServiceKind != ""`}}

// countMesh counts the services of the mesh, for status. They cost no watch:
// they are asked for when the heartbeat saw that some service changed.
func (r *Resolver) countMesh(ctx context.Context) {
	list := nameList{seed: r.seed}
	if _, err := r.read(ctx, "/v1/catalog/services", query{Form: onlyMesh}, list.parse); err != nil {
		return // they are counted later
	}
	known, mesh := r.catalog(), 0
	for _, name := range list.names {
		if known.Lookup(name) == nil { // else it has plain instances, too
			mesh++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Mesh = mesh
}
