package app

import (
	"cmp"
	"errors"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/app/supervisor"
	consulapi "lictor/internal/consul"
	"lictor/internal/consul/presence"
	"lictor/policy"
	"lictor/policy/geoip"
	"lictor/policy/live"
	"lictor/policy/store"
	consulstore "lictor/policy/store/consul"
	dirstore "lictor/policy/store/dir"
	"lictor/policy/store/memory"
)

// buildPolicy makes the policy that gateway and admin go by.
func (p *Lictor) buildPolicy() error {
	s, err := p.policyStore()
	if err != nil {
		return err
	}
	audit, err := p.auditor()
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
		Audit:         audit,
	})
	if err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "policy", Run: p.policy.Run, Grace: 5 * time.Second})
	return nil
}

// policyStore returns the store that is configured: without a word about it,
// Consul if there is a consul block, else memory (X12).
func (p *Lictor) policyStore() (store.Store, error) {
	fallback := store.KindMemory
	if p.cfg.Consul.Configured {
		fallback = store.KindConsul
	}
	switch cmp.Or(p.cfg.Policy.Store, fallback) {
	case store.KindConsul:
		if _, err := p.dataFile("policy"); err != nil {
			return nil, err
		}
		client, err := p.consulClient(consulUse{answer: consulapi.MaxPolicy, conns: policyConns})
		if err != nil {
			return nil, err
		}
		return consulstore.New(consulstore.Config{
			Client: client, Prefix: p.cfg.Policy.Prefix, DataDir: p.cfg.DataDir,
			MaxStale: p.cfg.Policy.MaxStale, Log: p.log.Named("policy store"),
			Kinds: kindNames(), Shard: string(policy.KindCredentials), // a request has one credential
		})
	case store.KindMemory:
		if p.cfg.Policy.Store == "" {
			p.log.Warn("no policy store is configured: the policy is kept in memory and lost at exit")
		}
		return memory.New(p.log.Named("policy store")), nil
	default:
		if _, err := p.dataFile("policy"); err != nil {
			return nil, err
		}
		return dirstore.New(dirstore.Config{
			Dir: p.cfg.Policy.Dir, DataDir: p.cfg.DataDir, MaxStale: p.cfg.Policy.MaxStale, Log: p.log.Named("policy store"),
		})
	}
}

// kindNames are the kinds that the policy knows.
func kindNames() []string {
	names := make([]string, len(policy.Kinds))
	for i, kind := range policy.Kinds {
		names[i] = string(kind)
	}
	return names
}

// policyChecks say when the policy makes lictor unready.
func (p *Lictor) policyChecks() []admin.Check {
	checks := []admin.Check{{Name: "policy", Ready: p.policyReady, Reason: "policy_unavailable"}}
	if p.egress != nil {
		checks = append(checks, admin.Check{Name: "egress", Ready: p.egress.Ready, Reason: "policy_unavailable"})
	}
	return checks
}

// policyReady is not ready without a policy, nor where one that can not be read
// closes every listener.
func (p *Lictor) policyReady() error {
	if err := p.policy.Ready(); err != nil {
		return err
	}
	listeners := 1
	if p.egress != nil {
		listeners = 2
	}
	if len(p.closed()) == listeners {
		return errors.New("everything is closed by objects that can not be read")
	}
	return nil
}

// closed are the listeners that refuse everything because of objects that can
// not be read, and by which.
func (p *Lictor) closed() (why []string) {
	set := p.policy.Loaded()
	if set == nil {
		return nil
	}
	if by, closed := set.Closed(policy.Ingress); closed {
		why = append(why, "gateway: "+by.Key+" can not be read")
	}
	if by, closed := set.Closed(policy.Egress); closed && p.egress != nil {
		why = append(why, "egress: "+by.Key+" can not be read")
	}
	return why
}

// knownService reports whether a name is that of a service, as far as can be
// told: a source that has not answered may know it.
func (p *Lictor) knownService(name string) bool {
	for _, source := range p.sources {
		catalog := source.Catalog()
		if !source.Status().Ready || catalog.Lookup(name) != nil {
			return true
		}
		if by, _ := catalog.Claimed(name); by != "" { // rules may go by the host
			return true
		}
	}
	return p.gateway.Upstream().Bus().Carries(name, nil)
}

// describePolicy adds the policy to the status.
func (p *Lictor) describePolicy(st *api.Status) {
	s := p.policy.Store().Status()
	version := p.policy.Loaded().Version()
	st.Policy = &api.PolicyStatus{
		Hash: version.Hash, Index: version.Index, Store: s.Kind, Live: s.Live, LastGood: s.LastGood,
		AgeSeconds: api.Age(s.Contact), Objects: s.Objects, Held: s.Held, Rejected: p.policy.Rejected(),
		Closings: p.policy.Loaded().Closings(), Notes: p.policy.Loaded().Notes(p.knownService),
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
	for _, c := range st.Policy.Closings {
		st.Problems = append(st.Problems, "policy: "+c.Path+" closes "+c.Closes+": "+c.Why)
	}
	for _, n := range st.Policy.Notes {
		st.Problems = append(st.Problems, "policy: "+n.Path+": "+n.String())
	}
	for _, r := range st.Policy.Rejected {
		st.Problems = append(st.Problems, "policy: "+r.Path+": "+r.Problems.Error())
	}
}

// buildGeoIP opens the data base of countries, if there is one.
func (p *Lictor) buildGeoIP() (err error) {
	file := p.cfg.GeoIP.Database
	if file == "" {
		return nil
	}
	if p.geoip, err = geoip.Open(file, p.log.Named("geoip")); err != nil {
		return err
	}
	p.services = append(p.services, supervisor.Service{Name: "geoip", Run: p.geoip.Run, Grace: time.Second})
	return nil
}

// buildPresence makes this lictor known in Consul, if there is one, so that
// split rate limits are divided.
func (p *Lictor) buildPresence() error {
	if !p.cfg.Consul.Configured {
		return nil
	}
	client, err := p.consulClient(consulUse{answer: consulapi.MaxCatalogue, conns: presenceConns})
	if err != nil {
		return err
	}
	here, err := presence.New(presence.Config{
		Client: client, Address: p.gatewayListener.Addr().String(), Policy: func() string { return p.policy.Loaded().Digits() }, Count: p.gateway.Limiter().SetInstances, Log: p.log.Named("presence"),
	})
	if err != nil {
		return err
	}
	p.consul.presence = here
	p.policy.OnChange(here.PolicyChanged)
	p.services = append(p.services, supervisor.Service{Name: "presence", Run: here.Run, Grace: 3 * time.Second})
	return nil
}

// locator returns who knows the countries of addresses.
func (p *Lictor) locator() policy.Locator {
	if p.geoip == nil {
		return nil
	}
	return p.geoip
}
