// Package presence makes this lictor known in Consul and counts the live ones,
// among which rate limits of scope "split" are divided (C17).
package presence

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/internal/crash"
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
	Address string    // host:port of the gateway, for people to see
	Count   func(int) // told how many lictors live, at least 1, when that changes
	Log     hclog.Logger
}

// Presence registers this process.
type Presence struct {
	cfg Config
	id  string
	reg *api.AgentServiceRegistration
}

// New returns a presence that Run makes known.
func New(cfg Config) (*Presence, error) {
	if cfg.Client == nil || cfg.Count == nil || cfg.Log == nil {
		return nil, errors.New("presence: Client, Count and Log are required")
	}
	var random [6]byte
	rand.Read(random[:]) // never fails
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := &Presence{cfg: cfg, id: fmt.Sprintf("%s-%s-%s", Service, host, hex.EncodeToString(random[:]))}
	p.reg = &api.AgentServiceRegistration{
		ID: p.id, Name: Service,
		Check: &api.AgentServiceCheck{
			CheckID: "service:" + p.id, TTL: ttl.String(), Status: api.HealthPassing,
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
// then it takes itself out.
func (p *Presence) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { p.follow(ctx) })
	p.stay(ctx)
	wg.Wait()
	return nil
}

// stay registers and keeps the check alive. A restarted agent has forgotten
// both, which a failing beat tells.
func (p *Presence) stay(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	known, told := false, false
	for {
		if err := p.beat(ctx, &known); err != nil && ctx.Err() == nil {
			if !told {
				p.cfg.Log.Warn("cannot register in consul", "service", Service, "error", err)
			}
			told = true
		} else if told {
			p.cfg.Log.Info("registered in consul again", "service", Service, "id", p.id)
			told = false
		}
		select {
		case <-ctx.Done():
			if known {
				p.leave()
			}
			return
		case <-tick.C:
		}
	}
}

func (p *Presence) beat(ctx context.Context, known *bool) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	if *known {
		opts := (&api.QueryOptions{}).WithContext(ctx)
		err := p.cfg.Client.Agent().UpdateTTLOpts(p.reg.Check.CheckID, "", api.HealthPassing, opts)
		if err == nil {
			return nil
		}
		*known = false // the agent may have lost it
	}
	err := p.cfg.Client.Agent().ServiceRegisterOpts(p.reg, api.ServiceRegisterOpts{}.WithContext(ctx))
	*known = err == nil
	return err
}

// leave takes this lictor out, so that the others' shares grow at once.
func (p *Presence) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	opts := (&api.QueryOptions{}).WithContext(ctx)
	if err := p.cfg.Client.Agent().ServiceDeregisterOpts(p.id, opts); err != nil {
		p.cfg.Log.Warn("cannot deregister from consul", "service", Service, "id", p.id, "error", err)
	}
}

// follow counts the live lictors. While Consul is away the last number holds.
func (p *Presence) follow(ctx context.Context) {
	last, index := 0, uint64(0)
	var back client.Backoff
	var pace client.Pace
	for ctx.Err() == nil {
		began := time.Now()
		n, next, err := p.living(ctx, index)
		if err != nil {
			index = 0
			if back.Wait(ctx, p.cfg.Client.Contact) != nil {
				return
			}
			continue
		}
		back.Reset()
		if n = max(n, 1); n != last {
			p.cfg.Log.Info("lictors that share split rate limits", "live", n)
			p.cfg.Count(n)
			last = n
		}
		pause := max(between, pace.After(index, next, time.Since(began), wait))
		index = client.NextIndex(index, next)
		if client.Sleep(ctx, pause) != nil {
			return
		}
	}
}

func (p *Presence) living(ctx context.Context, index uint64) (live int, next uint64, err error) {
	err = errPanic
	defer crash.Contain("consul answer", nil)
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+10*time.Second)
	defer cancel()
	opts := (&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx)
	all, meta, err := p.cfg.Client.Health().Service(Service, "", true, opts)
	if err != nil {
		return 0, 0, err
	}
	return count(all), max(meta.LastIndex, 1), nil
}

var errPanic = errors.New("the answer raised a panic")

// count returns how many of the entries are lictors. Consul does not mind the
// case of the name that is asked for, so a service of another case is in its
// answer as well.
func count(entries []*api.ServiceEntry) (n int) {
	for _, e := range entries {
		if e != nil && e.Service != nil && e.Service.Service == Service {
			n++
		}
	}
	return n
}
