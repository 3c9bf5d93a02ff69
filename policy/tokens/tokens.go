// Package tokens verifies JSON Web Tokens for the plugin jwt (P2), and keeps the
// JWK sets that it verifies them with. It implements policy.Tokens.
//
// A set is fetched in the background alone, by [Verifier.Run]: a request never
// waits for one. What was verified is remembered until it runs out, or the keys or
// the rules change. The cryptography is golang-jwt's; what is looked at before it
// follows RFC 8725, and is in token.go.
package tokens

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/policy"
)

// Config is what a Verifier is made of. Policy and Log are required.
type Config struct {
	Policy  func() *policy.Set // in force, nil if there is none
	DataDir string             // keeps the last good sets; "" = they are not kept
	Log     hclog.Logger
	Metrics prometheus.Registerer // nil: none are kept

	// Control is asked before each connection, as net.Dialer has it; nil: nothing is
	// refused.
	Control func(network, address string, c syscall.RawConn) error
}

// Verifier verifies tokens. All methods but Run and OnChange may be called by any
// goroutine, and do not block.
type Verifier struct {
	cfg        Config
	fetcher    *fetcher
	sources    atomic.Pointer[map[string]*source] // by URL; the map is not changed
	remembered remembered
	counts     counts
	changed    chan struct{}
	watchers   []func()
}

var _ policy.Tokens = (*Verifier)(nil)

// New returns a Verifier that has no set of any URL until Run reads them.
func New(cfg Config) (*Verifier, error) {
	if cfg.Policy == nil || cfg.Log == nil {
		return nil, errors.New("tokens: Policy and Log are required")
	}
	v := &Verifier{cfg: cfg, fetcher: newFetcher(cfg.Control), changed: make(chan struct{}, 1)}
	v.sources.Store(&map[string]*source{})
	v.remembered.init()
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(collector{v}); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// OnChange has f called whenever the keys of some URL have changed; f must not
// wait. To be called before Run.
func (v *Verifier) OnChange(f func()) { v.watchers = append(v.watchers, f) }

// PolicyChanged says that the policy in force may want other URLs.
func (v *Verifier) PolicyChanged() {
	select {
	case v.changed <- struct{}{}:
	default: // is due already
	}
}

// sweepEvery is how often what was remembered in vain is forgotten.
const sweepEvery = time.Minute

// Run keeps the sets of the policy's URLs until ctx ends. It returns nil.
func (v *Verifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer v.fetcher.close()
	following := make(map[string]context.CancelFunc)
	defer func() {
		for _, stop := range following {
			stop()
		}
	}()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		v.follow(ctx, &wg, following)
		select {
		case <-ctx.Done():
			return nil
		case <-v.changed:
		case now := <-sweep.C:
			v.remembered.sweep(now, v.cfg.Policy().TokenRules())
		}
	}
}

// follow begins to follow the URLs that the policy names by now, and ends with those
// that it names no more.
func (v *Verifier) follow(ctx context.Context, wg *sync.WaitGroup, following map[string]context.CancelFunc) {
	wanted := make(map[string]time.Duration)
	for _, r := range v.cfg.Policy().TokenRules() {
		if before, ok := wanted[r.URL]; r.URL != "" && (!ok || r.Refresh < before) {
			wanted[r.URL] = r.Refresh
		}
	}
	known := *v.sources.Load()
	next := make(map[string]*source, len(wanted))
	for url, refresh := range wanted {
		s := known[url]
		if s == nil {
			s = newSource(v, url)
			next[url] = s
			run, stop := context.WithCancel(ctx)
			following[url] = stop
			defer wg.Go(func() { // once it can be found
				defer crash.Contain("jwks", nil)
				s.run(run)
			})
		}
		next[url] = s
		s.setRefresh(refresh)
	}
	for url, stop := range following {
		if next[url] == nil {
			stop()
			delete(following, url)
		}
	}
	v.sources.Store(&next)
}

// keysOf returns the keys that rules verify by: their own, and those of their URL.
// ok is false if nobody knows the latter yet.
func (v *Verifier) keysOf(rules *policy.TokenRules) (own, fetched *keys, from *source, ok bool) {
	own, _ = rules.Keys.(*keys)
	if rules.URL == "" {
		return own, nil, nil, true
	}
	if from = (*v.sources.Load())[rules.URL]; from != nil {
		fetched = from.keys.Load()
	}
	return own, fetched, from, fetched != nil
}

// Verify implements [policy.Tokens].
func (v *Verifier) Verify(rules *policy.TokenRules, text string, now time.Time) (*policy.Token, error) {
	own, fetched, from, ok := v.keysOf(rules)
	id := identify(rules, text)
	if t := v.remembered.find(id, fetched); t != nil {
		return t, timely(t, now)
	}
	p, err := parse(text, rules.Algorithms)
	if err != nil {
		return nil, err
	}
	candidates, named := own.fitting(p.id, p.algorithm)
	if !named {
		var more []key
		if more, named = fetched.fitting(p.id, p.algorithm); named {
			candidates = more
		} else {
			candidates = append(candidates, more...)
		}
	}
	signer, err := signerOf(text, p, candidates)
	switch {
	case signer != nil:
	case named:
		return nil, err
	default: // it may be signed by one that is new
		if from != nil {
			from.ask()
		}
		if !ok { // or by one that nobody knows yet
			return nil, policy.ErrNoKeys
		}
		return nil, err
	}
	t, err := accept(rules, p, signer, now)
	if err != nil {
		return nil, err
	}
	v.remembered.add(id, fetched, t, now)
	return t, nil
}

// What is wrong with a token whose signature is good.
var (
	errExpired  = errors.New("the token has run out")
	errNotYet   = errors.New("the token is not valid yet")
	errSettings = errors.New("the plugin's settings have changed")
	errKeyGone  = errors.New("the key that the token was signed by is not among the keys any more")
)

// timely returns what is wrong with a token at a time.
func timely(t *policy.Token, now time.Time) error {
	switch {
	case !now.Before(t.Expires):
		return errExpired
	case now.Before(t.NotBefore):
		return errNotYet
	}
	return nil
}

// Holds implements [policy.Tokens].
func (v *Verifier) Holds(rules *policy.TokenRules, t *policy.Token, now time.Time) error {
	own, fetched, _, _ := v.keysOf(rules)
	switch {
	case t.Settings != rules.Settings:
		return errSettings
	case !own.has(t.Key) && !fetched.has(t.Key):
		return errKeyGone
	}
	return timely(t, now)
}
