package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesGrowUntilASuccess(t *testing.T) {
	b := Backoff{First: time.Second, Most: 5 * time.Second}
	for range 2 {
		for n, longest := range []time.Duration{1, 2, 4, 5, 5, 5} {
			longest *= time.Second
			if d := b.Next(); d < longest*3/4 || d > longest {
				t.Errorf("pause %d is %v, want three quarters of %v to all of it", n+1, d, longest)
			}
		}
		b.Reset()
	}
}

func TestEveryCallsUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began, calls := time.Now(), 0
		Every(ctx, 3*time.Second, func(now time.Time) {
			if calls++; now.Sub(began) != time.Duration(calls)*3*time.Second {
				t.Errorf("call %d comes after %v", calls, now.Sub(began))
			}
		})
		if took := time.Since(began); calls != 3 || took != 10*time.Second {
			t.Errorf("%d calls in %v", calls, took)
		}
	})
}

func TestASleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := Sleep(ctx, time.Hour); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := Sleep(ctx, 0); err == nil {
			t.Error("no time at all is slept in a context that is over")
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		began = time.Now()
		if err := Doze(t.Context(), time.Hour, wake); err != nil || time.Since(began) != 0 {
			t.Errorf("who is woken says %v after %v", err, time.Since(began))
		}
	})
}
