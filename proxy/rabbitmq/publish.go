package rabbitmq

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
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

func (l *link) publishOne(c *call) {
	now := time.Now()
	left := c.deadline.Sub(now).Milliseconds()
	if l.blocked.Load() || left <= 0 || !c.stage.CompareAndSwap(queued, published) {
		c.lane.users.Add(-1)
		if l.blocked.Load() && l.table.take(c.id) != nil {
			c.fail(unreachable(errBlocked))
		}
		return
	}
	c.msg.ReplyTo = l.replies
	c.msg.Expiration = strconv.FormatInt(left, 10)
	c.sent = now
	c.lane.push(c)
	err := c.lane.ch.Publish(c.exchange, c.key, true, false, c.msg)
	freeTable(c.msg.Headers)
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
