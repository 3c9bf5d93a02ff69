package rabbitmq

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/internal/crash"
)

// collect hands the answers to their callers. Without the reply queue the
// link is of no use.
func (l *link) collect(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		l.deliver(d)
	}
	if !l.conn.IsClosed() {
		l.kill(errors.New("the reply queue is gone"))
	}
}

// deliver hands one answer to its caller.
func (l *link) deliver(d amqp.Delivery) {
	c := l.table.take(d.CorrelationId)
	if c == nil {
		l.bus.stats.late.Add(1)
		return
	}
	defer crash.Contain("bus reply", func() { c.fail(replyLost(errors.New("a panic was contained"))) })
	if limit := l.bus.config().MaxReply; len(d.Body) > limit {
		c.fail(replyTooLarge(len(d.Body), limit))
		return
	}
	c.done <- outcome{reply: &d}
}

func replyTooLarge(size, limit int) *Error {
	return &Error{Status: 502, Reason: "bad_gateway", Message: "The reply is too large", Err: fmt.Errorf("the reply has %d bytes, max_reply is %d", size, limit)}
}
