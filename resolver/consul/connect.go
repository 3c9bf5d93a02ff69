package consul

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	client "lictor/internal/consul"
)

// Connect says which instances of a service count, where it may be in the mesh.
type Connect string

const (
	ConnectOff     Connect = ""        // those that are registered under its name
	ConnectPrefer  Connect = "prefer"  // those that are in the mesh; where there are none, those above
	ConnectRequire Connect = "require" // those that are in the mesh, never others
)

// kindSidecar is the kind of what stands in the mesh for an instance.
const kindSidecar = "connect-proxy"

// ask asks for the instances of the service, where they are wanted from.
func (f *follower) ask(ctx context.Context, q query) ([]entry, meta, error) {
	switch f.r.cfg.Connect {
	case ConnectRequire:
		return f.r.readMesh(ctx, f.name, q)
	case ConnectPrefer:
		return f.askBoth(ctx, q)
	}
	return f.r.readHealth(ctx, f.name, q)
}

// ahead sends the query of ask that waits for a change.
func (f *follower) ahead(ctx context.Context, q query) *client.Asked {
	q.Many = true
	if f.r.cfg.Connect == ConnectRequire || f.r.cfg.Connect == ConnectPrefer && f.inMesh {
		return f.r.cfg.Client.Ahead(ctx, "/v1/health/connect/"+f.name, q)
	}
	return f.r.cfg.Client.Ahead(ctx, "/v1/health/service/"+f.name, q)
}

// askBoth asks for the instances in the mesh, and where there are none for the
// others. The query waits for a change of what counted last; that of the other is
// answered at once. A first sidecar that is registered while plain instances count
// does not wake it: see [Resolver.meshMoved].
func (f *follower) askBoth(ctx context.Context, q query) ([]entry, meta, error) {
	now := q
	now.Index = 0
	if f.inMesh || q.Index == 0 {
		entries, m, err := f.r.readMesh(ctx, f.name, q)
		if some(entries, m, err) {
			return f.counts(true, entries, m, err)
		}
		entries, m, err = f.r.readHealth(ctx, f.name, now)
		return f.counts(false, entries, m, err)
	}
	plain, said, err := f.r.readHealth(ctx, f.name, q)
	if err != nil {
		return nil, said, err
	}
	entries, m, err := f.r.readMesh(ctx, f.name, now)
	if some(entries, m, err) {
		return f.counts(true, entries, m, err)
	}
	return plain, said, nil
}

// some reports whether an answer is a reason not to look elsewhere: where ACLs hide
// what is in the mesh, to do without it would be to take "prefer" for "off".
func some(entries []entry, m meta, err error) bool {
	return err != nil || len(entries) > 0 || m.Filtered
}

// counts notes which of the two an answer is of. Their indexes tell nothing of one
// another.
func (f *follower) counts(inMesh bool, entries []entry, m meta, err error) ([]entry, meta, error) {
	if err == nil && inMesh != f.inMesh {
		f.inMesh, f.index = inMesh, 0
	}
	return entries, m, err
}

// readMesh asks for the instances of one service in the mesh: its sidecars, and
// those that speak for themselves.
func (r *Resolver) readMesh(ctx context.Context, name string, q query) ([]entry, meta, error) {
	var entries []entry
	m, err := r.read(ctx, "/v1/health/connect/"+name, q, readEntries(&entries, func(e *entry) bool { return e.standsFor(name) }))
	for i := range entries {
		entries[i].mesh = entries[i].identity(name)
	}
	return entries, m, err
}

// standsFor reports whether e is an instance of the service in the mesh. Consul
// lists gateways to outside of the mesh as well, which are none.
func (e *entry) standsFor(name string) bool {
	s := &e.Service
	if s.Kind == kindSidecar {
		return s.Proxy.DestinationServiceName == name
	}
	return s.Kind == "" && s.Service == name && s.Connect.Native
}

// identity is who the peer of an instance of the service must be.
func (e *entry) identity(service string) string {
	path := "/ns/" + cmp.Or(e.Service.Namespace, "default") + "/dc/" + e.Node.Datacenter + "/svc/" + service
	if p := e.Service.Partition; p != "" && p != "default" {
		path = "/ap/" + p + path
	}
	return (&url.URL{Path: path}).EscapedPath()
}

// sidecars returns the names that sidecars among the entries are registered under.
func sidecars(entries []entry) []string {
	var names []string
	for i := range entries {
		if s := &entries[i].Service; s.Kind == kindSidecar && !slices.Contains(names, s.Service) && len(names) < maxSidecars {
			names = append(names, s.Service)
		}
	}
	return names
}

// maxSidecars bounds the names of one service's sidecars that are told apart: as a
// rule they share one.
const maxSidecars = 16

// concerns reports whether what happened to one of the services, by their names,
// may be news of f.
func (f *follower) concerns(names map[string]bool) bool {
	return names[f.name] || slices.ContainsFunc(f.sidecars, func(name string) bool { return names[name] })
}

// meshMoved has the services read again that have no instance in the mesh, for
// there are sidecars of a new name.
func (r *Resolver) meshMoved() {
	if r.cfg.Connect != ConnectPrefer {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.followers {
		if f.stop != nil && len(f.sidecars) == 0 {
			f.nudge.Now()
		}
	}
	r.sweeper.markDueLocked(func(f *follower) bool { return len(f.sidecars) == 0 })
}
