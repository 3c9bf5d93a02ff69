package main

import (
	"cmp"
	"time"

	"lictor/admin"
	"lictor/geoip"
	consulapi "lictor/internal/consul"
	"lictor/policy"
	"lictor/policy/live"
	"lictor/policy/store"
	"lictor/presence"
	"lictor/supervisor"
)

// buildPolicy makes the policy that gateway and admin go by.
func (p *process) buildPolicy() error {
	s, err := p.policyStore()
	if err != nil {
		return err
	}
	p.policy, err = live.New(live.Config{
		Store:         s,
		Prefix:        p.cfg.Policy.Prefix,
		BindConsumers: p.cfg.ACL.BindConsumers,
		MaxStale:      p.cfg.Policy.MaxStale,
		Log:           p.log.Named("policy"),
		Metrics:       p.registry,
	})
	if err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "policy", Run: p.policy.Run, Grace: 5 * time.Second})
	return nil
}

// policyStore returns the store that is configured: without a word about it,
// Consul if there is a consul block, else memory (X12).
func (p *process) policyStore() (store.Store, error) {
	fallback := store.KindMemory
	if p.cfg.Consul.Configured {
		fallback = store.KindConsul
	}
	switch cmp.Or(p.cfg.Policy.Store, fallback) {
	case store.KindConsul:
		if _, err := p.dataFile("policy"); err != nil {
			return nil, err
		}
		client, err := p.consulClient(consulapi.MaxPolicy)
		if err != nil {
			return nil, err
		}
		return store.NewConsul(store.ConsulConfig{
			Client: client, Prefix: p.cfg.Policy.Prefix, DataDir: p.cfg.DataDir,
			MaxStale: p.cfg.Policy.MaxStale, Log: p.log.Named("policy store"),
		})
	case store.KindMemory:
		if p.cfg.Policy.Store == "" {
			p.log.Warn("no policy store is configured: the policy is kept in memory and lost at exit")
		}
		return store.NewMemory(p.log.Named("policy store")), nil
	default:
		if _, err := p.dataFile("policy"); err != nil {
			return nil, err
		}
		return store.NewDir(store.DirConfig{
			Dir: p.cfg.Policy.Dir, DataDir: p.cfg.DataDir, MaxStale: p.cfg.Policy.MaxStale, Log: p.log.Named("policy store"),
		})
	}
}

// policyChecks say when the policy makes lictor unready.
func (p *process) policyChecks() []admin.Check {
	checks := []admin.Check{{Name: "policy", Ready: p.policy.Ready, Reason: "policy_unavailable"}}
	if p.egress != nil {
		checks = append(checks, admin.Check{Name: "egress", Ready: p.egress.Ready, Reason: "policy_unavailable"})
	}
	return checks
}

// describePolicy adds the policy to the status.
func (p *process) describePolicy(st *admin.Status) {
	s := p.policy.Store().Status()
	version := p.policy.Loaded().Version()
	st.Policy = &admin.PolicyStatus{
		Hash: version.Hash, Index: version.Index, Store: s.Kind, Live: s.Live, LastGood: s.LastGood,
		Objects: s.Objects, Held: s.Held, Rejected: p.policy.Rejected(),
	}
	if !s.Contact.IsZero() {
		age := time.Since(s.Contact).Seconds()
		st.Policy.AgeSeconds = &age
	}
	if s.Problem != "" {
		st.Problems = append(st.Problems, "policy: "+s.Problem)
	}
	for _, note := range s.Notes {
		st.Problems = append(st.Problems, "policy: "+note)
	}
	if s.Kind == store.KindMemory && p.cfg.Policy.Store == "" {
		st.Problems = append(st.Problems, "policy: it is kept in memory and lost at exit")
	}
	for _, r := range st.Policy.Rejected {
		st.Problems = append(st.Problems, "policy: "+r.Path+": "+closes(r)+r.Problems.Error())
	}
}

// closes says what it does to requests that an object cannot be read and never
// could; "" if nothing.
func closes(r *policy.Rejection) string {
	switch {
	case !r.Closes:
		return ""
	case r.Key.Kind == policy.KindBlacklist:
		return "closes all egress, since it cannot be read: "
	case r.Key.Kind == policy.KindWhitelist:
		return "admits nothing, since it cannot be read: "
	}
	return "closes what it would guard, since it cannot be read: "
}

// closed are the listeners that refuse everything, and why.
func (p *process) closed() (why []string) {
	for _, r := range p.policy.Rejected() {
		if r.Closes && r.Key.Kind == policy.KindBlacklist && p.egress != nil {
			why = append(why, "egress: "+r.Path+": "+closes(r)+r.Problems.Error())
		}
	}
	return why
}

// buildGeoIP opens the data base of countries, if there is one.
func (p *process) buildGeoIP() (err error) {
	path := p.cfg.GeoIP.Database
	if path == "" {
		return nil
	}
	if p.geoip, err = geoip.Open(path, p.log.Named("geoip")); err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "geoip", Run: p.geoip.Run, Grace: time.Second})
	return nil
}

// buildPresence makes this lictor known in Consul, if there is one, so that
// split rate limits are divided.
func (p *process) buildPresence() error {
	if !p.cfg.Consul.Configured {
		return nil
	}
	client, err := p.consulClient(consulapi.MaxCatalogue)
	if err != nil {
		return err
	}
	here, err := presence.New(presence.Config{
		Client: client, Address: p.gatewayListener.Addr().String(), Count: p.gateway.Limiter().SetInstances, Log: p.log.Named("presence"),
	})
	if err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "presence", Run: here.Run, Grace: 3 * time.Second})
	return nil
}

// locator returns who knows the countries of addresses.
func (p *process) locator() policy.Locator {
	if p.geoip == nil {
		return nil
	}
	return p.geoip
}
