package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/internal/crash"
)

// link is one connection to the broker, from its dial to its end, with all
// that lives and dies with it: channels, reply queue, calls in flight.
type link struct {
	bus     *Bus
	cfg     *Config
	address string
	ready   func()        // called when calls may come
	adopted atomic.Bool   // it was
	retired chan struct{} // closed once another link takes the calls: this one ends when its own are over
	tcp     *gather       // under the library's connection, to be closed over its head
	conn    *amqp.Connection
	replies string // the reply queue
	home    *lane  // to the default exchange, for probes
	table   *table
	jobs    chan *call    // to the publisher
	checks  chan struct{} // room for questions
	rooms   chan struct{} // room for lanes, see divide
	line    chan struct{} // held by the lane that is next to have a room
	blocked atomic.Bool   // the broker takes no messages, see connection.blocked

	channels, mostChannels atomic.Int32 // that are open, and were at most
	scarce                 atomic.Int64 // when channels were too few, Unix nanoseconds; 0 = never

	dead     chan struct{} // closed by kill
	killOnce sync.Once
	cause    error // of kill; read after dead is closed

	mu    sync.Mutex // guards the fields below, and work.Go against work.Wait
	lanes map[laneKey]*lane
	seen  map[string]time.Time // exchanges whose lane ended for want of channels; until when they are believed to be there
	over  bool                 // stop was called: nothing new may begin
	work  sync.WaitGroup
}

func newLink(b *Bus, cfg *Config, retired chan struct{}) *link {
	return &link{
		bus:     b,
		cfg:     cfg,
		address: cfg.address(),
		retired: retired,
		table:   newTable(cfg.MaxInFlight),
		jobs:    make(chan *call, 256),
		line:    make(chan struct{}, 1),
		dead:    make(chan struct{}),
		lanes:   make(map[laneKey]*lane),
		seen:    make(map[string]time.Time),
	}
}

// start runs f on a goroutine of the link. A panic in it ends the link: what f
// took care of would be without an owner. l.mu must be held, or the caller be a
// goroutine of the link itself.
func (l *link) start(where string, f func()) { l.work.Go(l.contained(where, f)) }

func (l *link) contained(where string, f func()) func() {
	return func() {
		defer crash.Contain(where, func() { l.kill(errors.New("a panic was contained")) })
		f()
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
			time.AfterFunc(patience, l.contained("bus link", look))
		default:
			l.kill(fmt.Errorf("the broker took more than %v for %s", patience, doing))
		}
	}
	t := time.AfterFunc(patience, l.contained("bus link", look))
	return func() {
		over.Store(true)
		t.Stop()
	}
}

// open connects and makes everything ready for calls.
func (l *link) open(ctx context.Context) error {
	tcp, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return err
	}
	l.tcp = newGather(tcp)
	defer l.watch("the start of the connection")()
	defer context.AfterFunc(ctx, func() { l.kill(ctx.Err()) })()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("lictor")
	conn, err := amqp.DialConfig(l.cfg.url.Reveal(), amqp.Config{
		Heartbeat:  patience,
		Properties: properties,
		Dial:       func(string, string) (net.Conn, error) { return l.tcp, nil },
	})
	if err != nil {
		return err // stop closes tcp, which ends what the library started
	}
	l.conn = conn
	l.divide()
	deliveries, err := l.listen()
	if err != nil {
		return err
	}
	l.start("bus replies", func() { l.collect(deliveries) })
	l.start("bus publisher", l.publish)

	ch, err := l.openChannel()
	if err != nil {
		return err
	}
	l.home = newLane("")
	close(l.home.ready)
	return l.prepare(l.home, ch)
}

// listen makes the reply queue, on a channel on which nothing is published.
func (l *link) listen() (<-chan amqp.Delivery, error) {
	ch, err := l.openChannel()
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
	l.start("bus probe", func() { l.probe(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var idle, wasIdle bool
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
			if idle = l.isRetired() && !l.inUse(); idle && wasIdle {
				l.leave()
				return errRetired
			}
			wasIdle = idle         // a call may just have found the link
			if !l.blocked.Load() { // or nobody would answer
				l.sweep(now)
			}
		}
	}
}

var errRetired = errors.New("another connection has taken over")

func (l *link) isRetired() bool {
	select {
	case <-l.retired:
		return true
	default:
		return false
	}
}

// inUse reports whether calls wait for answers, or for their turn to be published.
func (l *link) inUse() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.lanes {
		if n.users.Load() > 0 && (!n.checked() || n.err == nil) {
			return true
		}
	}
	return l.table.len() > 0
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
		l.bus.log.Info("the bus accepts messages again", "address", l.address)
		return
	}
	l.bus.log.Warn("the bus accepts no messages", "address", l.address, "reason", b.Reason)
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
	n, failure := l.place(c)
	if failure != nil {
		return nil, failure
	}
	if failure := n.await(ctx, limit); failure != nil {
		n.leave()
		return nil, failure
	}
	c.lane = n
	return l.send(ctx, c, limit)
}

// await waits until the lane is ready, and returns why nothing can be published on it.
func (n *lane) await(ctx context.Context, limit <-chan time.Time) error {
	if !n.checked() { // a choice of three is dear
		select {
		case <-n.ready:
		case <-limit:
			return timedOut(errors.New("the broker did not say in time whether the exchange exists"))
		case <-ctx.Done():
			return gone(ctx)
		}
	}
	if n.err != nil {
		return n.err
	}
	return nil
}

// send queues c, whose lane is ready, and waits for its outcome.
func (l *link) send(ctx context.Context, c *call, limit <-chan time.Time) (*amqp.Delivery, error) {
	if failure := l.table.add(c); failure != nil {
		c.lane.leave()
		return nil, failure
	}
	jobs := l.jobs
	select {
	case jobs <- c: // there is room nearly always, and a choice of four is dear
		jobs = nil
	default:
	}
	var err error
	for {
		select {
		case jobs <- c:
			jobs = nil
			continue
		case out := <-c.done:
			if jobs != nil {
				c.lane.leave()
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
		c.lane.leave()
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
