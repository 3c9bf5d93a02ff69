// Package limits counts how often a bound was met, for the metric
// lictor_limits_hit_total.
package limits

import (
	"maps"
	"sync"
)

var (
	mu sync.Mutex
	// counts has each bound from the start: a series that begins with its first event
	// shows no increase to an alert.
	counts = map[string]uint64{
		"descriptors": 0, "forward_auth": 0, "forward_auth_cache": 0, "hold": 0, "http2_uploads": 0, "max_connections": 0, "max_connections_per_client": 0,
		"max_requests_per_instance": 0, "max_streams_per_client": 0, "sessions": 0,
	}
)

// Hit counts that the bound was met. Its name is one of the fixed texts in counts,
// that of the option where there is one.
func Hit(limit string) {
	mu.Lock()
	defer mu.Unlock()
	counts[limit]++
}

// Counts returns how often each bound was met so far, 0 for one that never was.
func Counts() map[string]uint64 {
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(counts)
}
