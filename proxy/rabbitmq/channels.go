package rabbitmq

import (
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A connection has as many channels as both ends agreed on (channel_max), and a
// user may have fewer (max-channels). lictor needs one for answers, one for
// probes, a few to ask for exchanges, and one for each lane. Where exchanges are
// more than channels, lanes take turns: one that is idle ends for one that is
// wanted, else the one that was there for longest, once its messages are confirmed.

const (
	ownChannels = 2                     // for answers and probes
	mostAsking  = 8                     // at a time
	roomWait    = 2 * time.Second       // how long a lane may wait for a channel
	laneTurn    = 10 * time.Millisecond // how long a busy lane stays at least
	countWait   = 100 * time.Millisecond
	scarceFor   = time.Minute // how long a lack of channels is told after it was met
)

// budget divides the channels of a connection.
func budget(channels int) (asking, lanes int) {
	left := channels - ownChannels
	if left <= 1 {
		return 1, 0
	}
	asking = min(max(left/3, 1), mostAsking)
	return asking, left - asking
}

// divide makes room for lanes and questions, as the broker and the user's limit allow.
func (l *link) divide() {
	channels := int(l.conn.Config.ChannelMax)
	if learned := int(l.bus.channelLimit.Load()); learned > 0 {
		channels = min(channels, learned)
	}
	asking, lanes := budget(channels)
	l.checks = make(chan struct{}, asking)
	l.rooms = make(chan struct{}, min(lanes, l.cfg.MaxExchanges))
	if lanes == 0 {
		l.scarcity(channels)
	}
}

// awaitRoom takes a lane's room, once there is one. Who came first is next.
func (l *link) awaitRoom() *Error {
	if cap(l.rooms) == 0 {
		return noChannel()
	}
	limit := time.After(roomWait)
	select {
	case l.line <- struct{}{}: // a channel lets senders in as they came
		defer func() { <-l.line }()
	case <-limit:
		return noChannel()
	case <-l.dead:
		return unreachable(errNotConnected)
	}
	select {
	case l.rooms <- struct{}{}:
		return nil
	default:
	}
	l.scarcity(cap(l.rooms) + cap(l.checks) + ownChannels)
	turn := time.NewTicker(laneTurn)
	defer turn.Stop()
	for {
		l.makeRoom()
		select {
		case l.rooms <- struct{}{}:
			return nil
		case <-turn.C:
		case <-limit:
			return noChannel()
		case <-l.dead:
			return unreachable(errNotConnected)
		}
	}
}

func noChannel() *Error {
	return overloaded("the broker allows too few channels for all services of the bus")
}

// makeRoom retires the lane whose turn is over. Its exchange stays known.
func (l *link) makeRoom() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var idle, oldest *lane
	now := time.Now()
	for _, n := range l.lanes {
		switch {
		case !n.checked() || n.err != nil:
		case n.users.Load() == 0 && (idle == nil || n.until.Load() < idle.until.Load()):
			idle = n
		case now.Sub(n.opened) < laneTurn:
		case oldest == nil || n.opened.Before(oldest.opened):
			oldest = n
		}
	}
	if idle == nil {
		idle = oldest
	}
	if idle != nil {
		l.seen[idle.exchange] = time.Unix(0, idle.until.Load())
		l.retire(idle)
	}
}

// scarcity notes that channels are fewer than exchanges in use.
func (l *link) scarcity(channels int) {
	if l.scarce.Swap(time.Now().UnixNano()) == 0 {
		l.bus.log.Warn("the bus has fewer channels than services in use, they take turns", "address", l.address, "channels", channels)
	}
}

// isScarce reports whether there was such a lack a moment ago.
func (l *link) isScarce() bool {
	at := l.scarce.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < scarceFor || cap(l.rooms) == 0
}

// openChannel opens a channel and counts it.
func (l *link) openChannel() (*amqp.Channel, error) {
	ch, err := l.conn.Channel()
	if err != nil {
		return nil, err
	}
	most(&l.mostChannels, l.channels.Add(1))
	return ch, nil
}

// closeChannel closes a channel that became no lane's.
func (l *link) closeChannel(ch *amqp.Channel) {
	_ = ch.Close() // may be closed already
	l.channels.Add(-1)
	l.awaitCount()
}

// awaitCount waits until the broker has surely counted a channel as closed. It
// counts those of a user after it has said that one is closed, and a channel
// too many ends the connection.
func (l *link) awaitCount() {
	if l.bus.channelLimit.Load() == 0 {
		return
	}
	select {
	case <-time.After(countWait):
	case <-l.dead:
	}
}

// most keeps the greatest value in v.
func most(v *atomic.Int32, n int32) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// learnChannels looks at why the link ended. That a user may open so many
// channels only is told by the end of the connection, with all that was under
// way; the number is remembered, so that it ends no other. SIGHUP forgets it.
func (l *link) learnChannels(err error) {
	if !hasCode(err, amqp.NotAllowed) || l.mostChannels.Load() == 0 {
		return
	}
	limit := l.mostChannels.Load() - 1 // one in reserve, since the broker counts late
	if known := l.bus.channelLimit.Load(); known > 0 {
		limit = min(limit, known-1)
	}
	l.bus.channelLimit.Store(max(limit, 1))
}
