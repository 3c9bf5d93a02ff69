package longlived

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy"
	"lictor/proxy/answer"
)

type conn struct{ cuts atomic.Int32 }

func (c *conn) Cut(error) { c.cuts.Add(1) }

type fact struct {
	refused atomic.Pointer[answer.Refusal]
}

func (f *fact) Recheck() answer.Refusal {
	if r := f.refused.Load(); r != nil {
		return *r
	}
	return answer.Refusal{}
}

func TestWhatTakesLong(t *testing.T) {
	denied := &answer.Refusal{Status: 403, Reason: "blacklist"}
	tests := []struct {
		name   string
		until  time.Duration // 0 = no limit
		happen func(*Registry, *fact)
		within time.Duration
		cause  error
	}{
		{"runs on for as long as nothing forbids it", 0, func(*Registry, *fact) {}, time.Hour, nil},
		{"is cut when a change of the policy is told", 0, func(r *Registry, f *fact) { f.refused.Store(denied); r.Changed() }, recut, ErrRevoked},
		{"is cut when its credential ran out, which nobody tells", 0, func(_ *Registry, f *fact) { f.refused.Store(denied) }, recheckEvery + recut, ErrRevoked},
		{"is cut when its time is over", time.Minute, func(*Registry, *fact) {}, time.Minute + 2*recut, ErrTooLong},
		{"is not cut before", time.Minute, func(*Registry, *fact) {}, time.Minute - recut, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, c, f, until := New(), new(conn), new(fact), time.Time{}
				if tt.until > 0 {
					until = time.Now().Add(tt.until)
				}
				go r.Run(ctx, func() *policy.Set { return nil })
				e := r.Add(c, f, until)
				tt.happen(r, f)
				time.Sleep(tt.within)
				synctest.Wait()
				if cut := c.cuts.Load() > 0; cut != (tt.cause != nil) {
					t.Errorf("cut is %v", cut)
				}
				refused, cause := e.End()
				if !errors.Is(cause, tt.cause) || (refused.Status == 403) != (cause == ErrRevoked) {
					t.Errorf("it ended by %v, %v", cause, refused)
				}
				if cuts := c.cuts.Load(); r.Len() != 0 || r.watched.Load() != 0 {
					t.Errorf("%d entries and %d to be watched are left after %d cuts", r.Len(), r.watched.Load(), cuts)
				}
			})
		})
	}
}

// What takes long is decided again as soon as another policy is in force, even
// if nobody tells of the change; a cut is repeated until the exchange ended.
func TestAChangeIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var set atomic.Pointer[policy.Set]
		r, c, f := New(), new(conn), new(fact)
		go r.Run(ctx, set.Load)
		synctest.Wait()
		e := r.Add(c, f, time.Time{})
		f.refused.Store(&answer.Refusal{Status: 403})
		set.Store(new(policy.Set))
		time.Sleep(5 * recut)
		synctest.Wait()
		if n := c.cuts.Load(); n < 3 {
			t.Errorf("cut %d times", n)
		}
		e.End()
		n := c.cuts.Load()
		time.Sleep(time.Minute)
		if c.cuts.Load() != n {
			t.Error("the connection was cut after the exchange had ended")
		}
	})
}
