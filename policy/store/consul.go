package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/internal/consul"
)

// ConsulConfig is what NewConsul needs.
type ConsulConfig struct {
	Client   *consul.Client // required; its answers may be as large as a policy
	Prefix   string         // of the keys; default "lictor/"
	DataDir  string         // for the last good policy; "" = none is kept
	MaxStale time.Duration  // contact is shown at least three times within it; 0 = every 4 s
	Log      hclog.Logger   // required
}

// Consul is the store in Consul's KV: an object is the key
// <prefix>policy/<kind>/<name>.
//
// # How the keys are split
//
// A blocking query tells that a prefix changed, but not what: its answer is the
// whole prefix. So there are two layouts.
//
// A small policy (answers up to 1 MiB, some thousand objects) is one prefix and
// one watch. Every answer is one snapshot of the store, and cheap.
//
// A large one is split: each kind is a prefix of its own, the kind credentials
// is sixteen, one for each first hex digit. The watches ask for names only,
// with those of a kind folded into one, so that a wake-up has nearly no body.
// What woke is read, and the other prefixes are asked for their index: if none
// has moved, what was read and what is known are one state of the store (no
// update shows half of a transaction); if one has, it is read, too, and so on.
// After some rounds the whole is read at once, which is one state by itself.
// One restriction saves work: sixteenths of credentials are compared with each
// other only if something else changed as well, for a request has one
// credential and does not see the difference between two.
//
// # What it costs Consul
//
// Measured on one agent (Consul 1.22, in -dev) with 100,000 credentials, 10,000
// consumers and 100,000 blacklist entries in 25 objects:
//
//	                                    CPU of the agent   bytes
//	the whole policy                              700 ms   46 MB
//	index of credentials, names folded             40 ms   36 B
//	one sixteenth of credentials                   20 ms   2.5 MB
//	its names alone                                 7 ms   0.6 MB
//	a changed credential, all in all               90 ms   3.0 MB
//	a changed consumer, all in all                120 ms   3.6 MB
//	a changed ACL, all in all                     120 ms   1.2 MB
//
// A large policy waits on 27 connections to the agent, 32 at most, and a small
// one on one. A change within a large kind other
// than credentials costs reading that kind; lists are best kept in objects of
// many entries. Bursts are read together: single changes pass at once, a stream
// of them at most twenty times a second. Every ten minutes the whole is read
// again. One query in five seconds shows that Consul is there and, in the split
// layout, finds keys that belong to no kind that was there when it was split.
type Consul struct {
	client *consul.Client
	log    hclog.Logger
	root   string        // <prefix>policy/
	beat   time.Duration // between looks whether Consul answers
	mirror *mirror
	newest atomic.Uint64 // highest index seen, to notice lost history

	openByDefault atomic.Bool // Consul has no ACLs, or they allow by default

	splitAt int64 // size of the answer from which the layout is split

	mu      sync.Mutex
	waiters []waiter      // writes that wait to be seen
	running bool          // a Watch runs, so that writes are seen
	kick    chan struct{} // has an element when there are waiters

	// Of the running Watch alone:
	lost     bool   // history was lost since the content was last read completely
	lastRoot uint64 // index of the whole prefix when it was last read
}

// splitDefault is where a full answer begins to cost more than a look around.
const splitDefault = 1 << 20

// NewConsul returns the store; it does not contact Consul yet.
func NewConsul(cfg ConsulConfig) (*Consul, error) {
	if cfg.Client == nil || cfg.Log == nil {
		return nil, errors.New("store: Client and Log are required")
	}
	if n := cfg.Client.Conns(); n < leastConns {
		return nil, fmt.Errorf("store: %d connections are too few, %d are needed", n, leastConns)
	}
	prefix := cmp.Or(cfg.Prefix, "lictor/")
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	c := &Consul{
		client: cfg.Client, log: cfg.Log, root: strings.TrimPrefix(prefix, "/") + "policy/", beat: beatFor(cfg.MaxStale),
		kick: make(chan struct{}, 1), splitAt: splitDefault,
	}
	c.mirror = newMirror(KindConsul, cfg.Log, newLastGood(cfg.DataDir, "consul "+cfg.Client.Place()+" key "+c.root, "consul "+c.root))
	return c, nil
}

// beatFor is how often contact is to be shown so that it is three times within
// maxStale, however a beat and a query fall.
func beatFor(maxStale time.Duration) time.Duration {
	if maxStale <= 0 {
		return heartbeatEvery
	}
	return max(min(heartbeatEvery, maxStale/4), 20*time.Millisecond)
}

// Kind is KindConsul.
func (c *Consul) Kind() string { return KindConsul }

// Status returns the condition of the store.
func (c *Consul) Status() Status { return c.mirror.Status() }

// Watch follows the store. It comes back from every failure by itself, with a
// pause that grows to 30 s, and then reads everything again.
func (c *Consul) Watch(ctx context.Context, fn func(Update) []string) error {
	if err := c.mirror.begin(fn); err != nil {
		return err
	}
	defer c.mirror.end()
	c.setRunning(true)
	defer c.setRunning(false)
	c.lastRoot = c.mirror.index()
	c.observe(c.lastRoot)
	if kept := c.mirror.kept; kept != nil {
		var saving sync.WaitGroup
		saving.Go(func() { kept.run(ctx, c.mirror) })
		defer saving.Wait()
	}
	var pause consul.Backoff
	for {
		s := newSession(c)
		err := s.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.loaded {
			pause.Reset()
		}
		if err == nil {
			continue // the time to read everything again
		}
		c.report(err)
		if errors.Is(err, errHistory) {
			c.lost = true
		}
		if err := pause.Wait(ctx, c.client.Contact); err != nil {
			return err
		}
	}
}

// report shows why the store cannot be followed. A lack of rights does not heal
// by itself and is an error, once; the rest is expected to pass.
func (c *Consul) report(err error) {
	news := c.mirror.trouble(err.Error(), false)
	switch {
	case errors.Is(err, errRights) && news:
		c.log.Error("may not read the policy, keeping the last good one", "key", c.root, "error", err)
	case errors.Is(err, errRights):
		c.log.Debug("may still not read the policy", "key", c.root, "error", err)
	default:
		c.log.Warn("cannot read the policy, keeping the last good one",
			"key", c.root, "error", err)
	}
}

// showHeld brings the status up to date after a success.
func (c *Consul) showHeld() {
	problem := c.mirror.heldProblem("consul")
	if c.mirror.trouble(problem, true) && problem == "" {
		c.log.Info("the policy is read again", "key", c.root)
	}
}

// List returns the objects of a kind as last delivered, by name.
func (c *Consul) List(_ context.Context, kind string) ([]Object, error) { return c.mirror.list(kind) }

// Get returns the object as it is in Consul now, or as last delivered if
// Consul cannot be asked.
func (c *Consul) Get(ctx context.Context, kind, name string) (Object, error) {
	if !validKey(kind, name) {
		return c.mirror.get(kind, name)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	pair, _, err := c.client.KV().Get(c.root+keyOf(kind, name), (&api.QueryOptions{}).WithContext(ctx))
	held, isHeld := c.mirror.heldObject(kind, name)
	switch {
	case err != nil:
		c.log.Debug("cannot ask consul for an object", "kind", kind, "name", name, "error", err)
		return c.mirror.get(kind, name)
	case pair == nil && isHeld:
		return held, nil
	case pair == nil:
		return Object{}, ErrNotFound
	}
	return Object{Kind: kind, Name: name, Value: notNil(pair.Value), Index: pair.ModifyIndex, CreateIndex: pair.CreateIndex}, nil
}

// Held returns the objects that are held, by key.
func (c *Consul) Held() []Object { return c.mirror.Held() }

// Refresh returns when everything has been read anew.
func (c *Consul) Refresh(ctx context.Context) error {
	if !c.Status().Live {
		return fmt.Errorf("%w: %s", ErrUnavailable, c.Status().Problem)
	}
	if err := c.awaitKeys(ctx, []string{ClearedName}); err != nil { // which belongs to no part of the policy
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return nil
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// String names the place for people.
func (c *Consul) String() string {
	return fmt.Sprintf("consul %s key %s", c.client, c.root)
}
