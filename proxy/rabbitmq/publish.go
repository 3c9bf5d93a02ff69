package rabbitmq

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/internal/crash"
)

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

// publishOne publishes c. A panic ends c alone.
func (l *link) publishOne(c *call) {
	defer crash.Contain("bus message", func() { l.fail(c, replyLost(errors.New("a panic was contained"))) })
	left := time.Until(c.deadline).Milliseconds()
	if l.blocked.Load() || left <= 0 || !c.stage.CompareAndSwap(queued, published) {
		c.lane.leave()
		if l.blocked.Load() {
			l.fail(c, unreachable(errBlocked))
		}
		return
	}
	c.msg.ReplyTo = l.replies
	c.msg.Expiration = strconv.FormatInt(left, 10)
	n, msg := c.lane, c.msg // from push on, c.msg is in the hands of who follows the lane
	n.push(c)
	err := n.ch.Publish(c.exchange, c.key, true, false, msg)
	if err == nil {
		if l.blocked.Load() { // block may have looked before it was published
			l.fail(c, sentWhileBlocked())
		}
		return
	}
	if !n.unpush(c) {
		return // the channel went meanwhile, and c was seen to
	}
	n.leave()
	if errors.Is(err, amqp.ErrClosed) { // before anything was written
		l.forget(n)
		l.publishAgain([]*call{c})
	} else {
		l.fail(c, replyLost(err))
	}
}
