//go:build !race

package policy_test

import (
	"testing"
	"time"

	"lictor/policy"
)

// TestManyEntriesCostLittle compares decisions with no and with 100,000 entries
// by the best of many short runs, which a busy machine disturbs least.
func TestManyEntriesCostLittle(t *testing.T) {
	var runs [2]func()
	for i, n := range [...]int{0, 100_000} {
		_, set := newStore(t, policy.Options{}, big(n, 100, 1000, 1000)...)
		_, runs[i] = busy(t, set)
	}
	best := [2]time.Duration{time.Hour, time.Hour}
	for range 200 {
		for i, run := range runs {
			began := time.Now()
			for range 200 {
				run()
			}
			best[i] = min(best[i], time.Since(began)/200)
		}
	}
	t.Logf("%s without entries, %s with 100,000", best[0], best[1])
	if float64(best[1]) > 2*float64(best[0]) {
		t.Errorf("%s without entries, %s with 100,000, want at most 1.3 times (2 on a busy machine)", best[0], best[1])
	}
}
