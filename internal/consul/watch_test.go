package consul

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lictor/internal/pace"
)

// TestWatch is the conversation of a watch with Consul: field notes D5.
func TestWatch(t *testing.T) {
	steps := []struct {
		name      string
		wantIndex uint64 // what the watch asks with
		wantPause bool   // whether it waited before
		index     uint64
		err       error
	}{
		{"the first read does not block", 0, false, 10, nil},
		{"a timeout repeats the index", 10, false, 10, nil},
		{"the index moved", 10, false, 12, nil},
		{"a failure", 12, false, 0, errors.New("boom")},
		{"resets the index, after a pause", 0, true, 15, nil},
		{"the index went backwards", 15, false, 3, nil},
		{"so start over", 0, false, 3, nil},
		{"and go on", 3, false, 0, nil},
		{"an index of 0 went backwards too", 0, false, 0, nil},
		{"and would not block, so ask with 1", 1, false, 5, nil},
		{"the burst is used up", 5, false, 6, nil},
		{"so this is paced", 6, true, 7, nil},
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, last := 0, time.Now()
		w := Watch{
			Wait: func() time.Duration { return time.Minute },
			Pace: []Bucket{{Burst: 9, Every: time.Second}},
			Step: func(_ context.Context, q Query) (uint64, error) {
				s := steps[n]
				if q.Index != s.wantIndex || q.Wait != time.Minute {
					t.Errorf("%s: asks with index %d, wait %v, want index %d", s.name, q.Index, q.Wait, s.wantIndex)
				}
				if pause := time.Since(last); (pause > 0) != s.wantPause {
					t.Errorf("%s: paused %v, want a pause: %v", s.name, pause, s.wantPause)
				}
				last = time.Now()
				if n++; n == len(steps) {
					cancel()
				}
				return s.index, s.err
			},
		}
		w.Run(ctx)
		if n != len(steps) {
			t.Errorf("%d of %d steps", n, len(steps))
		}
	})
}

// TestAWatchReadsWithoutIndexNowAndThen: a watch may have missed a change.
func TestAWatchReadsWithoutIndexNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		fresh := 0
		w := Watch{
			Wait:   func() time.Duration { return time.Minute },
			Reread: 5 * time.Minute,
			Step: func(ctx context.Context, q Query) (uint64, error) {
				if q.Index == 0 {
					fresh++
					return 7, nil
				}
				return 7, pace.Sleep(ctx, q.Wait)
			},
		}
		w.Run(ctx)
		if fresh < 11 || fresh > 17 {
			t.Errorf("%d reads without an index in an hour, want one in four to five minutes", fresh)
		}
	})
}
