package upstream

import (
	"time"

	"lictor/internal/monotonic"
)

// InstanceState is what this process knows of an instance that it asked.
type InstanceState struct {
	ID, Address string
	InFlight    int
	Ejected     string    // why it gets no requests, "" = it gets some
	Since       time.Time // when it was ejected; zero = it is not

	// Of the last five to ten minutes, 0 without any answer. An answer takes from the
	// attempt to its head; one that did not come in its time took that time.
	Answers  uint64
	P50, P99 time.Duration
}

// Instances returns what is known of the instances of a service, by all sources; nil
// of one that nobody asked for. An instance that two sources know is there twice.
func (s *Sender) Instances(service string) (all []InstanceState) {
	g := (*s.groups.Load())[service]
	if g == nil {
		return nil
	}
	now := monotonic.Now()
	for site := range g.sites() {
		r := site.current.Load()
		if r == nil {
			continue
		}
		for _, m := range r.members {
			i := InstanceState{ID: m.inst.ID, Address: m.inst.Address, InFlight: int(m.inflight.Load())}
			if e := m.ejection.Load(); e != nil {
				i.Ejected, i.Since = e.Note(), e.since
			}
			i.Answers, i.P50, i.P99 = m.latencies.quantiles(now)
			all = append(all, i)
		}
	}
	return all
}
