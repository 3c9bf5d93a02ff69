package rabbitmq

import (
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// call is one request on its way. Whoever takes it out of the table, and only
// they, sends its outcome.
type call struct {
	id       string
	exchange string
	key      string
	msg      amqp.Publishing
	size     int // of the header frame, at most
	deadline time.Time
	probe    bool         // of the link itself: it has a place of its own in the table
	lane     *lane        // set before it is queued
	stage    atomic.Int32 // how far it got
	done     chan outcome // has room for the one outcome
}

// Stages of a call.
const (
	queued    int32 = iota // nothing was sent
	abandoned              // and nothing will be
	published              // the broker may have it
	confirmed              // the broker has it
)

type outcome struct {
	reply *amqp.Delivery
	err   *Error
}

func (c *call) fail(err *Error) { c.done <- outcome{err: err} }

// table holds the calls that wait for an answer, by correlation id. A service
// that nobody works for must not refuse the others, so one exchange gets half
// of the places at most. Probes take no place: whether requests wait says
// nothing of the broker.
type table struct {
	mu     sync.Mutex
	calls  map[string]*call // nil once the table is closed
	limit  int              // of places
	places map[string]int   // that are taken, by exchange
	taken  int              // the sum of places
}

func newTable(limit int) *table {
	return &table{calls: make(map[string]*call), places: make(map[string]int), limit: limit}
}

// add enters c, unless the table is closed or has no place for c's exchange.
func (t *table) add(c *call) *Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.calls == nil:
		return unreachable(errNotConnected)
	case c.probe:
	case t.taken >= t.limit:
		return overloaded("too many requests wait for answers of the bus")
	case t.places[c.exchange] >= t.most():
		return overloaded("too many requests wait for answers of this service")
	default:
		t.places[c.exchange]++
		t.taken++
	}
	t.calls[c.id] = c
	return nil
}

// most is how many places one exchange may take: half, but of a few places not
// so few that it could do nothing.
func (t *table) most() int { return max(t.limit/2, min(t.limit, 8)) }

// take removes and returns the call with that id; nil if there is none.
func (t *table) take(id string) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[id]
	if c != nil {
		t.remove(c)
	}
	return c
}

// has reports whether c still waits.
func (t *table) has(c *call) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls[c.id] == c
}

// remove frees c's place. t.mu is held.
func (t *table) remove(c *call) {
	delete(t.calls, c.id)
	if c.probe {
		return
	}
	t.taken--
	if t.places[c.exchange]--; t.places[c.exchange] == 0 {
		delete(t.places, c.exchange)
	}
}

// takeStage removes and returns the calls that are in that stage.
func (t *table) takeStage(stage int32) []*call {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*call
	for _, c := range t.calls {
		if c.stage.Load() == stage {
			t.remove(c)
			found = append(found, c)
		}
	}
	return found
}

// close removes and returns all calls; none can be added any more.
func (t *table) close() map[string]*call {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.calls
	t.calls, t.places, t.taken = nil, nil, 0
	return all
}

// len is how many requests wait, without probes.
func (t *table) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken
}
