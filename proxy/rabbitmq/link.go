package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// link is one connection to the broker, from its dial to its end, with all
// that lives and dies with it: channels, reply queue, calls in flight.
type link struct {
	bus     *Bus
	tcp     *gather // under the library's connection, to be closed over its head
	conn    *amqp.Connection
	replies string // the reply queue
	home    *lane  // to the default exchange, for probes
	table   *table
	jobs    chan *call // to the publisher
	checks  chan struct{}
	blocked atomic.Bool // the broker takes no messages, see connection.blocked

	dead     chan struct{} // closed by kill
	killOnce sync.Once
	cause    error // of kill; read after dead is closed

	mu    sync.Mutex // guards the fields below, and work.Go against work.Wait
	lanes map[string]*lane
	over  bool // stop was called: nothing new may begin
	work  sync.WaitGroup
}

func newLink(b *Bus) *link {
	return &link{
		bus:    b,
		table:  newTable(b.cfg.MaxInFlight),
		jobs:   make(chan *call, 256),
		checks: make(chan struct{}, 8),
		dead:   make(chan struct{}),
		lanes:  make(map[string]*lane),
	}
}

// kill ends the link without asking the library, which may be stuck.
func (l *link) kill(cause error) {
	l.killOnce.Do(func() {
		l.cause = cause
		close(l.dead)
		if l.tcp != nil {
			_ = l.tcp.Close()
		}
	})
}

// watch kills the link unless the function it returns is called in time.
// Every library call that waits for the broker is guarded so. A broker that
// said it is blocked does not read, and is not to blame for that.
func (l *link) watch(doing string) (done func()) {
	var over atomic.Bool
	var look func()
	look = func() {
		switch {
		case over.Load():
		case l.blocked.Load():
			time.AfterFunc(patience, look)
		default:
			l.kill(fmt.Errorf("the broker took more than %v for %s", patience, doing))
		}
	}
	t := time.AfterFunc(patience, look)
	return func() {
		over.Store(true)
		t.Stop()
	}
}

// open connects and makes everything ready for calls.
func (l *link) open(ctx context.Context) error {
	tcp, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", l.bus.address)
	if err != nil {
		return err
	}
	l.tcp = &gather{Conn: tcp}
	defer l.watch("the start of the connection")()
	defer context.AfterFunc(ctx, func() { l.kill(ctx.Err()) })()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("lictor")
	conn, err := amqp.DialConfig(l.bus.cfg.URL, amqp.Config{
		Heartbeat:  patience,
		Properties: properties,
		Dial:       func(string, string) (net.Conn, error) { return l.tcp, nil },
	})
	if err != nil {
		return err // stop closes tcp, which ends what the library started
	}
	l.conn = conn
	deliveries, err := l.listen()
	if err != nil {
		return err
	}
	l.work.Go(func() { l.collect(deliveries) })
	l.work.Go(l.publish)

	ch, err := l.conn.Channel()
	if err != nil {
		return err
	}
	l.home = newLane("")
	close(l.home.ready)
	return l.prepare(l.home, ch)
}

// listen makes the reply queue, on a channel on which nothing is published.
func (l *link) listen() (<-chan amqp.Delivery, error) {
	ch, err := l.conn.Channel()
	if err != nil {
		return nil, err
	}
	const durable, autoDelete, exclusive, noWait, autoAck, noLocal = false, true, true, false, true, false
	queue, err := ch.QueueDeclare("", durable, autoDelete, exclusive, noWait, nil)
	if err != nil {
		return nil, err
	}
	l.replies = queue.Name
	return ch.Consume(queue.Name, "", autoAck, exclusive, noLocal, noWait, nil)
}

// follow watches over an open link until it is lost or ctx ends.
func (l *link) follow(ctx context.Context) error {
	closes := l.conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := l.conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	l.work.Go(func() { l.probe(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.leave()
			return ctx.Err()
		case <-l.dead:
			return l.cause
		case err, ok := <-closes:
			if !ok {
				return errors.New("the connection is closed")
			}
			return err
		case b, ok := <-blocks:
			if ok {
				l.block(b)
			} else {
				blocks = nil
			}
		case now := <-tick.C:
			if !l.blocked.Load() { // or nobody would answer
				l.sweep(now)
			}
		}
	}
}

// leave says good-bye to the broker, which deletes the reply queue.
func (l *link) leave() {
	defer l.watch("the end of the connection")()
	_ = l.conn.CloseDeadline(time.Now().Add(time.Second)) // it is over, whatever the broker says
}

// block takes in connection.blocked and .unblocked. A message that was sent
// and not confirmed is in the broker's hands: it may be delivered later, so
// its sender is told at once, and not told to repeat it.
func (l *link) block(b amqp.Blocking) {
	l.blocked.Store(b.Active)
	if !b.Active {
		l.bus.log.Info("the bus accepts messages again", "address", l.bus.address)
		return
	}
	l.bus.log.Warn("the bus accepts no messages", "address", l.bus.address, "reason", b.Reason)
	for _, c := range l.table.takeStage(published) {
		c.fail(sentWhileBlocked())
	}
}

func sentWhileBlocked() *Error { return &Error{Status: 503, Reason: "unreachable", Err: errBlocked} }

// stop ends the link and all calls that wait on it, and returns when all that
// the link started is over.
func (l *link) stop() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.kill(errors.New("the connection is over"))
	if l.conn != nil {
		_ = l.conn.Close() // the connection under it is closed: frees whoever waits in the library
	}
	for _, c := range l.table.close() {
		if c.stage.Load() == queued {
			c.fail(unreachable(l.cause))
		} else {
			c.fail(replyLost(fmt.Errorf("the connection was lost: %w", l.cause)))
		}
	}
	l.work.Wait()
}

// call sends c and waits for its outcome, at most until limit fires.
func (l *link) call(ctx context.Context, c *call, limit <-chan time.Time) (*amqp.Delivery, error) {
	if l.blocked.Load() {
		return nil, unreachable(errBlocked)
	}
	if size := l.conn.Config.FrameSize; size > 0 && c.size > size {
		return nil, tooLarge(fmt.Errorf("the header has %d bytes, the broker takes %d", c.size, size))
	}
	n, failure := l.acquire(c.exchange)
	if failure != nil {
		return nil, failure
	}
	select {
	case <-n.ready:
	case <-limit:
		n.users.Add(-1)
		return nil, timedOut(errors.New("the broker did not say in time whether the exchange exists"))
	case <-ctx.Done():
		n.users.Add(-1)
		return nil, gone(ctx)
	}
	if n.err != nil {
		n.users.Add(-1)
		return nil, n.err
	}
	c.lane = n
	return l.send(ctx, c, limit)
}

// send queues c, whose lane is ready, and waits for its outcome.
func (l *link) send(ctx context.Context, c *call, limit <-chan time.Time) (*amqp.Delivery, error) {
	if failure := l.table.add(c); failure != nil {
		c.lane.users.Add(-1)
		return nil, failure
	}
	jobs := l.jobs
	var err error
	for {
		select {
		case jobs <- c:
			jobs = nil
			continue
		case out := <-c.done:
			if jobs != nil {
				c.lane.users.Add(-1)
			}
			if out.err != nil {
				return nil, out.err
			}
			return out.reply, nil
		case <-limit:
			err = timedOut(errNoAnswer)
		case <-ctx.Done():
			err = gone(ctx)
		}
		break
	}
	c.stage.CompareAndSwap(queued, abandoned)
	if jobs != nil {
		c.lane.users.Add(-1)
	}
	l.table.take(c.id) // if somebody was faster, their outcome is late all the same
	return nil, err
}

// gone is the error of a caller who does not wait any longer.
func gone(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timedOut(errNoAnswer)
	}
	return context.Cause(ctx)
}

// publish is the only goroutine that publishes. Calls that are there leave in
// one write, and so do those that are about to come: a few goroutines may run first.
func (l *link) publish() {
	for {
		select {
		case <-l.dead:
			return
		case c := <-l.jobs:
			done := l.watch("a message")
			l.tcp.hold()
			l.publishOne(c)
			l.publishWaiting()
			runtime.Gosched()
			l.publishWaiting()
			if err := l.tcp.release(); err != nil {
				l.kill(err)
			}
			done()
		}
	}
}

// publishWaiting publishes what waits, at most a queue full.
func (l *link) publishWaiting() {
	for range cap(l.jobs) {
		select {
		case c := <-l.jobs:
			l.publishOne(c)
		default:
			return
		}
	}
}

func (l *link) publishOne(c *call) {
	left := time.Until(c.deadline).Milliseconds()
	if l.blocked.Load() || left <= 0 || !c.stage.CompareAndSwap(queued, published) {
		c.lane.users.Add(-1)
		if l.blocked.Load() && l.table.take(c.id) != nil {
			c.fail(unreachable(errBlocked))
		}
		return
	}
	c.msg.ReplyTo = l.replies
	c.msg.Expiration = strconv.FormatInt(left, 10)
	c.lane.push(c)
	err := c.lane.ch.Publish(c.exchange, c.key, true, false, c.msg)
	c.msg.Headers, c.msg.Body = nil, nil // c stays in the lane until it is confirmed
	if err == nil {
		if l.blocked.Load() && l.table.take(c.id) != nil { // block may have looked before it was published
			c.fail(sentWhileBlocked())
		}
		return
	}
	c.lane.unpush(c)
	c.lane.users.Add(-1)
	if l.table.take(c.id) == nil {
		return
	}
	if errors.Is(err, amqp.ErrClosed) { // before anything was written
		c.fail(unreachable(err))
	} else {
		c.fail(replyLost(err))
	}
}

// collect hands the answers to their callers. Without the reply queue the
// link is of no use.
func (l *link) collect(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		if c := l.table.take(d.CorrelationId); c != nil {
			c.done <- outcome{reply: &d}
		} else {
			l.bus.stats.late.Add(1)
		}
	}
	if !l.conn.IsClosed() {
		l.kill(errors.New("the reply queue is gone"))
	}
}

// probe sends a message to the link's own reply queue every second. So a
// broker that takes no messages or does not answer any more is noticed without
// a request having to suffer for it; calls are let in after the first probe.
// Who may not publish to the default exchange goes without.
func (l *link) probe(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		err := l.probeOnce(ctx)
		switch {
		case l.conn.IsClosed(), ctx.Err() != nil:
			return
		case err == nil || l.blocked.Load():
		case l.home.ch.IsClosed():
			l.bus.log.Info("the bus cannot be probed", "address", l.bus.address, "error", err)
			l.bus.adopt(l)
			return
		default:
			l.kill(fmt.Errorf("the broker did not answer a probe: %w", err))
			return
		}
		if first {
			l.bus.adopt(l)
		}
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
	}
}

func (l *link) probeOnce(ctx context.Context) error {
	c := &call{id: newID(), probe: true, key: l.replies, lane: l.home, done: make(chan outcome, 1), deadline: time.Now().Add(patience)}
	c.msg = amqp.Publishing{DeliveryMode: amqp.Transient, CorrelationId: c.id, AppId: "lictor"}
	l.home.users.Add(1)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	_, err := l.send(ctx, c, limit.C)
	return err
}
