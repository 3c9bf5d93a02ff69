package acme

import (
	"context"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	answerTime = 5 * time.Second // for a look, the wait for its turn included
	mostLooks  = 8               // at once
)

// lookups are looks into the storage for challenges, which anybody may cause. Those for
// the same one are shared, so that nobody who asks again and again keeps out the
// authority, which may be one of them.
type lookups struct {
	turns chan struct{}

	mu  sync.Mutex // guards all, and next of each
	all map[string]*lookup
}

// lookup is one that is under way, or waits until the one before is over.
type lookup struct {
	done  chan struct{}
	next  *lookup // for who came after this one began; nil: nobody did
	found acme.Challenge
	ok    bool
}

func newLookups() *lookups {
	return &lookups{turns: make(chan struct{}, mostLooks), all: make(map[string]*lookup)}
}

// find returns what look finds, which began after find was called. It blocks for two
// looks at most.
func (l *lookups) find(ctx context.Context, key string, look func(context.Context) (acme.Challenge, bool)) (acme.Challenge, bool) {
	own, before, mine := l.join(key)
	if mine {
		if before != nil {
			<-before.done
		}
		l.carryOut(ctx, key, own, look)
	}
	select {
	case <-own.done:
		return own.found, own.ok
	case <-ctx.Done():
		return acme.Challenge{}, false
	}
}

// join returns the look that begins from now on, the one that it waits for, if there is
// one, and whether it is the caller's to carry out.
func (l *lookups) join(key string) (own, before *lookup, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.all[key]
	switch {
	case before == nil:
		own = &lookup{done: make(chan struct{})}
		l.all[key] = own
	case before.next != nil:
		return before.next, before, false
	default:
		own = &lookup{done: make(chan struct{})}
		before.next = own
	}
	return own, before, true
}

// carryOut looks, for all who wait, whether the caller still does or not.
func (l *lookups) carryOut(ctx context.Context, key string, own *lookup, look func(context.Context) (acme.Challenge, bool)) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.all[key] = own.next; own.next == nil {
			delete(l.all, key)
		}
		close(own.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
		own.found, own.ok = look(ctx)
	case <-ctx.Done():
	}
}
