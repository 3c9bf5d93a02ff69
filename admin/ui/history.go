package ui

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Traffic is how many requests there were so far: answered ones by status class
// ("2xx"), refused ones by reason.
type Traffic struct {
	Answered map[string]float64
	Refused  map[string]float64
	Egress   map[string]float64 // those of Refused that the egress refused
}

// What the chart of traffic shows: the last 15 minutes.
const (
	noteEvery = 10 * time.Second
	kept      = 90
)

// history is the traffic of a while. The zero value is ready to use.
type history struct {
	mu   sync.Mutex // guards what follows
	last *Traffic   // nil: nothing was noted yet
	ring [kept]step
	next int // where the next one goes
}

// step is the traffic between two notes.
type step struct {
	end time.Time // zero = there is none
	Traffic
}

// note adds what came since the last note.
func (h *history) note(now Traffic, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil {
		h.ring[h.next] = step{at, Traffic{Answered: since(h.last.Answered, now.Answered), Refused: since(h.last.Refused, now.Refused)}}
		h.next = (h.next + 1) % kept
	}
	h.last = &now
}

// since returns what was counted between two readings of counters. One that went
// back lost series of what is gone.
func since(before, now map[string]float64) map[string]float64 {
	more := make(map[string]float64)
	for name, n := range now {
		if n > before[name] {
			more[name] = n - before[name]
		}
	}
	return more
}

// steps returns what was noted, the oldest first.
func (h *history) steps() []step {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Concat(h.ring[h.next:], h.ring[:h.next])
	return slices.DeleteFunc(all, func(s step) bool { return s.end.IsZero() })
}

// sum adds up one side of all steps, and names what occurs, the most frequent first.
func sum(steps []step, side func(step) map[string]float64) (total map[string]float64, names []string) {
	total = make(map[string]float64)
	for _, s := range steps {
		for name, n := range side(s) {
			total[name] += n
		}
	}
	names = slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		if total[a] != total[b] {
			return int(max(-1, min(1, total[b]-total[a])))
		}
		if a < b {
			return -1
		}
		return 1
	})
	return total, names
}
