package upstream

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies say how long the answers of one instance took of late. The zero value is
// ready to use, and may be used by any goroutine: an answer costs one atomic addition.
// There are instances that nobody asks, so that a term holds nothing before an answer.
//
// Two terms are kept, the present one and the one before, so that what is told is of
// the last five to ten minutes, and what was before is forgotten.
type latencies struct{ terms [2]atomic.Pointer[term] }

const termLength = int64(5 * time.Minute)

// term counts the answers of one term, by how long they took: four buckets to the
// doubling, so that what is told is at most an eighth off, and of what took less than
// 100 microseconds a little more.
type term struct {
	number  atomic.Int64 // since the start; the first is 0
	buckets [latencyBuckets]atomic.Uint32
}

const (
	latencyUnit    = 15 // of nanoseconds as a power of two: 33 microseconds
	latencyBuckets = 4 * 22
)

// note counts an answer that took some time and came at a moment of monotonic.
func (l *latencies) note(took time.Duration, at int64) {
	n := at / termLength
	t := l.terms[n&1].Load()
	if t == nil {
		l.terms[n&1].CompareAndSwap(nil, new(term))
		t = l.terms[n&1].Load()
	}
	if old := t.number.Load(); old != n && !t.begin(old, n) {
		return
	}
	t.buckets[latencyBucket(took)].Add(1)
}

// begin makes t the term n. It reports false where a later one has begun already.
// What others count in the moment in which it is cleared may be lost.
func (t *term) begin(old, n int64) bool {
	if old > n {
		return false
	}
	if t.number.CompareAndSwap(old, n) {
		for i := range t.buckets {
			t.buckets[i].Store(0)
		}
	}
	return true
}

// latencyBucket is the place of a duration. The last one has all that took longer.
func latencyBucket(d time.Duration) int {
	v := uint64(max(d, 0)) >> latencyUnit
	if v < 4 {
		return int(v)
	}
	shift := bits.Len64(v) - 3 // of the first three digits, of which the first is 1
	return min(4*shift+int(v>>shift), latencyBuckets-1)
}

// latencyOf is the middle of a bucket.
func latencyOf(bucket int) time.Duration {
	low, width := uint64(bucket), uint64(1)
	if bucket >= 8 {
		shift := bucket/4 - 1
		low, width = uint64(4+bucket%4)<<shift, 1<<shift
	}
	return time.Duration(low<<latencyUnit + width<<latencyUnit/2)
}

// quantiles returns how many answers there were of late, and what half of them, and
// 99 of 100, took at most. Without any all are 0.
func (l *latencies) quantiles(now int64) (answers uint64, p50, p99 time.Duration) {
	var sum [latencyBuckets]uint64
	for i := range l.terms {
		t := l.terms[i].Load()
		if t == nil || t.number.Load() < now/termLength-1 {
			continue
		}
		for b := range t.buckets {
			n := uint64(t.buckets[b].Load())
			sum[b] += n
			answers += n
		}
	}
	return answers, quantile(&sum, (answers+1)/2), quantile(&sum, answers-answers/100)
}

// quantile is what the answer took that comes at a place, from 1, in the order of
// what they took; 0 at the place 0.
func quantile(sum *[latencyBuckets]uint64, place uint64) time.Duration {
	if place == 0 {
		return 0
	}
	for b, n := range sum {
		if place <= n {
			return latencyOf(b)
		}
		place -= n
	}
	return latencyOf(latencyBuckets - 1)
}
