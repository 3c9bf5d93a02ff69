package rabbitmq

import (
	"errors"
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

// table holds the calls that wait for an answer, by correlation id.
type table struct {
	mu    sync.Mutex
	calls map[string]*call // nil once the table is closed
	limit int
}

func newTable(limit int) *table { return &table{calls: make(map[string]*call), limit: limit} }

// add enters c, unless the table is full or closed.
func (t *table) add(c *call) *Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		return unreachable(errNotConnected)
	}
	if len(t.calls) >= t.limit {
		return unreachable(errors.New("too many requests wait for answers"))
	}
	t.calls[c.id] = c
	return nil
}

// take removes and returns the call with that id; nil if there is none.
func (t *table) take(id string) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[id]
	if c != nil {
		delete(t.calls, id)
	}
	return c
}

// takeStage removes and returns the calls that are in that stage.
func (t *table) takeStage(stage int32) []*call {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*call
	for id, c := range t.calls {
		if c.stage.Load() == stage {
			delete(t.calls, id)
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
	t.calls = nil
	return all
}

func (t *table) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calls)
}
