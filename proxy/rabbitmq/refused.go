package rabbitmq

import (
	"errors"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A broker that refuses one message closes the channel, and drops what was
// published behind it. The messages before it were taken, and their answers come
// all the same. So of the messages that were not confirmed when a channel went,
// only the one that was refused fails; those behind it are published again. Which
// one it was is not said by number, but by what was wrong with it.

// cause says what the broker holds against a message.
type cause int

const (
	bySize     cause = iota // it is larger than the broker takes
	byKey                   // the user may not publish with its routing key
	byExchange              // no message can be published to its exchange
	byOther
)

// causeOf reads why a channel was closed, and makes the error for who is refused.
func causeOf(exchange string, e *amqp.Error) (cause, *Error) {
	switch {
	case e.Code == amqp.ContentTooLarge, e.Code == amqp.PreconditionFailed && strings.Contains(e.Reason, " size "):
		return bySize, tooLarge(e)
	case e.Code == amqp.AccessRefused && strings.Contains(e.Reason, " topic '"):
		return byKey, refused(e, false)
	case e.Code == amqp.NotFound:
		return byExchange, unknownExchange(exchange, e)
	case e.Code == amqp.AccessRefused:
		return byExchange, refused(e, !strings.Contains(e.Reason, "internal exchange")) // rights may be given, and nothing was routed
	}
	return byOther, refused(e, false)
}

// culprit returns the place of the message that was refused, -1 if it cannot be
// told. proven says that the broker took other messages on the channel before.
func culprit(why cause, text string, calls []*call, proven bool) int {
	for i, c := range calls {
		if why == bySize && oversized(text, len(c.msg.Body)) || why == byKey && namesKey(text, c.key) {
			return i
		}
	}
	if len(calls) == 1 || why == byExchange && !proven && len(calls) > 0 {
		return 0
	}
	return -1
}

// sizeLimit returns the size that the broker takes, as far as its text says so:
// "message size 2097152 is larger than configured max size 1048576". size is that
// of a message that was refused.
func sizeLimit(text string, size int) int {
	limit := size - 1
	for _, n := range numbers(text) {
		if n < size {
			limit = n
		}
	}
	return limit
}

// oversized reports whether a message of size is the one that text speaks of.
func oversized(text string, size int) bool {
	found := numbers(text)
	for i, n := range found {
		if n == size {
			return true
		}
		if i == len(found)-1 && i > 0 && size > n { // the limit stands last
			return true
		}
	}
	return false
}

func numbers(text string) (found []int) {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(word); err == nil {
			found = append(found, n)
		}
	}
	return found
}

// namesKey reports whether text names the routing key: "access to topic 'a.b'
// in exchange ...". Brokers cut texts at 255 bytes, and put "..." there.
func namesKey(text, key string) bool {
	_, rest, ok := strings.Cut(text, " topic '")
	return ok && (strings.HasPrefix(rest, key+"'") || len(text) > 200 && strings.HasPrefix(key, strings.TrimSuffix(rest, "...")))
}

// lostWait is how long a message may still be answered of which it is not known
// whether the broker took it.
const lostWait = time.Second

// laneClosed says what became of the messages that were not confirmed when
// their channel went.
func (l *link) laneClosed(n *lane, e *amqp.Error) {
	l.forget(n)
	if e == nil || l.conn.IsClosed() {
		return // closed by us, or all of the link is over, which ends its calls
	}
	l.bus.stats.channelCloses.Add(1)
	calls := n.drain()
	if n == l.home { // who may not use the default exchange goes without probes
		for _, c := range calls {
			l.fail(c, unreachable(e))
		}
		return
	}
	why, failure := causeOf(n.exchange, e)
	if why == byExchange {
		l.refuseExchange(n, failure)
	}
	i := culprit(why, e.Reason, calls, n.proven)
	if i < 0 {
		l.tellClosed(n, e)
		l.unknownCulprit(calls, why, failure)
		return
	}
	if l.bus.suspicions.add(why, calls[i], e.Reason) {
		l.tellClosed(n, e)
	}
	for _, c := range calls[:i] {
		c.stage.Store(confirmed) // the broker went on to the next one
	}
	l.fail(calls[i], failure)
	if why == byExchange {
		for _, c := range calls[i+1:] {
			l.fail(c, failure)
		}
		return
	}
	l.publishAgain(calls[i+1:])
}

func (l *link) tellClosed(n *lane, e *amqp.Error) {
	l.bus.log.Warn("the bus refused a message", "exchange", n.exchange, "error", e)
}

// unknownCulprit ends calls of which one was refused. The last of them cannot
// have been taken. The others may have been: if so, their answers come.
func (l *link) unknownCulprit(calls []*call, why cause, failure *Error) {
	if len(calls) == 0 {
		return
	}
	last := calls[len(calls)-1]
	if why == byExchange {
		l.fail(last, failure)
	} else {
		l.publishAgain([]*call{last})
	}
	calls = calls[:len(calls)-1]
	time.AfterFunc(lostWait, l.contained("bus message", func() {
		for _, c := range calls {
			l.fail(c, replyLost(failure.Err))
		}
	}))
}

// refuseExchange has calls for an exchange fail without asking, for a while.
func (l *link) refuseExchange(n *lane, failure *Error) {
	closed := newLane(n.exchange)
	closed.err = failure
	closed.believe(believeAbsent)
	close(closed.ready)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, n.exchange)
	if l.lanes[closed.laneKey] == nil {
		l.lanes[closed.laneKey] = closed
	}
}

// fail ends a call, unless somebody else did.
func (l *link) fail(c *call, failure *Error) {
	if l.table.take(c.id) != nil {
		c.fail(failure)
	}
}

// publishAgain puts calls on their way anew, in order. The broker has seen none
// of them. It must be called by a goroutine of the link.
func (l *link) publishAgain(calls []*call) {
	if len(calls) == 0 {
		return
	}
	l.bus.stats.again.Add(uint64(len(calls)))
	l.start("bus message", func() {
		for _, c := range calls {
			l.publishOnceMore(c)
		}
	})
}

func (l *link) publishOnceMore(c *call) {
	if !l.table.has(c) {
		return
	}
	c.stage.Store(queued)
	n, failure := l.place(c)
	if failure == nil {
		select {
		case <-n.ready:
			failure = n.err
		case <-l.dead:
			return // whoever ends the link ends its calls
		}
		if failure != nil {
			n.leave()
		}
	}
	if failure != nil {
		l.fail(c, failure)
		return
	}
	c.lane = n
	select {
	case l.jobs <- c:
	case <-l.dead:
	}
}

var errRefusedBefore = errors.New("the broker has just refused its like")
