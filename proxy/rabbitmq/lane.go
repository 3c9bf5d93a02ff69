package rabbitmq

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// How long the broker's word about an exchange is believed. A confirmed
// message proves a present exchange anew, so a busy one is never asked about.
const (
	believePresent = 5 * time.Second
	believeAbsent  = 2 * time.Second
)

// lane is what is known of one exchange: that it is absent, or a publish
// channel of its own.
type lane struct {
	exchange string
	ready    chan struct{} // closed when the check is over; err and ch are set before
	err      *Error        // why nothing can be published
	ch       *amqp.Channel
	until    atomic.Int64 // the check is believed until then, Unix nanoseconds
	users    atomic.Int32 // calls that acquired the lane and are not confirmed; grows only under link.mu

	mu      sync.Mutex
	pending []pending // published and not confirmed, oldest first
	tag     uint64    // delivery tag of the newest
}

type pending struct {
	tag uint64
	c   *call
}

func newLane(exchange string) *lane { return &lane{exchange: exchange, ready: make(chan struct{})} }

func (n *lane) believe(d time.Duration) { n.until.Store(time.Now().Add(d).UnixNano()) }

// checked reports whether the check is over.
func (n *lane) checked() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// stale reports whether the lane may and should be replaced.
func (n *lane) stale(now time.Time) bool {
	return n.checked() && now.UnixNano() > n.until.Load() && n.users.Load() == 0
}

// push enters a call that is about to be published.
func (n *lane) push(c *call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tag++
	n.pending = append(n.pending, pending{n.tag, c})
}

// unpush undoes push: the library did not publish the call.
func (n *lane) unpush(c *call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := len(n.pending) - 1; last >= 0 && n.pending[last].c == c {
		n.pending = n.pending[:last]
		n.tag--
	}
}

// pop removes the call with that delivery tag; nil if there is none. The
// library reports tags in order.
func (n *lane) pop(tag uint64) *call {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.pending) > 0 && n.pending[0].tag <= tag {
		p := n.pending[0]
		n.pending[0] = pending{}
		n.pending = n.pending[1:]
		n.users.Add(-1)
		if p.tag == tag {
			return p.c
		}
	}
	return nil
}

// drain removes and returns all calls.
func (n *lane) drain() []*call {
	n.mu.Lock()
	defer n.mu.Unlock()
	var calls []*call
	for _, p := range n.pending {
		calls = append(calls, p.c)
	}
	n.pending = nil
	return calls
}

// acquire returns the lane of an exchange, in which the caller is counted as a
// user. Unknown and outdated exchanges are checked first; wait for ready.
func (l *link) acquire(exchange string) (*lane, *Error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, unreachable(errNotConnected)
	}
	n := l.lanes[exchange]
	if n == nil || n.stale(now) {
		if n != nil {
			l.retire(n)
		} else if len(l.lanes) >= l.bus.cfg.MaxExchanges && !l.evict() {
			return nil, unreachable(errors.New("too many exchanges in use"))
		}
		n = newLane(exchange)
		l.lanes[exchange] = n
		l.work.Go(func() { l.check(n) })
	}
	n.users.Add(1)
	return n, nil
}

// retire forgets a lane that nobody uses. l.mu is held.
func (l *link) retire(n *lane) {
	delete(l.lanes, n.exchange)
	if n.err == nil && !l.over {
		l.work.Go(func() {
			defer l.watch("closing a channel")()
			_ = n.ch.Close() // if it fails, it is closed already
		})
	}
}

// evict makes room for one exchange: an absent one goes first. l.mu is held.
func (l *link) evict() bool {
	var idle *lane
	for _, n := range l.lanes {
		if !n.checked() || n.users.Load() > 0 && n.err == nil {
			continue
		}
		if idle = n; n.err != nil {
			break
		}
	}
	if idle != nil {
		l.retire(idle)
	}
	return idle != nil
}

// sweep closes lanes that have been idle for long.
func (l *link) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.lanes {
		if n.stale(now) {
			l.retire(n)
		}
	}
}

// check asks the broker for the lane's exchange, on a channel that dies of the
// answer no and becomes the lane's on a yes. Only few checks run at a time, so
// a flood of names that do not exist cannot use up the channels.
func (l *link) check(n *lane) {
	defer close(n.ready)
	select {
	case l.checks <- struct{}{}:
		defer func() { <-l.checks }()
	case <-l.dead:
		n.err = unreachable(errNotConnected)
		return
	}
	defer l.watch("asking for an exchange")()
	ch, err := l.conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclarePassive(n.exchange, "topic", false, false, false, false, nil) // the kind is not looked at
	}
	if err == nil {
		err = l.prepare(n, ch)
	}
	if err == nil {
		n.believe(believePresent)
		return
	}
	if hasCode(err, amqp.NotFound) {
		n.err = unknownExchange(n.exchange, err)
		n.believe(believeAbsent)
		return
	}
	n.err = unreachable(fmt.Errorf("cannot ask for the exchange: %w", err))
	if ch != nil {
		_ = ch.Close() // may be closed already
	}
}

// prepare makes ch the lane's publish channel.
func (l *link) prepare(n *lane, ch *amqp.Channel) error {
	n.ch = ch
	events := laneEvents{
		returns:  ch.NotifyReturn(make(chan amqp.Return, 16)),
		confirms: ch.NotifyPublish(make(chan amqp.Confirmation, 64)),
		closes:   ch.NotifyClose(make(chan *amqp.Error, 1)),
	}
	l.work.Go(func() { l.followLane(n, events) })
	return ch.Confirm(false)
}

// laneEvents come from the library, which closes them with the channel.
type laneEvents struct {
	returns  chan amqp.Return
	confirms chan amqp.Confirmation
	closes   chan *amqp.Error
}

// followLane takes in what the broker says of the lane's messages until the
// lane's channel is closed. A return may come after the message's confirm.
func (l *link) followLane(n *lane, events laneEvents) {
	for events.confirms != nil || events.returns != nil {
		select {
		case r, ok := <-events.returns:
			if !ok {
				events.returns = nil
				break
			}
			if c := l.table.take(r.CorrelationId); c != nil {
				c.fail(&Error{Status: 503, Reason: "no_healthy_instance", RetryAfter: true, Err: fmt.Errorf("no queue is bound: %d %s", r.ReplyCode, r.ReplyText)})
			}
		case confirm, ok := <-events.confirms:
			if !ok {
				events.confirms = nil
				break
			}
			l.confirm(n, confirm)
		}
	}
	l.laneClosed(n, <-events.closes)
}

// confirm notes that the broker took a message, or that it did not.
func (l *link) confirm(n *lane, confirm amqp.Confirmation) {
	c := n.pop(confirm.DeliveryTag)
	if c == nil {
		return
	}
	if confirm.Ack {
		c.stage.Store(confirmed)
		n.believe(believePresent)
	} else if l.table.take(c.id) != nil {
		c.fail(unreachable(errors.New("the broker did not take the message (nack)")))
	}
}

// laneClosed ends the calls whose messages were not confirmed when their
// channel went. If there is just one, it is the one the broker complained
// about; of several, the earlier ones may have been taken.
func (l *link) laneClosed(n *lane, cause *amqp.Error) {
	l.mu.Lock()
	if l.lanes[n.exchange] == n {
		delete(l.lanes, n.exchange)
	}
	l.mu.Unlock()
	if cause == nil || l.conn.IsClosed() {
		return // closed by us, or all of the link is over, which ends its calls
	}
	l.bus.log.Warn("the bus closed a channel", "exchange", n.exchange, "error", cause)
	calls := n.drain()
	for _, c := range calls {
		if l.table.take(c.id) == nil {
			continue
		}
		switch {
		case len(calls) > 1:
			c.fail(replyLost(cause))
		case cause.Code == amqp.NotFound:
			c.fail(unknownExchange(n.exchange, cause))
		default:
			c.fail(unreachable(cause))
		}
	}
}

func unknownExchange(name string, err error) *Error {
	return &Error{Status: 503, Reason: "unknown_service", RetryAfter: true, Err: fmt.Errorf("no exchange %q: %w", name, err)}
}

func hasCode(err error, code int) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == code
}
