package consul

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextIndex(t *testing.T) {
	tests := []struct{ current, next, want uint64 }{
		{0, 5, 5}, {5, 5, 5}, {5, 9, 9}, {9, 5, 0}, {0, 0, 1}, {5, 0, 0}, {1, math.MaxUint64, math.MaxUint64}, {math.MaxUint64, 7, 0},
	}
	for _, tt := range tests {
		if got := NextIndex(tt.current, tt.next); got != tt.want {
			t.Errorf("NextIndex(%d, %d) = %d, want %d", tt.current, tt.next, got, tt.want)
		}
	}
}

// TestAConsulThatDoesNotBlockIsAskedOnceASecond, whatever index it answers with.
func TestAConsulThatDoesNotBlockIsAskedOnceASecond(t *testing.T) {
	answers := map[string]func(asked uint64) uint64{
		"the same index": func(uint64) uint64 { return 7 },
		"no index":       func(uint64) uint64 { return 0 },
		"one that falls": func(asked uint64) uint64 { return max(asked, 1) - 1 },
	}
	for name, answer := range answers {
		synctest.Test(t, func(t *testing.T) {
			var p Pace
			index, n := uint64(0), 0
			for end := time.Now().Add(time.Minute); time.Now().Before(end); n++ {
				next := answer(index)
				time.Sleep(time.Millisecond + p.After(index, next, time.Millisecond, time.Minute))
				index = NextIndex(index, next)
			}
			if n > 70 {
				t.Errorf("%s: asked %d times in a minute", name, n)
			}
		})
	}
}

func TestAConsulThatBlocksIsNotPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pace
		for i := range 100 {
			if d := p.After(7, 7, 40*time.Second, time.Minute); d != 0 {
				t.Fatalf("answer %d after a full wait is held for %v", i, d)
			}
			if d := p.After(uint64(i+1), uint64(i+2), time.Millisecond, time.Minute); d != 0 {
				t.Fatalf("news %d are held for %v", i, d)
			}
		}
	})
}

// TestWhoIsWokenInVainHeedsTheOthersLessAndLess: a query that fails by itself
// is not repeated each time that another client is answered.
func TestWhoIsWokenInVainHeedsTheOthersLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := NewContact(), 0
		var b Backoff
		go func() {
			for range 60_000 { // another client is answered all the time
				time.Sleep(time.Millisecond)
				c.Heard()
			}
		}()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); n++ {
			c.Failed()
			if err := b.Wait(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if n > 30 { // by chance 10 to 21; each time that the other is answered would be 60,000
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

// failed returns the backoff of who failed ten times.
func failed(most time.Duration) Backoff {
	b := Backoff{Most: most}
	for range 10 {
		b.Next()
	}
	return b
}

func TestBackoff(t *testing.T) {
	var b Backoff
	var total time.Duration
	for n := range 100 {
		d := b.Next()
		total += d
		if d < 250*time.Millisecond || d > 30*time.Second {
			t.Errorf("delay %d is %v, want 0.25 s to 30 s", n+1, d)
		}
		if n == 0 && d > 500*time.Millisecond {
			t.Errorf("the first delay is %v", d)
		}
	}
	if total < 100*15*time.Second/2 {
		t.Errorf("100 failures in %v: it does not grow", total)
	}
}

func TestBucket(t *testing.T) {
	now := time.Now()
	b := Bucket{Burst: 3, Every: time.Second}
	for n := range 3 {
		if d := b.Take(now); d != 0 {
			t.Errorf("query %d of the burst waits %v", n+1, d)
		}
	}
	for n := range 5 {
		d := b.Take(now)
		if d != time.Second {
			t.Errorf("query %d past the burst waits %v, want 1s", n+1, d)
		}
		now = now.Add(d)
	}
	now = now.Add(time.Hour)
	if d := b.Take(now); d != 0 {
		t.Errorf("after an hour it still waits %v", d)
	}
}
