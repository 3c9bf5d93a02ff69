package consul

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/internal/pace"
	"lictor/resolver"
)

// maxVerify is how many names that are missing are asked for one by one; of
// more the whole list is read again.
const maxVerify = 8

// nameWatch follows the names of all services and decides which are believed
// to be gone. Only its goroutine uses it.
type nameWatch struct {
	r        *Resolver
	hash     uint64          // of the list of the last answer
	index    uint64          // of the last answer: a lower one means that Consul lost history
	moved    bool            // something is registered anew, or another check, maybe without another name
	held     map[string]bool // names that Consul lists no more, kept until the window closes
	doubtful bool            // contact was lost, or the catalog is a snapshot's
	trouble  client.Trouble
	selected *Selection // that the last answer was compared by
	left     leftNames  // of the last answer
}

// leftNames are the names of a list that are left out though nobody hides them.
type leftNames struct {
	unread int    // too long to be read
	others int    // no path can have them, or Consul cannot be asked about them
	one    string // of the others
}

func (l *leftNames) add(name string) {
	if l.others++; l.one == "" {
		l.one = cut(name, maxShown)
	}
}

// maxShown is how much of such a name is shown.
const maxShown = 64

// String tells of them for people; "" = there are none.
func (l *leftNames) String() string {
	switch {
	case l.others > 0:
		return fmt.Sprintf("%d services are left out for their names, which no path can have or consul cannot be asked about, as %q", l.others+l.unread, l.one)
	case l.unread > 0:
		return fmt.Sprintf("%d services are left out, for what consul lists of each is too long", l.unread)
	}
	return ""
}

// watchNames runs until ctx ends.
func (r *Resolver) watchNames(ctx context.Context, restored uint64) {
	n := &nameWatch{r: r, index: restored, doubtful: restored > 0, held: make(map[string]bool)}
	w := client.Watch{Step: n.step, Wait: n.wait, Reread: rereadEvery, Contact: r.cfg.Client.Contact, Nudge: &r.namesNudge, Pace: []client.Bucket{
		{Burst: 20, Every: 10 * time.Millisecond}, // changes that come together are read together
		{Burst: 500, Every: 50 * time.Millisecond},
	}}
	if r.ofPeer() {
		w.Pace = []client.Bucket{{Every: importPace}}
	}
	w.Run(ctx)
}

// wait ends when the window closes, so that what did not come back goes then.
func (n *nameWatch) wait() time.Duration {
	r := n.r
	r.mu.Lock()
	defer r.mu.Unlock()
	return waitUntil(waitBehind(n.trouble), r.doubt.until)
}

// waitBehind returns how long an answer may take while nothing changes. A query has
// the rights of when it began: one that ACLs hid something of is asked again soon,
// for they may not hide it any more.
func waitBehind(trouble client.Trouble) time.Duration {
	if trouble == client.Filtered {
		return pace.Jitter(filteredWait)
	}
	return pace.Jitter(maxWait)
}

// waitUntil shortens d to end at deadline, if that is ahead.
func waitUntil(d time.Duration, deadline time.Time) time.Duration {
	if left := time.Until(deadline); left > 0 {
		return min(d, left+time.Millisecond)
	}
	return d
}

// step asks for the names once. A name is gone only if an answer past all
// caches says so too.
func (n *nameWatch) step(ctx context.Context, q query) (uint64, error) {
	if s := n.r.selection.Load(); s != n.selected {
		n.selected, n.hash = s, 0 // what is known of the list says nothing of what was hidden
	}
	list := nameList{seed: n.r.seed, known: n.hash, room: n.r.Catalog().Len()}
	m, err := n.r.readNames(ctx, &list, q)
	if err != nil {
		n.failed(ctx, err)
		return 0, err
	}
	added, missing := n.compare(&list)
	all := len(missing)
	switch {
	case all == 0:
	case all <= maxVerify:
		missing = n.verify(ctx, missing)
	case m.Filtered:
		missing = nil
	default:
		list = nameList{seed: n.r.seed, room: len(list.names)}
		if m, err = n.r.readNames(ctx, &list, query{Consistent: true}); err != nil {
			n.failed(ctx, err)
			return 0, err
		}
		added, missing = n.compare(&list)
		if all = len(missing); m.Filtered {
			missing = nil
		}
	}
	n.moved = m.Index != n.index
	if n.r.ofPeer() {
		n.moved = list.hash != n.hash // the index is of what is not imported
	}
	if n.hash = list.hash; len(missing) < all {
		n.hash = 0 // look at those that are not believed to be gone next time as well
	}
	n.settle(added, missing, m)
	return m.Index, nil
}

// compare returns the names in the list that are new, and the services that it
// lacks, less those that are known to be missing. A list without names is the last one.
func (n *nameWatch) compare(answer *nameList) (added, missing []string) {
	list := answer.names
	if list == nil {
		return nil, nil
	}
	known := n.r.catalog()
	there := 0
	n.left = leftNames{unread: answer.parts.left}
	for _, name := range list {
		switch {
		case known.Lookup(name) != nil:
			there++
		case n.r.exposes(name):
			added = append(added, name)
		case n.r.wouldExpose(name):
			n.left.add(name)
		}
	}
	if there == known.Len() {
		clear(n.held)
		return added, nil
	}
	listed := make(map[string]bool, len(list))
	for _, name := range list {
		listed[name] = true
		delete(n.held, name)
	}
	for s := range known.All() {
		if !listed[s.Name] && !n.held[s.Name] {
			missing = append(missing, s.Name)
		}
	}
	return added, missing
}

// verify returns which of the names are really gone: their own health answer
// is empty, and not because of ACLs.
func (n *nameWatch) verify(ctx context.Context, names []string) []string {
	var gone []string
	for _, name := range names {
		entries, m, err := n.r.readHealth(ctx, name, query{Consistent: true})
		if err == nil && !m.Filtered && len(entries) == 0 {
			gone = append(gone, name)
		}
	}
	return gone
}

// settle takes over an answer: what is new is added; what is missing goes, or
// is held if the loss looks wrong (D8).
func (n *nameWatch) settle(added, missing []string, m meta) {
	r := n.r
	now := time.Now()
	backwards := client.WentBack(n.index, m.Index)
	n.index = m.Index

	r.mu.Lock()
	defer r.mu.Unlock()
	r.namesIndex = m.Index
	most := 2*len(missing) > r.truth.Len()
	switch {
	case backwards:
		r.era++
		n.holdLocked(now, "consul lost its history", len(missing))
	case most && n.doubtful:
		n.holdLocked(now, "consul came back without most services", len(missing))
	case most && len(missing) >= 3:
		n.holdLocked(now, "most services vanished at once", len(missing))
	}
	n.doubtful = false
	if r.doubt.open(now) {
		for _, name := range missing {
			n.held[name] = true
		}
		missing = nil
	} else if len(n.held) > 0 {
		r.log.Warn("services did not come back and are given up", "services", len(n.held))
		for name := range n.held {
			missing = append(missing, name)
		}
		clear(n.held)
	}
	added = slices.DeleteFunc(added, func(name string) bool { return !r.exposes(name) }) // any more
	put := make([]*resolver.Service, len(added))
	for i, name := range added {
		put[i] = &resolver.Service{Name: name, Index: m.Index}
	}
	r.unfollowLocked(missing)
	r.publishLocked(put, missing)
	for _, name := range added {
		r.followClaimantLocked(name)
	}
	if n.moved {
		r.sweeper.namesMovedLocked(len(added)+len(missing) > 0)
	}
	if r.status.Ready { // else they are all new
		r.tellNamesLocked(now, "service came", added)
		r.tellNamesLocked(now, "service went", missing)
	}
	n.contactLocked(now, m)
}

// tellNamesLocked logs that services are there, or are not any more. r.mu is held.
func (r *Resolver) tellNamesLocked(now time.Time, event string, names []string) {
	for _, name := range names {
		r.sayLocked(now, hclog.Info, event, "service", name)
	}
}

// holdLocked opens the window in which losses are disbelieved. r.mu is held.
func (n *nameWatch) holdLocked(now time.Time, why string, missing int) {
	r := n.r
	if r.cfg.EmptyHold == 0 || r.truth.Len() == 0 {
		return
	}
	if !r.doubt.open(now) {
		r.log.Warn("keeping the last known services", "why", why, "missing", missing,
			"services", r.truth.Len(), "hold_ms", r.cfg.EmptyHold.Milliseconds())
	}
	r.doubt = window{until: now.Add(r.cfg.EmptyHold), why: why}
}

// contactLocked notes a good answer. r.mu is held.
func (n *nameWatch) contactLocked(now time.Time, m meta) {
	r := n.r
	s := &r.status
	s.Ready, s.Snapshot, s.Partial = true, false, ""
	r.left = n.left.String()
	r.rightLocked(now)
	kind := client.TroubleOf(m, nil)
	if m.Filtered {
		s.Error, s.ErrorTime, s.Partial = string(kind), now, string(kind)
	} else {
		s.Error = ""
	}
	r.freshenLocked()
	if r.down != nil {
		close(r.down)
		r.down = nil
		r.sweeper.markAllLocked(0)
	}
	n.noteLocked(kind, "")
}

// failed notes that Consul did not answer.
func (n *nameWatch) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r := n.r
	r.mu.Lock()
	defer r.mu.Unlock()
	n.doubtful = true
	r.status.Error, r.status.ErrorTime = err.Error(), time.Now()
	if r.down == nil {
		r.down = make(chan struct{})
	}
	n.noteLocked(client.TroubleOf(meta{}, err), err.Error())
}

// noteLocked logs what changed between lictor and Consul. r.mu is held.
func (n *nameWatch) noteLocked(kind client.Trouble, text string) {
	if kind == n.trouble {
		return
	}
	n.trouble = kind
	services := n.r.truth.Len()
	switch kind {
	case client.None:
		n.r.log.Info("consul answers again", "services", services)
	case client.Away:
		n.r.log.Warn("consul does not answer, keeping the last known services", "services", services, "error", text)
	case client.Denied:
		n.r.log.Error("consul refuses to list its services, keeping the last known ones", "services", services, "error", text)
	case client.Filtered:
		n.r.log.Error("consul's ACLs hide services, keeping the known ones", "services", services)
	}
}

// catalog returns what is true, past MaxStale as well.
func (r *Resolver) catalog() *resolver.Catalog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.truth
}

// waitContact returns when Consul answers, spread so that not every watch
// comes back in the same moment.
func (r *Resolver) waitContact(ctx context.Context) error {
	r.mu.Lock()
	down, watched := r.down, r.watched
	r.mu.Unlock()
	if down == nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-down:
			return pace.Sleep(ctx, rand.N(time.Duration(watched)*returnShare+1)) // spreads load, guards nothing
		case <-time.After(pace.Jitter(namesPatience)):
			if !r.cfg.Client.Contact.Down() {
				return nil // it is the names alone that cannot be read
			}
		}
	}
}

// namesPatience is how long a watch that failed waits for the list of names,
// which comes first after an outage.
const namesPatience = 15 * time.Second
