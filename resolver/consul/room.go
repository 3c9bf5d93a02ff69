package consul

import (
	"context"
	"time"

	client "lictor/internal/consul"
	"lictor/internal/pace"
)

// How many services have a blocking query of their own depends on what Consul speaks.
// By HTTP/2, which it does where it is reached over TLS, each is a stream, and there
// are thousands; by HTTP/1.1 each is a connection, of which an agent grants few. That
// may change at any time, for something may come to stand before the agent: then
// services that were watched are swept, or the other way round.
const (
	// maxWatches bounds what watches hold: some 11 KiB each.
	maxWatches = 10_000

	// watchShare has all watches together come back 16 times a second while nothing
	// changes, however many there are; one waits for longestWait at most, which is
	// Consul's own bound. That Consul lost its history the heartbeat finds out sooner.
	watchShare  = 60 * time.Millisecond
	longestWait = 10 * time.Minute

	// returnShare is how much time each watch leaves the others to come back in after
	// an outage.
	returnShare = 2 * time.Millisecond
)

// room returns how many services may have a watch of their own now.
func (r *Resolver) room() int {
	if streams := r.cfg.Client.Streams(); streams > 0 {
		return min(streams, maxWatches)
	}
	return r.cfg.Watches
}

// patienceLocked is how long one of the watches waits while nothing changes. r.mu is held.
func (r *Resolver) patienceLocked() time.Duration {
	return min(max(maxWait, time.Duration(r.watched)*watchShare), longestWait)
}

// wait returns how long the next answer about the service may take.
func (f *follower) wait() time.Duration {
	if f.trouble != client.None {
		return waitUntil(waitBehind(f.trouble), f.deadline)
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return waitUntil(pace.Jitter(f.r.patienceLocked()), f.deadline)
}

// allot returns the watches that are to be started: of the followers that wait for
// one, and of those that are swept, as far as there is room. The others are left to
// the sweep, and so are those that there is no room for any more.
func (r *Resolver) allot(ctx context.Context) (started []func(), overflow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.room()
	for _, f := range r.pending {
		switch {
		case r.followers[f.name] != f: // it went before it was started
		case r.watched >= room:
			overflow = true
			r.sweeper.addLocked(f)
		default:
			started = append(started, r.admitLocked(ctx, f))
		}
	}
	r.pending = nil
	for f := range r.sweeper.members {
		if r.watched >= room {
			break
		}
		if !f.busy { // else it is looked at again when it was read
			r.sweeper.removeLocked(f)
			started = append(started, r.admitLocked(ctx, f))
		}
	}
	for _, f := range r.followers {
		if r.watched-r.leaving <= room {
			break
		}
		if f.stop != nil && !f.leaves {
			f.leaves = true
			r.leaving++
			f.stop()
		}
	}
	return started, overflow
}

// admitLocked gives a follower a watch and returns what runs it: until ctx ends, the
// name goes, or there is no room for it any more. r.mu is held.
func (r *Resolver) admitLocked(ctx context.Context, f *follower) func() {
	ctx, cancel := context.WithCancel(ctx)
	r.watched++
	f.stop, f.spoke = cancel, time.Now()
	return func() {
		defer cancel()
		f.watch(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watched--
		if f.leaves {
			r.leaving--
		}
		f.stop, f.leaves = nil, false
		if r.followers[f.name] == f {
			r.pending = append(r.pending, f)
		}
		poke(r.wake)
	}
}

// resumeLocked wakes Run if a service that was read may have a watch now. r.mu is held.
func (r *Resolver) resumeLocked() {
	if len(r.sweeper.members) > 0 && r.watched < r.room() {
		poke(r.wake)
	}
}
