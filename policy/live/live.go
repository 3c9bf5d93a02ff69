// Package live keeps the policy in force: it follows a store, reads the
// documents, has the changes compiled and publishes the Set.
//
// What is wrong is told and set aside; what was good stays (X6). Nothing half
// read is ever published.
package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/internal/crash"
	"lictor/internal/pace"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// Config is what a Policy is made of. Store and Log are required.
type Config struct {
	Store         store.Store
	Prefix        string        // of the keys in the store, "lictor/"
	BindConsumers bool          // C6
	MaxStale      time.Duration // refuse past it without contact to the store; 0: serve on
	Log           hclog.Logger
	Metrics       prometheus.Registerer // nil: none are kept
	Audit         func(*Audited)        // is told each change and each refused write, by any goroutine; it must not block. nil = nobody is told
}

// Policy is the policy in force. All methods but Run and OnChange may be called by
// any goroutine, and do not block.
type Policy struct {
	cfg      Config
	writers  *writers
	audit    audit
	building sync.Mutex      // held while a Set is made and put in force
	builder  *policy.Builder // guarded by building
	set      atomic.Pointer[policy.Set]
	stale    atomic.Bool // older than MaxStale
	seconds  prometheus.Histogram

	mu      sync.Mutex                       // guards what follows
	strays  map[policy.Key]*policy.Rejection // keys that are no object's
	watcher []func()
}

// New returns a policy that Run puts in force. Until then it refuses everything.
func New(cfg Config) (*Policy, error) {
	if cfg.Store == nil || cfg.Log == nil {
		return nil, errors.New("live: Store and Log are required")
	}
	p := &Policy{
		cfg: cfg, audit: audit{tell: cfg.Audit, key: newKey()},
		builder: policy.NewBuilder(policy.Options{
			Prefix: cfg.Prefix, BindConsumers: cfg.BindConsumers,
			Panicked: func(value any) { crash.Tell("policy", value) },
		}),
		strays: make(map[policy.Key]*policy.Rejection),
	}
	p.writers = &writers{Store: cfg.Store, audit: &p.audit}
	p.measure(cfg.Metrics)
	return p, nil
}

// OnChange has f called after each change is in force, in order, by the
// goroutine that put it there: f must not wait, nor call SetFeeds. To be called before Run.
func (p *Policy) OnChange(f func()) { p.watcher = append(p.watcher, f) }

// BindsConsumers reports what the configuration says of it (C6).
func (p *Policy) BindsConsumers() bool { return p.cfg.BindConsumers }

// Set returns the policy to decide by, nil if none was loaded or the one there
// is older than MaxStale (X6).
func (p *Policy) Set() *policy.Set {
	if p.stale.Load() {
		return nil
	}
	return p.set.Load()
}

// Loaded returns the policy as last loaded, however old, nil if there is none.
func (p *Policy) Loaded() *policy.Set { return p.set.Load() }

// Store returns the store that is followed, to be written to.
func (p *Policy) Store() store.Store { return p.writers }

// Run follows the store until ctx ends, and returns nil then. An error is that of
// the store's Watch, after which nothing is followed any more.
func (p *Policy) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if p.cfg.MaxStale > 0 {
		wg.Go(func() { p.watchAge(ctx) })
	}
	err := p.cfg.Store.Watch(ctx, p.apply)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ageEvery is how often the age of the policy is held against MaxStale.
const ageEvery = 250 * time.Millisecond

// watchAge runs until ctx ends. It makes Set return nil while the policy is older
// than MaxStale.
func (p *Policy) watchAge(ctx context.Context) {
	pace.Every(ctx, ageEvery, func(time.Time) {
		if st := p.cfg.Store.Status(); st.Loaded {
			p.updateStale(st)
		}
	})
}

// updateStale compares the age of the policy with MaxStale, and logs a change.
func (p *Policy) updateStale(st store.Status) {
	stale := time.Since(st.Contact) > p.cfg.MaxStale
	switch {
	case p.stale.Swap(stale) == stale:
	case stale:
		p.cfg.Log.Error("policy is too old, refusing everything", "contact", st.Contact, "max_stale_ms", p.cfg.MaxStale.Milliseconds(), "problem", st.Problem)
	default:
		p.cfg.Log.Info("policy is fresh again")
	}
}

// apply compiles an update of the store and publishes the Set. It returns the keys
// whose values are not valid, so that the store keeps their last good ones. It is
// called on the goroutine of Run.
func (p *Policy) apply(u store.Update) (bad []string) {
	p.building.Lock()
	defer p.building.Unlock()
	began := time.Now()
	if u.LastGood && p.cfg.MaxStale > 0 {
		p.updateStale(p.cfg.Store.Status()) // not a request is let in by a kept policy that is too old
	}
	before := p.set.Load()
	changed := p.begin(u, before == nil)
	set, rejections := p.builder.Apply(u.Index, p.changes(u))
	p.builder.Stamp(began)
	p.set.Store(set)
	changed.end(p, rejections)
	took := time.Since(began)
	p.seconds.Observe(took.Seconds())
	p.logUpdate(before, set, rejections, u, took)
	p.writers.seen(u.Changes)
	for _, f := range p.watcher {
		call(f)
	}
	for _, r := range rejections {
		if !r.Partial {
			bad = append(bad, string(r.Key.Kind)+"/"+r.Key.Name)
		}
	}
	return bad
}

// SetFeeds puts feeds in the place of those that are in force. Before the store's
// own policy is loaded they wait for it. It blocks while an update of the store is put
// in force, and never for long: feeds come compiled.
func (p *Policy) SetFeeds(feeds []*policy.Feed) {
	p.building.Lock()
	defer p.building.Unlock()
	p.builder.SetFeeds(feeds)
	before := p.set.Load()
	if before == nil {
		return
	}
	set, _ := p.builder.Apply(before.Version().Index, nil)
	p.builder.Stamp(time.Now())
	p.set.Store(set)
	for _, f := range p.watcher {
		call(f)
	}
}

// call calls a function of [Policy.OnChange]. A panic in it does not keep the
// policy from being followed.
func call(f func()) {
	defer crash.Contain("policy", nil)
	f()
}

// logUpdate logs what an update changed and what of it is not in force.
func (p *Policy) logUpdate(before, set *policy.Set, rejections []*policy.Rejection, u store.Update, took time.Duration) {
	for _, r := range rejections {
		p.cfg.Log.Error("policy object is not in force", "key", r.Path, "index", r.Index, "former_value_kept", r.Kept,
			"closes", r.Closes, "in_part", r.Partial, "error", r.Problems.Error())
	}
	switch {
	case u.LastGood:
		p.cfg.Log.Warn("policy loaded from data_dir, the store has not answered yet", "objects", len(u.Changes), "hash", set.Version().Hash)
	case before == nil || u.Reset:
		p.cfg.Log.Info("policy loaded", "objects", len(u.Changes), "hash", set.Version().Hash, "took_ms", took.Milliseconds())
	case len(u.Changes) > 0:
		line := []any{"changes", len(u.Changes), "keys", keysOf(u.Changes), "index", u.Index, "hash", set.Digits(), "took_us", took.Microseconds()}
		if by := p.writers.of(u.Changes); by != "" {
			line = append(line, []any{"by", by}...)
		}
		p.cfg.Log.Info("policy changed", line...)
	}
	if set.UsesLocations() && !before.UsesLocations() {
		p.cfg.Log.Debug("filters ask for locations")
	}
}

// changes reads an update's documents. With a Reset what is not in it is gone.
// A value that is not good comes with the last good one, which goes first, as it
// did when it came: so a restart opens nothing that it closed.
func (p *Policy) changes(u store.Update) []policy.Change {
	values := make([]store.Change, 0, len(u.Changes))
	for _, c := range u.Changes {
		if f := c.Former; f != nil && !c.Deleted {
			former := c
			former.Value, former.Index, former.CreateIndex = f.Value, f.Index, f.CreateIndex
			values = append(values, former)
		}
		values = append(values, c)
	}
	list := make([]policy.Change, len(values))
	parallel(len(list), func(i int) { list[i] = read(&values[i]) })
	kept := list[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.Reset {
		clear(p.strays)
	}
	seen := make(map[policy.Key]bool, len(list))
	for i := range list {
		c := &list[i]
		if c.Key.Kind.Valid() && c.Key.Name != "" {
			kept = append(kept, *c)
			seen[c.Key] = true
			continue
		}
		p.noteStrayLocked(c)
	}
	if u.Reset {
		for _, k := range p.builder.Keys() {
			if !seen[k] {
				kept = append(kept, document.Deleted(k))
			}
		}
	}
	return kept
}

// read reads a document. One that makes it panic is set aside like any other
// that cannot be read.
func read(c *store.Change) (change policy.Change) {
	key := policy.Key{Kind: policy.Kind(c.Kind), Name: c.Name}
	defer crash.Contain("policy document", func() {
		change = policy.Change{Key: key, Index: c.Index, Created: c.CreateIndex, Err: policy.Problems{{Text: "reading it ended in a panic, which the log shows"}}}
	})
	if c.Deleted {
		return document.Deleted(key)
	}
	if !key.Kind.Valid() || key.Name == "" {
		return policy.Change{Key: key, Index: c.Index}
	}
	return document.Change(key, c.Index, c.CreateIndex, c.Value)
}

// noteStrayLocked records a key that is not an object's, for Rejected, and logs it. The
// store's own marks, and folders, are no strays. p.mu must be held.
func (p *Policy) noteStrayLocked(c *policy.Change) {
	k := c.Key
	if k.Name == "" || k.Kind == "" && k.Name[0] == '.' {
		return
	}
	if c.Index == 0 {
		delete(p.strays, k)
		return
	}
	path := p.cfg.Prefix + k.String()
	if k.Kind == "" {
		path = p.cfg.Prefix + "policy/" + k.Name
	}
	text := fmt.Sprintf("not one of the kinds %v", policy.Kinds)
	if strings.HasSuffix(k.Name, "/") {
		text = "the key ends in a slash and has a value: a name has none"
	}
	p.strays[k] = &policy.Rejection{Key: k, Path: path, Index: c.Index, Problems: policy.Problems{{Text: text}}}
	p.cfg.Log.Error("policy key is no object's", "key", path)
}

// Rejected returns the objects and keys that are not in force, and why. The slice
// is the caller's.
func (p *Policy) Rejected() []*policy.Rejection {
	all := p.set.Load().Rejected()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.strays {
		all = append(all, r)
	}
	return all
}

// Ready returns why the policy cannot be decided by, nil if it can.
func (p *Policy) Ready() error {
	switch {
	case p.set.Load() == nil:
		if problem := p.cfg.Store.Status().Problem; problem != "" {
			return fmt.Errorf("no policy is loaded: %s", problem)
		}
		return errors.New("no policy is loaded yet")
	case p.stale.Load():
		return errors.New("the policy is older than max_stale")
	}
	return nil
}
