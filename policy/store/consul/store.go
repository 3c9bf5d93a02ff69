// Package consul keeps the policy in Consul's KV: an object is the key
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
// A large one is split: each kind is a prefix of its own, and one kind, the
// sharded one, is sixteen: one for each first hex digit of its names. The watches
// ask for names only, with those of a kind folded into one, so that a wake-up has
// nearly no body. What woke is read; where its values are large and its keys are
// few, as of lists, Consul is asked which of the keys changed, and those alone are
// read. The other prefixes are asked for their index: if none has moved, what was read and what is known are one state of the
// store (no update shows half of a transaction); if one has, it is read, too, and
// so on. After some rounds the whole is read at once, which is one state by itself.
// One restriction saves work: sixteenths of the sharded kind are compared with
// each other only if something else changed as well, for nobody looks at two of
// its objects at once (see [Config.Shard]).
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
// one on one. A change within a kind of very many small
// objects other than credentials costs reading that kind; lists are best kept in
// objects of many entries: of a million of them in 50 keys, 25 MB, a changed key
// costs the agent 18 ms and 0.6 MB. Bursts are read together: single changes pass at once, a stream
// of them at most twenty times a second. Every ten minutes the whole is read
// again. One query in four seconds shows that Consul is there and, in the split
// layout, finds keys that belong to no kind that was there when it was split.
package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// Config is what New needs.
type Config struct {
	Client   *client.Client // required; its answers may be as large as a policy
	Prefix   string         // of the keys; "" = "lictor/"
	DataDir  string         // for the last good policy; "" = none is kept
	MaxStale time.Duration  // contact is shown at least three times within it; 0 = every 4 s
	Log      hclog.Logger   // required

	// Kinds have a prefix of their own in the split layout, present or not, so that
	// the first object of a kind is noticed as fast as the next. Other kinds that
	// are there get one as well. nil = only those.
	Kinds []string

	// Shard is the kind that is split by the first hex digit of its names, which
	// are hashes; nobody must need two of its objects to be of one moment. "" = none.
	Shard string
}

// Store is a [store.Store] in Consul's KV. [New] makes it.
type Store struct {
	client *client.Client
	log    hclog.Logger
	root   string        // <prefix>policy/
	beat   time.Duration // between looks whether Consul answers
	kinds  []string
	shard  string // "" = none
	mirror *mirror.Mirror
	newest atomic.Uint64 // highest index seen, to notice lost history

	refused       atomic.Bool // the last write was, for want of rights
	openByDefault atomic.Bool // Consul has no ACLs, or they allow by default

	splitAt int64 // size of the answer from which the layout is split
	keyCost int   // bytes that are read at the cost of asking whether a key has changed

	mu      sync.Mutex
	waiters []waiter      // writes that wait to be seen
	running bool          // a Watch runs, so that writes are seen
	kick    chan struct{} // has an element when there are waiters

	// Of the running Watch alone:
	lost     bool   // history was lost since the content was last read completely
	lastRoot uint64 // index of the whole prefix when it was last read
}

// steady is how long a session lasts behind which all is well again. Where what is read
// again and again is broken off each time, as one watch of many that something before
// Consul refuses, all of the policy would be read again and again at once.
const steady = time.Minute

// splitDefault is where a full answer begins to cost more than a look around, and
// keyCostDefault what asking about one key costs, in bytes read.
const (
	splitDefault   = 1 << 20
	keyCostDefault = 4 << 10
)

// New checks cfg and returns the store; it does not contact Consul yet.
func New(cfg Config) (*Store, error) {
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
	c := &Store{
		client: cfg.Client, log: cfg.Log, root: strings.TrimPrefix(prefix, "/") + "policy/", beat: store.BeatFor(cfg.MaxStale, heartbeatEvery),
		kinds: cfg.Kinds, shard: cfg.Shard, kick: make(chan struct{}, 1), splitAt: splitDefault, keyCost: keyCostDefault,
	}
	c.mirror = mirror.New(store.KindConsul, cfg.Log, mirror.NewLastGood(cfg.DataDir, "consul "+cfg.Client.Place()+" key "+c.root, "consul "+c.root))
	return c, nil
}

// Kind is KindConsul.
func (c *Store) Kind() string { return store.KindConsul }

// Status returns the condition of the store.
func (c *Store) Status() store.Status {
	s := c.mirror.Status()
	if c.refused.Load() {
		s.Notes = append(s.Notes[:len(s.Notes):len(s.Notes)], errMayNotWrite.Error()+": the last change was refused")
	}
	return s
}

// Watch follows the store. It comes back from every failure by itself, with a
// pause that grows to 30 s, and then reads everything again.
func (c *Store) Watch(ctx context.Context, fn func(store.Update) []string) error {
	if err := c.mirror.Begin(fn); err != nil {
		return err
	}
	defer c.mirror.End()
	c.setRunning(true)
	defer c.setRunning(false)
	c.lastRoot = c.mirror.Index()
	c.observe(c.lastRoot)
	var saving sync.WaitGroup
	saving.Go(func() { c.mirror.Keep(ctx) })
	defer saving.Wait()
	var pause client.Backoff
	for {
		s, began := newSession(c), time.Now()
		err := s.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.loaded && time.Since(began) >= steady {
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
func (c *Store) report(err error) {
	news := c.mirror.Trouble(err.Error(), false)
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
func (c *Store) showHeld() {
	problem := c.mirror.HeldProblem("consul")
	if c.mirror.Trouble(problem, true) && problem == "" {
		c.log.Info("the policy is read again", "key", c.root)
	}
}

// List returns the objects of a kind as last delivered, by name.
func (c *Store) List(_ context.Context, kind string) ([]store.Object, error) {
	return c.mirror.List(kind)
}

// Get returns the object as it is in Consul now, or as last delivered if
// Consul cannot be asked.
func (c *Store) Get(ctx context.Context, kind, name string) (store.Object, error) {
	if !store.ValidKey(kind, name) {
		return c.mirror.Get(kind, name)
	}
	o, err := c.one(ctx, kind, name, client.Query{})
	held, isHeld := c.mirror.HeldObject(kind, name)
	switch {
	case err != nil:
		c.log.Debug("cannot ask consul for an object", "kind", kind, "name", name, "error", err)
		return c.mirror.Get(kind, name)
	case o == nil && isHeld:
		return held, nil
	case o == nil:
		return store.Object{}, store.ErrNotFound
	}
	return *o, nil
}

// Held returns the objects that are held, by key.
func (c *Store) Held() []store.Object { return c.mirror.Held() }

// Refresh returns when everything has been read anew.
func (c *Store) Refresh(ctx context.Context) error {
	if !c.Status().Live {
		return fmt.Errorf("%w: %s", store.ErrUnavailable, c.Status().Problem)
	}
	if err := c.awaitKeys(ctx, []string{store.ClearedName}); err != nil { // which belongs to no part of the policy
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	return nil
}

// String names the place for people.
func (c *Store) String() string {
	return fmt.Sprintf("consul %s key %s", c.client, c.root)
}
