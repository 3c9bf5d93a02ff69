package app

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"lictor/admin/api"
	"lictor/app/supervisor"
	"lictor/policy/tokens"
)

// buildTokens makes what verifies tokens, and fetches the keys for it.
func (p *Lictor) buildTokens() error {
	dir := ""
	if p.unlockData != nil { // else nothing is kept of the policy either
		dir = p.cfg.DataDir
	}
	var err error
	p.tokens, err = tokens.New(tokens.Config{
		Policy: p.policy.Loaded, DataDir: dir, Log: p.log.Named("tokens"), Metrics: p.registry,
		// A policy must not have lictor ask its own Consul or admin API (X9).
		Control: func(network, address string, c syscall.RawConn) error { return p.own.Control(network, address, c) },
	})
	if err != nil {
		return err
	}
	p.policy.OnChange(p.tokens.PolicyChanged)
	p.services = append(p.services, supervisor.Service{Name: "tokens", Run: p.tokens.Run, Grace: time.Second})
	return nil
}

// describeTokens adds the sets of keys to the status.
func (p *Lictor) describeTokens(st *api.Status) {
	all := p.tokens.Status()
	slices.SortFunc(all, func(a, b tokens.Status) int { return cmp.Compare(a.URL, b.URL) })
	for _, s := range all {
		k := api.KeySetStatus{URL: s.URL, Keys: s.Keys, LeftOut: s.LeftOut, LastGood: s.Kept, AgeSeconds: api.Age(s.Fetched), Error: s.Problem}
		st.KeySets = append(st.KeySets, k)
		if s.Problem != "" {
			st.Problems = append(st.Problems, "keys for tokens: "+s.URL+": "+s.Problem)
		}
	}
}
