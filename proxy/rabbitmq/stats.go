package rabbitmq

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Stats are the bus's numbers for metrics and status. The counters only grow.
type Stats struct {
	Connected bool
	Blocked   bool // the broker accepts no messages now
	InFlight  int  // requests that wait for an answer
	Exchanges int  // that are known, the absent ones too

	Replies  uint64 // requests that were answered
	Refused  uint64 // requests that found no exchange, queue or broker (503)
	Timeouts uint64 // requests without an answer in time
	Lost     uint64 // requests whose answer was lost with a channel or the connection
	Late     uint64 // answers dropped because nobody waited for them any more
	Connects uint64
	Closed   uint64 // channels that the broker closed on a message it refused
	Again    uint64 // messages that were published again, since they stood behind such a one
	Pending  bool   // the connection is not by the URL of the last Update yet
	Scarce   bool   // channels are fewer than exchanges in use
	Channels int    // that lanes may have

	Error string // the last failure of the connection, "" while it is up
}

type counters struct {
	replies, refused, timeouts, lost, late, connects, channelCloses, again atomic.Uint64

	mu  sync.Mutex
	err string
}

// count counts one call by its outcome.
func (s *counters) count(err error) {
	if err == nil {
		s.replies.Add(1)
		return
	}
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case 503:
			s.refused.Add(1)
		case 504:
			s.timeouts.Add(1)
		case 502:
			s.lost.Add(1)
		}
	}
}

func (s *counters) connected() {
	s.connects.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = ""
}

func (s *counters) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err.Error()
}

// Stats returns the numbers as they are now.
func (b *Bus) Stats() Stats {
	s := &b.stats
	stats := Stats{
		Replies: s.replies.Load(), Refused: s.refused.Load(), Timeouts: s.timeouts.Load(),
		Lost: s.lost.Load(), Late: s.late.Load(), Connects: s.connects.Load(),
		Closed: s.channelCloses.Load(), Again: s.again.Load(),
	}
	s.mu.Lock()
	stats.Error = s.err
	s.mu.Unlock()
	if l := b.link.Load(); l != nil {
		stats.Connected, stats.Blocked, stats.InFlight = true, l.blocked.Load(), l.table.len()
		stats.Pending = l.cfg.url.Reveal() != b.config().url.Reveal()
		stats.Scarce, stats.Channels = l.isScarce(), cap(l.rooms)
		l.mu.Lock()
		stats.Exchanges = len(l.lanes)
		l.mu.Unlock()
	}
	return stats
}
