package app

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/config"
	consulapi "lictor/internal/consul"
	"lictor/internal/consul/mesh"
	"lictor/internal/consul/presence"
	"lictor/proxy/upstream"
)

// buildMesh makes this lictor a member of Consul's mesh, if a resolver wants it.
func (p *Lictor) buildMesh() error {
	if !p.wantsMesh(config.ConnectPrefer) && !p.wantsMesh(config.ConnectRequire) {
		return nil
	}
	// It has a contact of its own: a Consul without a mesh answers 500 to all that is
	// asked about one, and is not away.
	identity, err := p.consulIdentity()
	if err != nil {
		return err
	}
	client, err := consulapi.New(consulapi.Config{API: consulConfig(&p.cfg.Consul), Identity: identity, Conns: consulapi.Kept(meshConns)})
	if err != nil {
		return err
	}
	file, err := p.dataFile("mesh.json")
	if err != nil {
		return err
	}
	p.mesh, err = mesh.New(mesh.Config{Client: client, Contact: p.consul.contacts[""], Service: presence.Service, File: file, Log: p.log.Named("mesh")})
	if err != nil {
		return err
	}
	p.mesh.OnChange(func() { p.gateway.Upstream().RenewMesh() })
	p.services = append(p.services, supervisor.Service{Name: "mesh", Run: p.mesh.Run, Grace: 5 * time.Second})
	return p.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lictor_mesh_certificate_seconds", Help: "Until lictor's certificate of Consul's mesh runs out; negative: since it has, or there is none.",
	}, p.certificateLeft))
}

// wantsMesh reports whether a resolver asks for the mesh in the given way.
func (p *Lictor) wantsMesh(how string) bool {
	return slices.ContainsFunc(p.cfg.Resolvers, func(r config.Resolver) bool { return r.Consul != nil && r.Consul.Connect == how })
}

// meshOf is how the gateway speaks to instances in the mesh, nil if it does not.
func (p *Lictor) meshOf() upstream.Mesh {
	if p.mesh == nil {
		return nil
	}
	return p.mesh
}

// certificateLeft is the metric: seconds.
func (p *Lictor) certificateLeft() float64 {
	s := p.mesh.Status()
	if s.NotAfter.IsZero() {
		return -1
	}
	return time.Until(s.NotAfter).Seconds()
}

// meshChecks have a lictor wait for its certificate that can reach nothing without
// one.
func (p *Lictor) meshChecks() []admin.Check {
	if p.mesh == nil || !p.wantsMesh(config.ConnectRequire) {
		return nil
	}
	return []admin.Check{{Name: "mesh", Ready: p.mesh.Ready}}
}

// describeMesh adds the mesh to the status.
func (p *Lictor) describeMesh(st *api.Status) {
	if p.mesh == nil {
		return
	}
	s := p.mesh.Status()
	st.Mesh = &api.MeshStatus{ID: s.ID, TrustDomain: s.TrustDomain, Authorities: s.Authorities, LastGood: s.Kept}
	if !s.NotAfter.IsZero() {
		st.Mesh.NotAfter = &s.NotAfter
	}
	if !s.Contact.IsZero() {
		st.Mesh.Contact = &s.Contact
	}
	for _, text := range s.Problems {
		st.Problems = append(st.Problems, "mesh: "+text)
	}
}
