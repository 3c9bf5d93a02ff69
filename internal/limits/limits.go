// Package limits counts how often a bound was met, for the metric
// lictor_limits_hit_total.
package limits

import (
	"maps"
	"sync"
)

var (
	mu     sync.Mutex
	counts = map[string]uint64{}
)

// Hit counts that the bound was met. Its name is one of a few fixed texts, that
// of the option where there is one.
func Hit(limit string) {
	mu.Lock()
	defer mu.Unlock()
	counts[limit]++
}

// Counts returns how often each bound was met so far.
func Counts() map[string]uint64 {
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(counts)
}
