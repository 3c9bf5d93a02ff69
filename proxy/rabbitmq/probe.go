package rabbitmq

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

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
			l.bus.log.Info("the bus cannot be probed", "address", l.address, "error", err)
			l.ready()
			return
		default:
			l.kill(fmt.Errorf("the broker did not answer a probe: %w", err))
			return
		}
		if first {
			l.ready()
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
	_, err := l.send(ctx, c, time.After(patience))
	return err
}
