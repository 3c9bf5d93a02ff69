package consul

import (
	"cmp"
	"context"
	"time"

	"lictor/internal/pace"
)

// NextIndex applies Consul's rules: an index that went backwards means that the
// servers lost history, so start over; an index of 0 would not block, so use 1.
func NextIndex(current, next uint64) uint64 {
	if WentBack(current, next) {
		return 0
	}
	return max(next, 1)
}

// mostPause is the longest pause behind a failure.
const mostPause = 30 * time.Second

// Backoff is the growing pause between failures: 0.25 s to 30 s, with jitter so
// that many clients of one Consul do not come back together. The zero value is
// ready.
type Backoff struct {
	Most time.Duration // the longest pause; 0 = 30 s

	growing pace.Backoff
	woken   int // failures right after the contact woke us
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.growing.First, b.growing.Most = time.Second/3, cmp.Or(b.Most, mostPause)
	return b.growing.Next()
}

// Reset notes a success.
func (b *Backoff) Reset() { *b = Backoff{Most: b.Most} }

// Wait pauses after a failure: until somebody hears Consul again or it is asked
// as somebody else, but no longer than the backoff says. Who is woken and fails
// again has a trouble of its own, so each time it heeds the others later. It
// fails only if ctx ends.
func (b *Backoff) Wait(ctx context.Context, c *Contact) error {
	d, heard, other := b.Next(), c.waiting(), c.renewal()
	deaf := time.Duration(0)
	if b.woken > 0 {
		deaf = pace.Jitter(min(cmp.Or(b.Most, mostPause), 250*time.Millisecond<<min(b.woken-1, 7)))
		d = max(d, deaf) // which began anew when we were woken
	}
	if err := pace.Sleep(ctx, deaf); err != nil {
		return err
	}
	t := time.NewTimer(d - deaf)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-heard:
	case <-other:
	case <-t.C:
		return nil
	}
	b.woken++
	b.growing.Reset()
	return nil
}

// Pace bounds how often Consul is asked when it answers without anything new:
// a proxy in front of it may not let queries block, and a lie may say anything.
// The zero value is ready.
type Pace struct{ bucket Bucket }

// idlePace is what answers without news may cost: a few in a row, as at the
// end of a wait that was nearly over, then one a second.
var idlePace = Bucket{Burst: 8, Every: time.Second}

// After returns how long to wait before the next query, behind an answer with
// the index next to one that was asked with index and might have taken wait.
func (p *Pace) After(index, next uint64, took, wait time.Duration) time.Duration {
	if next > index && index > 0 || took >= wait/2 {
		return 0
	}
	if p.bucket.Every == 0 {
		p.bucket = idlePace
	}
	return p.bucket.Take(time.Now())
}

// Bucket paces what succeeds: Burst answers may be taken at once, then one per
// Every. So a single change passes without delay and a storm of them does not
// keep lictor and Consul busy.
//
// Burst 0 lets each wait for Every. The zero Bucket is not ready: Every is required.
type Bucket struct {
	Burst int
	Every time.Duration
	Most  int // what may be owed at a time, so that no wait is longer than Most-Burst times Every; 0 = without bound

	used float64
	at   time.Time
}

// Take takes one and returns how long to wait before the next one.
func (b *Bucket) Take(now time.Time) time.Duration { return b.Spend(now, 1) }

// Spend takes as many as something costs; 0 only returns how long to wait.
func (b *Bucket) Spend(now time.Time, cost float64) time.Duration {
	if !b.at.IsZero() {
		b.used = max(0, b.used-float64(now.Sub(b.at))/float64(b.Every))
	}
	b.used += cost
	if b.Most > 0 {
		b.used = min(b.used, float64(b.Most))
	}
	b.at = now
	over := b.used - float64(b.Burst)
	if over <= 0 {
		return 0
	}
	return time.Duration(over * float64(b.Every))
}

// Untake gives one back that was not used after all.
func (b *Bucket) Untake() { b.used-- }
