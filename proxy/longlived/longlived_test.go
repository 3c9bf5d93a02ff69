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
				if cuts := c.cuts.Load(); r.Len() != 0 {
					t.Errorf("%d entries are left after %d cuts", r.Len(), cuts)
				}
			})
		})
	}
}

// While no time is over, nothing is looked at: there may be many. One that is to be cut
// sooner than all others is cut in time, and those after it in theirs.
func TestTheFirstTimeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, f := New(), new(fact)
		go r.Run(ctx, func() *policy.Set { return nil })
		var conns [3]conn
		var entries [3]*Entry
		for i, after := range []time.Duration{time.Hour, time.Minute, 2 * time.Hour} {
			entries[i] = r.Add(&conns[i], f, time.Now().Add(after))
		}
		for _, step := range []struct {
			after time.Duration
			cut   [3]bool
		}{
			{time.Minute - time.Second, [3]bool{}},
			{2 * time.Second, [3]bool{false, true, false}},
			{time.Hour, [3]bool{true, false, false}},
			{time.Hour, [3]bool{false, false, true}},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			for i, want := range step.cut {
				if got := conns[i].cuts.Load() > 0; got != want {
					t.Errorf("after %v more: entry %d is cut: %v", step.after, i, got)
				} else if want {
					entries[i].End()
					conns[i].cuts.Store(0)
				}
			}
			time.Sleep(2 * recut)
			synctest.Wait()
			if idle := r.next.Load() > int64(time.Since(r.began)+recut); !idle {
				t.Error("it looks at all of them without a reason")
			}
		}
	})
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
