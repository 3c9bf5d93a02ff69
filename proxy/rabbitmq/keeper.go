package rabbitmq

import (
	"context"
	"strings"
	"sync"
	"time"

	"lictor/internal/crash"
	"lictor/internal/pace"
)

// Run keeps a connection to the broker until ctx ends, and returns ctx's error
// when everything it started is over. A configuration with another URL gets a
// keeper of its own beside the one that serves, which retires once the new one
// is connected.
func (b *Bus) Run(ctx context.Context) error {
	var keepers sync.WaitGroup
	defer keepers.Wait()
	made := 0
	start := func() *keeper {
		made++
		k := &keeper{bus: b, number: made, cfg: b.config(), adopted: make(chan struct{}), retired: make(chan struct{})}
		keepers.Go(func() {
			for !k.over(ctx) { // again after a panic
				k.run(ctx)
			}
		})
		return k
	}
	serving := start()
	var next *keeper
	for {
		var connected chan struct{}
		if next != nil {
			connected = next.adopted
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-connected:
			close(serving.retired)
			serving, next = next, nil
		case <-b.renew:
			if next != nil {
				close(next.retired)
				next = nil
			}
			if b.config().url.Reveal() != serving.cfg.url.Reveal() {
				next = start()
			}
		}
	}
}

// keeper keeps a connection by one URL.
type keeper struct {
	bus     *Bus
	number  int // later ones are higher
	cfg     *Config
	once    sync.Once     // closes adopted
	adopted chan struct{} // closed when there was a connection that calls use
	retired chan struct{} // closed when calls go elsewhere
}

// over reports whether the keeper has no more to do.
func (k *keeper) over(ctx context.Context) bool {
	select {
	case <-k.retired:
		return true
	default:
		return ctx.Err() != nil
	}
}

// run connects again and again until ctx ends or the keeper retires.
func (k *keeper) run(ctx context.Context) {
	const first, last = 250 * time.Millisecond, 5 * time.Second
	defer crash.Contain("bus connection", func() { time.Sleep(first) })
	b := k.bus
	delay := pace.Backoff{First: first, Most: last}
	told := "" // the last failure that was logged, so that an outage is one line
	for {
		began := time.Now()
		served, err := k.serve(ctx)
		if k.over(ctx) {
			return
		}
		if time.Since(began) > 2*last {
			delay.Reset()
		}
		wait := delay.Next()
		b.stats.failed(err)
		if text := withoutRandom(err.Error()); served || text != told {
			told = text
			b.log.Warn("no connection to the bus", "address", k.cfg.address(), "retry_in_ms", wait.Milliseconds(), "error", err)
		} else {
			b.log.Debug("still no connection to the bus", "address", k.cfg.address(), "retry_in_ms", wait.Milliseconds())
		}
		select {
		case <-ctx.Done():
			return
		case <-k.retired:
			return
		case <-time.After(wait):
		}
	}
}

// withoutRandom leaves out of a text what is another one each time, as ports
// and the names of queues are, so that the same failure reads the same.
func withoutRandom(text string) string {
	if before, after, ok := strings.Cut(text, "amq.gen-"); ok {
		_, rest, _ := strings.Cut(after, "'")
		text = before + rest
	}
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// serve connects once and returns when that connection is over; served says
// whether it was ever ready for calls.
func (k *keeper) serve(ctx context.Context) (served bool, err error) {
	b := k.bus
	try := &attempt{over: make(chan struct{})}
	b.attempt.Store(try)
	l := newLink(b, k.cfg, k.retired)
	l.ready = func() { b.adopt(k, l, try) }
	// Until stop has returned, calls may find the link; it refuses them.
	defer func() {
		l.stop()
		served = l.adopted.Load()
		b.link.CompareAndSwap(l, nil)
		l.learnChannels(err)
		b.end(try)
	}()
	if err := l.open(ctx); err != nil {
		return false, err
	}
	return false, l.follow(ctx)
}

// adopt makes l the link that calls use.
func (b *Bus) adopt(k *keeper, l *link, try *attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k.number < b.newest {
		return // it is about to retire
	}
	b.newest = k.number
	b.stats.connected()
	b.log.Info("connected to the bus", "address", l.address)
	l.adopted.Store(true)
	b.link.Store(l)
	k.once.Do(func() { close(k.adopted) })
	b.end(try)
}

// attempt is one try to connect.
type attempt struct {
	over chan struct{} // closed when it is known how it went
	once sync.Once
}

func (b *Bus) end(try *attempt) {
	try.once.Do(func() { close(try.over) })
	b.once.Do(func() { close(b.tried) })
}

// connectWait is how long a request waits for a connection that is being made.
const connectWait = time.Second

// await waits for a connection that is being made; nil if none came of it.
func (b *Bus) await(ctx context.Context, deadline time.Time) *link {
	try := b.attempt.Load()
	if try == nil {
		return nil
	}
	select {
	case <-try.over:
	case <-time.After(min(connectWait, time.Until(deadline))):
	case <-ctx.Done():
	}
	return b.link.Load()
}
