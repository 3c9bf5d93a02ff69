package answer

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lictor/admin/api"
	"lictor/policy"
)

// Bounds of what is kept of requests of late.
const (
	keptRecent = 512         // the newest
	recentRate = 20          // in a second; of more a sample is kept
	recentText = 256         // bytes of a path, a host, an entry
	slowAnswer = time.Second // from the first attempt to the answer's head
)

// Recent keeps requests that an operator may want to look at: refused ones, those
// that a rule in report mode would have refused, 5xx and slow ones. The zero value is
// ready to use; nil keeps none. Any goroutine may call its methods.
type Recent struct {
	rate   perSecond
	missed atomic.Uint64

	mu   sync.Mutex // guards what follows
	ring [keptRecent]api.Recent
	next int
	all  bool // the ring is full
}

// Wants reports whether a request that is over is to be kept. Under load it says no to
// most at the cost of two loads.
func (r *Recent) Wants(status int, reason Reason, would bool, answered time.Duration, now time.Time) bool {
	if r == nil || !would && status < 500 && answered < slowAnswer && (reason == ReasonNone || reason == ClientLeft) {
		return false
	}
	if !r.rate.take(recentRate, now) {
		r.missed.Add(1)
		return false
	}
	return true
}

// Keep keeps a request, in memory of its own.
func (r *Recent) Keep(l *Line) {
	one := api.Recent{
		Time: l.Began, ID: strings.Clone(l.ID), Client: l.Client.String(), Consumer: strings.Clone(l.Consumer), Method: short(l.Method), Host: short(l.Host),
		Path: short(l.Path), Service: strings.Clone(l.Service), API: strings.Clone(l.API), Instance: strings.Clone(l.Instance), Status: l.Status,
		Reason: string(cmp.Or(l.Reason, Reason(l.Ruling.Would))), Rule: strings.Clone(l.Ruling.Rule.Key), Entry: short(l.Ruling.Rule.Entry), TookMS: l.Took.Milliseconds(),
	}
	if l.Reason == ReasonNone && l.Ruling.Mode == policy.Report {
		one.Mode = string(policy.Report)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next] = one
	r.next = (r.next + 1) % keptRecent
	r.all = r.all || r.next == 0
}

func short(text string) string {
	if len(text) > recentText {
		return strings.ToValidUTF8(text[:recentText], "") + "..."
	}
	return strings.Clone(text)
}

// List returns what is kept, the newest first. It is the caller's.
func (r *Recent) List() *api.Recents {
	list := &api.Recents{Requests: []api.Recent{}}
	if r == nil {
		return list
	}
	list.Missed = r.missed.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.next
	if r.all {
		n = keptRecent
	}
	for i := range n {
		list.Requests = append(list.Requests, r.ring[(r.next-1-i+keptRecent)%keptRecent])
	}
	return list
}
