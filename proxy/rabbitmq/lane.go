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

// laneKey names a lane. An exchange has two of them: messages of a kind that
// the broker has refused before are published on one of their own.
type laneKey struct {
	exchange string
	suspect  bool
}

// lane is what is known of one exchange: that it is absent, or a publish
// channel of its own.
type lane struct {
	laneKey
	ready  chan struct{} // closed when the check is over; err and ch are set before
	err    *Error        // why nothing can be published
	ch     *amqp.Channel
	opened time.Time    // ready was closed
	until  atomic.Int64 // the check is believed until then, Unix nanoseconds
	users  atomic.Int32 // calls that acquired the lane and are not confirmed; grows only under link.mu

	leaving atomic.Bool   // retired: it ends once nobody uses it
	ended   sync.Once     // closes quit
	quit    chan struct{} // closed when the channel is to be closed

	mu      sync.Mutex
	pending []pending // published and not confirmed, oldest first
	tag     uint64    // delivery tag of the newest
	proven  bool      // the broker took a message on this channel
}

type pending struct {
	tag uint64
	c   *call
}

func newLane(exchange string) *lane {
	return &lane{laneKey: laneKey{exchange: exchange}, ready: make(chan struct{}), quit: make(chan struct{})}
}

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

// leave counts one user less.
func (n *lane) leave() {
	n.users.Add(-1)
	n.settle()
}

// settle ends a lane that was retired once its last user has left.
func (n *lane) settle() {
	if n.leaving.Load() && n.users.Load() == 0 {
		n.ended.Do(func() { close(n.quit) })
	}
}

// push enters a call that is about to be published.
func (n *lane) push(c *call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tag++
	n.pending = append(n.pending, pending{n.tag, c})
}

// unpush undoes push: the library did not publish the call. It reports false
// if the call is not there any more, since the lane was drained.
func (n *lane) unpush(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.pending) - 1
	if last < 0 || n.pending[last].c != c {
		return false
	}
	n.pending = n.pending[:last]
	n.tag--
	return true
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
			n.proven = true
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

// place returns the lane that c is to be published on, in which c is counted as
// a user; wait for ready. What the broker has refused a moment ago is refused at once.
func (l *link) place(c *call) (*lane, *Error) {
	suspect, failure := l.bus.suspicions.judge(c, time.Now())
	if failure != nil {
		return nil, failure
	}
	return l.acquire(laneKey{c.exchange, suspect})
}

// acquire returns a lane, in which the caller is counted as a user. Unknown and
// outdated exchanges are checked first; wait for ready.
func (l *link) acquire(key laneKey) (*lane, *Error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, unreachable(errNotConnected)
	}
	n := l.lanes[key]
	if n == nil || n.stale(now) {
		if n != nil {
			l.retire(n)
		} else if len(l.lanes) >= l.cfg.MaxExchanges && !l.evict() {
			return nil, overloaded("too many exchanges of the bus are in use")
		}
		n = newLane(key.exchange)
		n.laneKey = key
		l.lanes[key] = n
		sure := key.suspect || now.Before(l.seen[key.exchange])
		l.start("bus exchange", func() { l.check(n, sure) })
	}
	n.users.Add(1)
	return n, nil
}

// retire forgets a lane, which ends once nobody uses it. l.mu is held.
func (l *link) retire(n *lane) {
	if l.lanes[n.laneKey] == n {
		delete(l.lanes, n.laneKey)
	}
	n.leaving.Store(true)
	n.settle()
}

// forget has later calls find another lane than n, whose channel is closed.
func (l *link) forget(n *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[n.laneKey] == n {
		delete(l.lanes, n.laneKey)
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
	for exchange, until := range l.seen {
		if now.After(until) {
			delete(l.seen, exchange)
		}
	}
}

// check makes the lane ready: it asks the broker for the exchange, on a channel
// that dies of the answer no and becomes the lane's on a yes. sure says that the
// exchange is known to be there.
func (l *link) check(n *lane, sure bool) {
	var ch *amqp.Channel
	var failure *Error
	if !sure {
		ch, failure = l.ask(n)
	}
	if failure == nil {
		failure = l.openLane(n, ch)
	}
	n.err, n.opened = failure, time.Now()
	close(n.ready)
}

// ask returns a channel on which the broker said that the exchange is there.
// Only few ask at a time, and not on the channels of the lanes, so that a flood
// of names that do not exist neither uses up the channels nor ends a lane.
func (l *link) ask(n *lane) (*amqp.Channel, *Error) {
	select {
	case l.checks <- struct{}{}:
		defer func() { <-l.checks }()
	case <-l.dead:
		return nil, unreachable(errNotConnected)
	}
	defer l.watch("asking for an exchange")()
	ch, err := l.openChannel()
	if err == nil {
		err = ch.ExchangeDeclarePassive(n.exchange, "topic", false, false, false, false, nil) // the kind is not looked at
	}
	if err == nil {
		if failure := l.awaitRoom(); failure != nil {
			l.closeChannel(ch)
			return nil, failure
		}
		return ch, nil
	}
	if ch != nil {
		l.closeChannel(ch)
	}
	n.believe(believeAbsent)
	switch {
	case hasCode(err, amqp.NotFound):
		return nil, unknownExchange(n.exchange, err)
	case hasCode(err, amqp.AccessRefused):
		return nil, mayNotAsk(err)
	}
	n.believe(0)
	return nil, unreachable(fmt.Errorf("cannot ask for the exchange: %w", err))
}

// openLane makes ch the channel of the lane, which has room already, or opens
// one if there is none.
func (l *link) openLane(n *lane, ch *amqp.Channel) *Error {
	if ch == nil {
		if failure := l.awaitRoom(); failure != nil {
			return failure
		}
	}
	defer l.watch("opening a channel")()
	var err error
	if ch == nil {
		ch, err = l.openChannel()
	}
	if err == nil {
		if err = l.prepare(n, ch); err == nil {
			n.believe(believePresent)
			return nil
		}
		return unreachable(fmt.Errorf("cannot open a channel: %w", err)) // its follower gives the room back
	}
	<-l.rooms
	return unreachable(fmt.Errorf("cannot open a channel: %w", err))
}

// prepare makes ch the lane's publish channel.
func (l *link) prepare(n *lane, ch *amqp.Channel) error {
	n.ch = ch
	events := laneEvents{
		returns:  ch.NotifyReturn(make(chan amqp.Return, 16)),
		confirms: ch.NotifyPublish(make(chan amqp.Confirmation, 64)),
		closes:   ch.NotifyClose(make(chan *amqp.Error, 1)),
	}
	l.start("bus lane", func() { l.followLane(n, events) })
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
	quit := n.quit
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
		case <-quit:
			quit = nil
			l.start("bus lane", func() {
				defer l.watch("closing a channel")()
				_ = n.ch.Close() // if it fails, it is closed already
			})
		}
	}
	l.channels.Add(-1)
	l.laneClosed(n, <-events.closes)
	if n != l.home {
		l.awaitCount()
		<-l.rooms
	}
}

// confirm notes that the broker took a message, or that it did not.
func (l *link) confirm(n *lane, confirm amqp.Confirmation) {
	c := n.pop(confirm.DeliveryTag)
	n.settle()
	if c == nil {
		return
	}
	if confirm.Ack {
		if n.suspect {
			l.bus.suspicions.acquit(c)
		}
		c.stage.Store(confirmed)
		n.believe(believePresent)
	} else if l.table.take(c.id) != nil {
		c.fail(refused(errors.New("the broker did not take the message (nack)"), true))
	}
	c.msg.Headers, c.msg.Body = nil, nil // it is published once only
}

func unknownExchange(name string, err error) *Error {
	return &Error{Status: 503, Reason: "unknown_service", RetryAfter: true, Err: fmt.Errorf("no exchange %q: %w", name, err)}
}

func mayNotAsk(err error) *Error {
	e := refused(fmt.Errorf("cannot ask for the exchange: %w", err), true)
	e.Message = "The bus does not allow this service"
	return e
}

// refused is a message that the broker did not take, though the bus is well.
func refused(err error, repeatable bool) *Error {
	return &Error{Status: 503, Reason: "unreachable", RetryAfter: repeatable, Err: err, Message: "The bus refused the message"}
}

func hasCode(err error, code int) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Code == code
}
