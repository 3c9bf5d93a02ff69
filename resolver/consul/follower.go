package consul

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/internal/pace"
	"lictor/resolver"
)

// confirmAfter is how long an emptied service waits for the names, which tell
// whether it went alone or with most others, before it is believed to be empty.
const confirmAfter = time.Second

// follower keeps the instances of one service up to date. It lives from the
// first time that somebody wants the service until its name vanishes.
type follower struct {
	r    *Resolver
	name string

	// Guarded by r.mu.
	stop     func()         // ends its watch; nil while it has none
	leaves   bool           // its watch is being ended
	answered chan struct{}  // closed at the next answer, good or bad
	err      string         // of the last query
	busy     bool           // the sweep reads it, or is to read it for the first time
	retry    time.Time      // beyond Watches: it could not be read, and is not to be before
	pause    client.Backoff // until retry
	spoke    time.Time      // when the last answer was in, or the watch began
	told     uint64         // index of that answer
	tag      string         // that its instances were selected by
	late     bool           // it claims hosts since a moment ago
	nudged   time.Time      // when it was nudged for an index that Consul has not reached
	sidecars []string       // names under which its instances in the mesh are registered, if they are others

	nudge client.Nudge // of its watch; has a lock of its own

	// Only used by whoever asks: its watch, or the sweep.
	belief   belief
	index    uint64         // of the last answer
	inMesh   bool           // the last answer was of instances in the mesh
	doubtful bool           // contact was lost, or what is known is a snapshot's
	failures int            // in a row
	trouble  client.Trouble // as it was logged
	hold     time.Time      // the loss of all instances is disbelieved until then
	deadline time.Time      // when to ask again at the latest
}

// followLocked makes a follower and has Run start it. r.mu is held.
func (r *Resolver) followLocked(s *resolver.Service) *follower {
	f := &follower{r: r, name: s.Name, doubtful: s.Loaded, tag: r.selection.Load().Tag, answered: make(chan struct{})}
	r.followers[s.Name] = f
	r.pending = append(r.pending, f)
	poke(r.wake)
	return f
}

// unfollowLocked ends the followers of names that are gone. r.mu is held.
func (r *Resolver) unfollowLocked(names []string) {
	for _, name := range names {
		f := r.followers[name]
		if f == nil {
			continue
		}
		delete(r.followers, name)
		r.sweeper.removeLocked(f)
		if f.stop != nil {
			f.stop()
		}
		close(f.answered)
	}
}

// watch follows the service until ctx ends. One that is known from a snapshot
// has time: the first queries are spread.
func (f *follower) watch(ctx context.Context) {
	if f.doubtful && pace.Sleep(ctx, pace.Jitter(time.Second)) != nil {
		return
	}
	w := client.Watch{
		Step:      func(ctx context.Context, q query) (uint64, error) { q.Many = true; return f.step(ctx, q) },
		Ahead:     f.ahead,
		Wait:      f.wait,
		Recovered: f.r.waitContact,
		Reread:    rereadEvery,
		Pace:      []client.Bucket{{Burst: 20, Every: time.Second}},
		Contact:   f.r.cfg.Client.Contact,
		Nudge:     &f.nudge,
	}
	w.Run(ctx)
}

// step asks for the instances once. An empty answer counts only if one past
// all caches says so too, and still does when the names had time to show that
// it was not this service alone.
func (f *follower) step(ctx context.Context, q query) (uint64, error) {
	entries, m, err := f.ask(ctx, q)
	if err == nil && f.empties(entries, m) {
		entries, m, err = f.ask(ctx, query{Consistent: true, Many: q.Many})
	}
	if err == nil && f.empties(entries, m) && pace.Sleep(ctx, confirmAfter) == nil && f.empties(entries, m) {
		entries, m, err = f.ask(ctx, query{Consistent: true, Many: q.Many})
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		f.failed(err)
		return 0, err
	}
	return m.Index, client.Contain(func() error { f.apply(entries, m); return nil })
}

// empties reports whether the answer would take the last instances away, and
// nothing else keeps them.
func (f *follower) empties(entries []entry, m meta) bool {
	if len(entries) > 0 || m.Filtered || f.doubtful || client.WentBack(f.index, m.Index) || time.Now().Before(f.hold) {
		return false
	}
	r := f.r
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.truth.Lookup(f.name)
	return s != nil && len(s.Instances) > 0 && !r.doubt.open(time.Now())
}

// apply takes over an answer.
func (f *follower) apply(entries []entry, m meta) {
	r := f.r
	now := time.Now()
	selected := r.selection.Load()
	carrying := selected.carrying(entries)
	seen, options, texts := r.sightings(carrying)
	p := problems{texts: texts}
	claims := p.claims(carrying, r.cfg.HostSuffixes)
	registered := r.registered(entries)

	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.truth.Lookup(f.name)
	if r.followers[f.name] != f || old == nil {
		return // the name is gone
	}
	f.failures, f.err, f.spoke, f.told = 0, "", now, m.Index
	f.sidecars = sidecars(entries)
	left := leftOut(entries)
	switch {
	case m.Filtered:
		f.err = string(client.Filtered)
	case left > 0:
		f.err = fmt.Sprintf("%d instances are left out, each longer than %d bytes or beyond %d", left, maxPart, maxInstances)
	}
	f.noteLocked(now, f.err)
	lost := len(entries) == 0 && len(old.Instances) > 0 && (f.doubtful || client.WentBack(f.index, m.Index))
	f.index, f.doubtful = m.Index, false
	if lost {
		f.hold = now.Add(r.cfg.EmptyHold)
	}
	if m.Filtered && old.Loaded {
		f.deadline = time.Time{}
		f.answerLocked()
		return
	}
	if f.tag != selected.Tag {
		f.tag = selected.Tag
		poke(r.save) // which waits until no service has those of a former one
	}

	until, why := f.hold, "consul came back without its instances"
	if r.doubt.until.After(until) {
		until, why = r.doubt.until, r.doubt.why
	}
	out := f.belief.judge(selected.without(old.Instances, entries), seen, now, until, r.cfg.EmptyHold)
	f.deadline = out.deadline
	next := &resolver.Service{Name: f.name, Index: m.Index, Loaded: !f.partial(entries, m),
		Instances: out.instances, Options: options, Problems: p.texts, Registered: registered}
	next.Hosts = f.agedLocked(old, claims, out.held || m.Filtered)
	if out.held {
		if next.Held = why; !now.Before(until) {
			next.Held = "consul does not know whether its instances serve"
		}
		if len(entries) == 0 {
			next.Options, next.Problems = old.Options, old.Problems
		}
	}
	if out.held || m.Filtered || left > 0 {
		next.Registered = union(old.Registered, next.Registered)
	}
	if !unchanged(old, next) {
		r.publishLocked([]*resolver.Service{next}, nil)
		f.tellLocked(now, old, next)
	}
	f.answerLocked()
}

// partial reports whether an answer is too little to call the service loaded: ACLs
// hid all of its instances, or, with Everywhere, any of them.
func (f *follower) partial(entries []entry, m meta) bool {
	return m.Filtered && (len(entries) == 0 || f.r.cfg.Everywhere)
}

// answerLocked tells those who wait that there was an answer. r.mu is held.
func (f *follower) answerLocked() {
	close(f.answered)
	f.answered = make(chan struct{})
}

// failed notes that the service could not be read; what is known stays.
func (f *follower) failed(err error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.followers[f.name] != f {
		return
	}
	f.doubtful = true
	f.failures++
	f.err = err.Error()
	if client.TroubleOf(meta{}, err) == client.Denied || f.failures > 1 && f.r.down == nil {
		// A first failure, or one while the names fail too, is Consul being
		// away, of which the names tell.
		f.noteLocked(time.Now(), f.err)
	}
	f.answerLocked()
}

// noteLocked logs that the service can be read no more, or again. r.mu is held.
func (f *follower) noteLocked(now time.Time, problem string) {
	kind := client.None
	switch {
	case problem == string(client.Filtered):
		kind = client.Filtered
	case problem != "":
		kind = client.Away
	}
	if kind == f.trouble {
		return
	}
	f.trouble = kind
	r := f.r
	if problem == "" {
		r.sayLocked(now, hclog.Info, "service can be read again", "service", f.name)
		return
	}
	r.status.ErrorTime = now
	r.sayLocked(now, hclog.Error, "cannot read service, keeping the last known instances", "service", f.name, "error", problem)
}

// tellLocked tells what changed. r.mu is held.
func (f *follower) tellLocked(now time.Time, old, next *resolver.Service) {
	switch {
	case next.Held != "" && old.Held == "":
		f.r.sayLocked(now, hclog.Warn, "keeping instances that consul does not confirm", "service", f.name,
			"instances", len(next.Instances), "why", next.Held)
	case old.Loaded:
		usable := 0
		for _, i := range next.Instances {
			if i.Usable() {
				usable++
			}
		}
		f.r.sayLocked(now, hclog.Info, "service changed", "service", f.name, "instances", len(next.Instances),
			"usable", usable, "problems", len(next.Problems))
	}
}

// sayLocked logs about one service. When very many change at once the rest goes to
// the debug level. r.mu is held.
func (r *Resolver) sayLocked(now time.Time, level hclog.Level, event string, args ...any) {
	if r.talk.Take(now) > 0 {
		r.talk.Untake() // what is not said does not count
		level = hclog.Debug
	}
	r.log.Log(level, event, args...)
}

// unchanged reports whether next says the same as old. The index is left out:
// a new one does not promise new data.
func unchanged(old, next *resolver.Service) bool {
	return old.Loaded == next.Loaded && old.Options == next.Options && old.Held == next.Held &&
		slices.Equal(old.Instances, next.Instances) && slices.Equal(old.Problems, next.Problems) &&
		slices.Equal(old.Registered, next.Registered) && slices.Equal(old.Hosts, next.Hosts)
}
