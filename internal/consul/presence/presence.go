// Package presence makes this lictor known in Consul and counts the live ones,
// among which rate limits of scope "split" are divided (C17).
package presence

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
)

// Service is the name under which lictors register. It is never reachable
// through the gateway (D8).
const Service = "lictor"

const (
	ttl     = 10 * time.Second
	beat    = ttl / 3
	forget  = time.Minute            // Consul drops an instance that was critical for as long; its own minimum
	wait    = 30 * time.Second       // of a blocking query
	between = 250 * time.Millisecond // of two queries at least: lictors that come and go together are counted together
)

// Config is what a Presence is made of; all fields are required.
type Config struct {
	Client  *client.Client
	Address string        // host:port of the gateway, for people to see
	Policy  func() string // the first digits of the hash of the policy in force, "" = none; see [Presence.PolicyChanged]
	Count   func(int)     // told how many lictors live, at least 1, when that changes
	Log     hclog.Logger
}

// Presence registers this process. [New] makes it.
type Presence struct {
	cfg Config
	reg *api.AgentServiceRegistration

	known bool   // the agent took the registration; of the heartbeat alone
	told  string // the policy that the agent was told; of the heartbeat alone
	live  int    // as it was counted last; of the watch alone

	others others

	failing atomic.Pointer[error] // why it is not registered, which the log tells; nil = it is, or nobody has tried
}

// New checks cfg and returns a presence that Run makes known. It asks nothing yet.
func New(cfg Config) (*Presence, error) {
	if cfg.Client == nil || cfg.Policy == nil || cfg.Count == nil || cfg.Log == nil {
		return nil, errors.New("presence: Client, Policy, Count and Log are required")
	}
	var random [6]byte
	rand.Read(random[:]) // never fails
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := fmt.Sprintf("%s-%s-%s", Service, host, hex.EncodeToString(random[:]))
	p := &Presence{cfg: cfg}
	p.others.self = id
	p.reg = &api.AgentServiceRegistration{
		ID: id, Name: Service,
		Check: &api.AgentServiceCheck{
			CheckID: "service:" + id, TTL: ttl.String(), Status: api.HealthPassing,
			DeregisterCriticalServiceAfter: forget.String(),
		},
	}
	if addr, port, err := net.SplitHostPort(cfg.Address); err == nil {
		p.reg.Port, _ = strconv.Atoi(port)
		if ip := net.ParseIP(addr); ip != nil && !ip.IsUnspecified() {
			p.reg.Address = addr
		}
	}
	return p, nil
}

// Run keeps this lictor registered and counts the live ones until ctx ends;
// then it takes itself out, for which it may take two seconds, and returns nil.
func (p *Presence) Run(ctx context.Context) error {
	beats := client.Heartbeat{Every: beat, Beat: p.stay}
	count := client.Watch{
		Step: p.count, Wait: func() time.Duration { return wait },
		Pace: []client.Bucket{{Every: between}}, Contact: p.cfg.Client.Contact,
	}
	var wg sync.WaitGroup
	wg.Go(func() { count.Run(ctx) })
	_ = beats.Run(ctx) // ends with ctx
	if p.known {
		p.leave()
	}
	wg.Wait()
	return nil
}

// stay registers or keeps the check alive, and tells when that begins or ceases
// to fail.
func (p *Presence) stay(ctx context.Context) error {
	err := p.refresh(ctx)
	switch {
	case err != nil && ctx.Err() == nil && p.failing.Swap(&err) == nil:
		p.cfg.Log.Warn("cannot register in consul", "service", Service, "error", err)
	case err == nil && p.failing.Swap(nil) != nil:
		p.cfg.Log.Info("registered in consul again", "service", Service, "id", p.reg.ID)
	}
	return nil
}

// Problem is why this lictor is not known in Consul, nil if it is.
func (p *Presence) Problem() error {
	if err := p.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// refresh keeps the check alive. A restarted agent has forgotten it and the
// service, which a failure tells: then it registers anew. So it does for another
// policy: the beat bounds how often that is written to the catalog.
func (p *Presence) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	policy := p.cfg.Policy()
	if p.known && policy == p.told {
		passing := map[string]string{"Status": api.HealthPassing}
		if p.put(ctx, "/v1/agent/check/update/"+p.reg.Check.CheckID, passing) == nil {
			return nil
		}
	}
	p.reg.Meta = map[string]string{metaPolicy: policy}
	err := p.put(ctx, "/v1/agent/service/register", p.reg)
	if err != nil && p.known { // it stays registered, with what it told before
		return err
	}
	p.known, p.told = err == nil, policy
	return err
}

// leave takes this lictor out, so that the others' shares grow at once.
func (p *Presence) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.put(ctx, "/v1/agent/service/deregister/"+p.reg.ID, nil); err != nil {
		p.cfg.Log.Warn("cannot deregister from consul", "service", Service, "id", p.reg.ID, "error", err)
	}
}

// put sends what, as JSON; nil = nothing.
func (p *Presence) put(ctx context.Context, path string, what any) (err error) {
	var body []byte
	if what != nil {
		if body, err = json.Marshal(what); err != nil {
			return err
		}
	}
	return p.cfg.Client.Send(ctx, http.MethodPut, path, nil, body, nil)
}

// count asks how many lictors live. While Consul is away the last number holds.
func (p *Presence) count(ctx context.Context, q client.Query) (uint64, error) {
	q.Form = url.Values{"passing": {"1"}}
	var all []entry
	m, err := p.cfg.Client.Get(ctx, "/v1/health/service/"+Service, q, func(body io.Reader) error {
		return json.NewDecoder(body).Decode(&all)
	})
	if err != nil {
		return 0, err
	}
	p.others.take(all, time.Now())
	if n := max(live(all), 1); n != p.live {
		p.cfg.Log.Info("lictors that share split rate limits", "live", n)
		p.cfg.Count(n)
		p.live = n
	}
	return m.Index, nil
}

// live returns how many of the entries are lictors.
func live(entries []entry) (n int) {
	for i := range entries {
		if entries[i].isLictor() {
			n++
		}
	}
	return n
}
