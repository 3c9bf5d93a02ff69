package main

import (
	"cmp"
	"fmt"
	"time"

	"lictor/admin"
	"lictor/policy/live"
	"lictor/policy/store"
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
	switch kind := cmp.Or(p.cfg.Policy.Store, fallback); kind {
	case store.KindConsul:
		if _, err := dataFile(p.cfg.DataDir, "policy"); err != nil {
			return nil, err
		}
		return store.NewConsul(store.ConsulConfig{
			API: consulConfig(&p.cfg.Consul), Prefix: p.cfg.Policy.Prefix, DataDir: p.cfg.DataDir, Log: p.log.Named("policy store"),
		})
	case store.KindMemory:
		if p.cfg.Policy.Store == "" {
			p.log.Warn("no policy store is configured: the policy is kept in memory and lost at exit")
		}
		return store.NewMemory(p.log.Named("policy store")), nil
	default:
		return nil, fmt.Errorf("policy: store %q is unknown", kind)
	}
}

// policyChecks say when the policy makes lictor unready.
func (p *process) policyChecks() []admin.Check {
	return []admin.Check{{Name: "policy", Ready: p.policy.Ready}}
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
	if s.Kind == store.KindMemory && p.cfg.Policy.Store == "" {
		st.Problems = append(st.Problems, "policy: it is kept in memory and lost at exit")
	}
	for _, r := range st.Policy.Rejected {
		st.Problems = append(st.Problems, "policy: "+r.Path+": "+r.Problems.Error())
	}
}
