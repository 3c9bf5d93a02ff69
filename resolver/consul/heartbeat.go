package consul

import (
	"context"
	"net/url"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/pace"
)

// Consul is asked at short intervals how far it is; what has gone on without a
// word of the watch that should have told is asked for anew.
const (
	heartbeatEvery = 4 * time.Second
	heartbeatGrace = 400 * time.Millisecond // for the watch that knows to tell first
	beatShare      = 20                     // an overview takes so small a part of the time
	nudgeAllEvery  = time.Minute            // where it cannot be told which watch should have; with very many watches as long as each waits
)

// nothing selects no service and no check: what is wanted is the index.
var (
	noService = url.Values{"filter": {`ServiceKind == "lictor-asks-for-the-index"`}}
	noCheck   = url.Values{"filter": {`CheckID == "lictor-asks-for-the-index"`}}
)

// heart is what the heartbeat remembers. Only its goroutine uses it.
type heart struct {
	r        *Resolver
	services uint64 // index of all services, as of the last beat
	checks   uint64 // index of all checks
	counted  uint64 // index of all services when those of the mesh were counted
	mesh     meshNames
	lines    summary
	last     time.Time // when the last beat began that left nothing to look at
	moved    bool      // something is to be looked at
	looked   time.Time // when the last overview was taken
	took     time.Duration
	all      time.Time // when all watches were nudged last
}

// watchHeart runs until ctx ends.
func (r *Resolver) watchHeart(ctx context.Context) {
	h := &heart{r: r, lines: summary{seed: r.seed}}
	every := heartbeatEvery
	if r.cfg.MaxStale > 0 {
		every = min(every, r.cfg.MaxStale/4) // contact is proved in time
	}
	beats := client.Heartbeat{Every: every, First: min(every, time.Second), Contact: r.cfg.Client.Contact, Beat: h.beat}
	_ = beats.Run(ctx) // ends with ctx
}

// beat looks once. Where Consul cannot be asked there is nothing to find out.
func (h *heart) beat(ctx context.Context) error {
	began, since := time.Now(), h.last
	if h.r.ofPeer() {
		h.beatPeer(ctx, began, since)
		return nil
	}
	services, err := h.index(ctx, "/v1/catalog/services", noService)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	h.compareNames(ctx, services, began)
	if services != h.counted {
		h.counted = services
		h.r.countMesh(ctx, &h.mesh)
	}
	if !h.r.watching() {
		h.services, h.checks, h.lines.last = 0, 0, nil
		return nil
	}
	checks, err := h.index(ctx, "/v1/health/state/critical", noCheck)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	h.moved = h.moved || services != h.services || checks != h.checks
	h.services, h.checks = services, checks
	h.nudge(h.r.ahead(max(services, checks), since))
	if h.moved && began.Before(h.looked.Add(beatShare*h.took)) {
		return nil // an overview of very many services costs Consul more than that is worth
	}
	h.last = began
	if h.moved && pace.Sleep(ctx, heartbeatGrace) == nil {
		h.moved = false
		h.compareServices(ctx, since)
	}
	return nil
}

// beatPeer looks once at a peer. That the names are right they show by themselves.
func (h *heart) beatPeer(ctx context.Context, began, since time.Time) {
	h.r.connected(ctx)
	if !h.r.watching() {
		h.lines.last = nil
		return
	}
	h.last = began
	h.compareServices(ctx, since)
}

// index returns the index of what path lists.
func (h *heart) index(ctx context.Context, path string, nothing url.Values) (uint64, error) {
	m, err := h.r.cfg.Client.IndexOf(ctx, path, query{Fresh: true, Form: nothing})
	return m.Index, err
}

// compareNames notes that the names are right as of now, or has them read again.
func (h *heart) compareNames(ctx context.Context, index uint64, began time.Time) {
	if h.r.namesAt(index, began) || pace.Sleep(ctx, heartbeatGrace) != nil || h.r.namesAt(index, began) {
		return
	}
	h.r.cfg.Client.CloseIdle() // they are as old
	h.r.namesNudge.Now()
	h.r.claimsNudge.Now()
}

// compareServices finds the services that changed since the last beat although
// their watch reported nothing, and has them read again.
func (h *heart) compareServices(ctx context.Context, since time.Time) {
	h.looked = time.Now()
	changed, sure := h.r.overview(ctx, &h.lines)
	h.took = time.Since(h.looked)
	if !sure {
		return // there is nothing to compare with
	}
	silent := h.r.silent(setOf(changed), since)
	if len(changed) == 0 && time.Since(h.all) > h.r.nudgePace() && !h.r.explained(max(h.services, h.checks)) {
		// Something changed in place, and nobody can say where.
		h.all = time.Now()
		silent = h.r.silent(nil, since)
	}
	h.nudge(silent)
}

// nudge has services read again.
func (h *heart) nudge(all []*follower) {
	if len(all) == 0 {
		return
	}
	h.r.cfg.Client.CloseIdle() // they are as old
	for _, f := range all {
		f.nudge.Now()
	}
}

// ahead returns the followers that wait behind an index that Consul has not
// reached: its history is another than the one they know, and they would wait
// out their time. The index may be that of a node's change, which the heartbeat
// does not see, so each is returned once in a while only.
func (r *Resolver) ahead(index uint64, since time.Time) []*follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*follower
	now := time.Now()
	every := max(nudgeAllEvery, r.patienceLocked())
	for _, f := range r.followers {
		if f.stop != nil && f.told > index && f.spoke.Before(since) && now.Sub(f.nudged) >= every {
			f.nudged = now
			all = append(all, f)
		}
	}
	return all
}

// nudgePace is how often all watches may be nudged.
func (r *Resolver) nudgePace() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(nudgeAllEvery, r.patienceLocked())
}

// watching reports whether any service has a watch.
func (r *Resolver) watching() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watched > 0
}

// namesAt reports whether the list of names is known as of the given index, and
// if so notes that it was right at the time.
func (r *Resolver) namesAt(index uint64, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.status.Ready || r.status.Snapshot {
		return true // the first answer is on its way; it has a deadline
	}
	if index != r.namesIndex {
		return r.status.Contact.After(at) // it told meanwhile
	}
	if at.After(r.status.Contact) {
		r.rightLocked(at)
		r.freshenLocked()
	}
	return true
}

// silent returns the followers with a watch that had no answer since the given
// time: of the services in names, or of all if it is nil.
func (r *Resolver) silent(names map[string]bool, since time.Time) []*follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*follower
	for _, f := range r.followers {
		if f.stop != nil && f.spoke.Before(since) && (names == nil || f.concerns(names)) {
			all = append(all, f)
		}
	}
	return all
}

// explained reports whether some watch has told of the given index.
func (r *Resolver) explained(index uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.namesIndex >= index {
		return true
	}
	for _, f := range r.followers {
		if f.told >= index {
			return true
		}
	}
	return false
}
