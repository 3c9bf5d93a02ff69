package upstream

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// The buckets lie side by side, and what is told of one is at most an eighth off.
func TestLatencyIsAtMostAnEighthOff(t *testing.T) {
	for d := 150 * time.Microsecond; d < 2*time.Minute; d += d/50 + 1 {
		got := latencyOf(latencyBucket(d))
		if off := (got - d).Abs(); off > d/8 {
			t.Errorf("%v is told as %v", d, got)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 33 * time.Microsecond} {
		if got := latencyOf(latencyBucket(d)); got > 100*time.Microsecond {
			t.Errorf("%v is told as %v", d, got)
		}
	}
	if b := latencyBucket(1<<63 - 1); b != latencyBuckets-1 {
		t.Errorf("the longest is in bucket %d", b)
	}
	for b := 1; b < latencyBuckets; b++ {
		if latencyOf(b) <= latencyOf(b-1) || latencyBucket(latencyOf(b)) != b {
			t.Errorf("bucket %d: %v after %v, which is in bucket %d", b, latencyOf(b), latencyOf(b-1), latencyBucket(latencyOf(b)))
		}
	}
}

// The quantiles are those of a list that is sorted.
func TestQuantilesAreThoseOfTheSortedList(t *testing.T) {
	for _, n := range []int{1, 2, 3, 99, 100, 101, 5000} {
		var l latencies
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = time.Duration(rand.ExpFloat64() * float64(50*time.Millisecond)) // the load, which guards nothing
			l.note(all[i], 0)
		}
		slices.Sort(all)
		answers, p50, p99 := l.quantiles(0)
		half, most := latencyOf(latencyBucket(all[(n-1)/2])), latencyOf(latencyBucket(all[n-n/100-1]))
		if answers != uint64(n) || p50 != half || p99 != most {
			t.Errorf("of %d: %d answers, p50 %v, p99 %v, want %v and %v", n, answers, p50, p99, half, most)
		}
	}
}

// What was longer ago than two terms is forgotten, whether requests go on or not, and
// an answer that comes late changes nothing.
func TestLatencyIsForgotten(t *testing.T) {
	var l latencies
	if answers, p50, p99 := l.quantiles(0); answers != 0 || p50 != 0 || p99 != 0 {
		t.Errorf("without answers: %d, %v, %v", answers, p50, p99)
	}
	l.note(time.Second, 0)
	for term, want := range []uint64{1, 1, 0, 0} {
		if answers, _, _ := l.quantiles(int64(term) * termLength); answers != want {
			t.Errorf("in term %d there are %d answers, want %d", term, answers, want)
		}
	}
	l.note(time.Millisecond, 2*termLength)
	l.note(time.Second, 0)
	if answers, _, p99 := l.quantiles(2 * termLength); answers != 1 || p99 > 2*time.Millisecond {
		t.Errorf("in the third term: %d answers, p99 %v", answers, p99)
	}
}

// Many may count at once.
func TestLatencyCountsWhatManyNote(t *testing.T) {
	var l latencies
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				l.note(time.Millisecond, 0)
			}
		})
	}
	all.Wait()
	if answers, _, _ := l.quantiles(0); answers != 8000 {
		t.Errorf("%d answers are counted, want 8000", answers)
	}
}

func TestLatencyDoesNotAllocate(t *testing.T) {
	var l latencies
	if n := testing.AllocsPerRun(100, func() { l.note(time.Millisecond, 0) }); n != 0 {
		t.Errorf("an answer allocates %v times", n)
	}
}

func BenchmarkLatency(b *testing.B) {
	var l latencies
	for b.Loop() {
		l.note(time.Millisecond, 1)
	}
}
