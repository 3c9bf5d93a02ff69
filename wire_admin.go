package main

import (
	"lictor/admin"
	"lictor/admin/access"
	"lictor/admin/edit"
	"lictor/admin/mapping"
)

// adminRoutes returns the APIs of the admin listener.
func (p *process) adminRoutes() ([]admin.Route, error) {
	policy := edit.New(p.policy.Store())
	mappings, err := mapping.Routes(policy)
	if err != nil {
		return nil, err
	}
	objects, err := access.Routes(access.Config{Policy: policy, Log: p.log.Named("admin"), Locations: p.geoip != nil})
	if err != nil {
		return nil, err
	}
	return append(mappings, objects...), nil
}
