package policy

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limiter counts requests (C17). It belongs to the process, not to a Set, so
// that a change of policy does not forgive anybody. The zero Limiter is ready
// to use; all methods may be called from any goroutine.
//
// Its memory is bounded whatever clients send, see table. Clients are counted by
// their address, in IPv6 by the /64 that it lies in.
type Limiter struct {
	instances atomic.Int64
	bits6     atomic.Int32 // 0 = 64
	once      sync.Once
	seed      maphash.Seed
	shards    [limiterShards]shard
}

const (
	limiterShards = 64
	shardCounters = 4096 // for consumers, in a shard, three quarters of it for addresses, half for values; some 120 MB if all are in use
)

// SetPrefix says by how many bits of an IPv6 address a client is counted.
func (l *Limiter) SetPrefix(bits int) { l.bits6.Store(int32(bits)) }

// client is what a client is counted by.
func (l *Limiter) client(a netip.Addr) netip.Addr {
	return CountedAs(a, cmp.Or(int(l.bits6.Load()), 64))
}

// SetInstances says among how many lictors limits of scope "split" are divided;
// less than 1 counts as 1.
func (l *Limiter) SetInstances(n int) { l.instances.Store(int64(n)) }

// Instances returns among how many lictors split limits are divided, at least 1.
func (l *Limiter) Instances() int { return max(1, int(l.instances.Load())) }

// counterKey is what is counted apart: API and consumer, else client address.
type counterKey struct {
	api      string
	consumer string
	client   netip.Addr // if there is no consumer, as CountedAs gives it
	by       countBy    // what value is of; byConsumer = there is none
	value    uint64     // hash of a header or path, or of the consumer's credential
	report   bool       // a limit in report mode counts for itself
	holder   uint64     // of the counter that a holder of many shares
}

// counter holds all windows of one key, so that they rise together.
type counter struct {
	key     counterKey
	expires int64 // Unix seconds when the last window in use ends
	number  [windows]int64
	count   [windows]int64

	holder, next, prev int32 // in a table: whose it is, and the ring of all that one has
}

type shard struct {
	mu                   sync.Mutex // guards all below; held for some tens of nanoseconds
	addresses, consumers table
	values               table // of headers and paths, which clients choose: whoever fills it harms no other table
}

// table returns the one that a key belongs in.
func (s *shard) table(k *counterKey) *table {
	if k.consumer != "" {
		s.consumers.size = shardCounters
		return &s.consumers
	}
	if k.by == byHeader || k.by == byPath {
		s.values.size = shardCounters / 2
		return &s.values
	}
	s.addresses.size = shardCounters / 4 * 3
	return &s.addresses
}

func (l *Limiter) seeded() { l.once.Do(func() { l.seed = maphash.MakeSeed() }) }

// hash stands for a text that clients choose: nobody knows which ones share it, and
// its length costs no memory.
func (l *Limiter) hash(s string) uint64 {
	l.seeded()
	return maphash.String(l.seed, s)
}

// take counts one request if every window has room, and tells the state of the
// windows either way. With dry it counts nothing. The exclusive part is short
// and whole: of a burst exactly as many pass as there is room for.
func (l *Limiter) take(k counterKey, c *rateLimit, now time.Time, dry bool, out *Limits) {
	l.seeded()
	divisor := int64(1)
	if c.split {
		divisor = max(l.instances.Load(), 1)
	}
	var number, ends [windows]int64
	calendar(now, c.windows, &number, &ends)

	hash := holderOf(l.seed, &k)
	s := &l.shards[hash%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.table(&k).find(k, hash, now.Unix(), dry)
	if n == nil { // dry and never counted
		n = &counter{}
	}
	n.roll(c, &number, &ends, dry, now.Unix())
	*out = Limits{}
	for _, w := range c.windows {
		share := (c.limit[w] + divisor - 1) / divisor
		used := n.count[w]
		if isOver(n.number[w], number[w]) { // only in a dry run
			used = 0
		}
		reset := time.Duration(max(ends[w]-now.Unix(), 1)) * time.Second
		out.add(Limit{Window: w, Limit: int(share), Remaining: int(max(share-used, 0)), Reset: reset})
	}
	if out.Refused || dry {
		return
	}
	for i, w := range c.windows {
		n.count[w]++
		out.all[i].Remaining--
	}
	out.Tight.Remaining--
}

// add appends the state of a window before this request.
func (l *Limits) add(w Limit) {
	l.all[l.n] = w
	l.n++
	stops := w.Remaining == 0
	switch {
	case l.n == 1, stops && !l.Refused, stops && w.Reset > l.Tight.Reset,
		!l.Refused && cmp.Or(cmp.Compare(w.Remaining, l.Tight.Remaining), cmp.Compare(l.Tight.Reset, w.Reset)) < 0:
		l.Tight = w
	}
	l.Refused = l.Refused || stops
}

// isOver reports whether a window that was counted in counts no more: it is an earlier
// one, or so much later a one that the clock was wrong then, and would keep everybody out
// who asked, for as long as it was ahead. After the clock went back a little the later
// window counts on.
func isOver(counted, now int64) bool { return counted < now || counted > now+1 }

// roll starts the windows that are over anew.
func (n *counter) roll(c *rateLimit, number, ends *[windows]int64, dry bool, now int64) {
	if dry {
		return
	}
	if n.expires < now {
		n.expires = 0
	}
	for _, w := range c.windows {
		if isOver(n.number[w], number[w]) {
			if n.number[w] > number[w] {
				n.expires = 0 // which was in that future, too
			}
			n.number[w], n.count[w] = number[w], 0
		}
		n.expires = max(n.expires, ends[w])
	}
}

// calendar numbers the windows that now falls into, and says when they end in
// Unix seconds (C17: fixed windows, UTC).
func calendar(now time.Time, ws []Window, number, ends *[windows]int64) {
	unix := now.Unix()
	for _, w := range ws {
		if length := windowSeconds[w]; w < Month {
			number[w] = unix / length
			ends[w] = (number[w] + 1) * length
			continue
		}
		year, month, _ := now.UTC().Date()
		if w == Month {
			number[w] = int64(year)*12 + int64(month)
			ends[w] = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC).Unix()
		} else {
			number[w] = int64(year)
			ends[w] = time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		}
	}
}

// windowSeconds are the lengths of the windows; of month and year the longest.
var windowSeconds = [windows]int64{1, 60, 3600, 86400, 31 * 86400, 366 * 86400}
