package policy

import (
	"hash/maphash"
	"net/netip"
	"strings"
)

// table holds the counters of one shard for addresses or for consumers. It has a
// fixed size. When it is full, and nothing in it has run out, it takes from
// whoever holds most: the network (/24 or /48) or the consumer. What is taken
// from a holder of many goes into one counter that it shares from then on, so a
// flood makes lictor stricter to the network that it comes from, more generous
// to nobody, and locks nobody else out. If nobody holds many, a counter that has
// been there for long makes room.
//
// All that one holder has lies in one shard, so that a flood from one network
// fills one of them.
type table struct {
	size     int
	index    map[counterKey]int32
	counters []counter
	hand     int // where the search for a counter to take goes on

	holders []holder
	numbers map[uint64]int32 // of holders in use, by their hash
	free    []int32          // holders not in use
	top     int32            // the holder that had most when that was last looked up
	most    int32            // no holder has more
}

// holder is a network or consumer and the ring of its counters.
type holder struct {
	hash  uint64
	n     int32 // counters it holds; 0 = not in use
	first int32
}

const (
	sweepStep = 64 // counters looked at to find one that has run out
	many      = 64 // who holds more counters than that shares one when room is wanted
)

// holderOf is who holds a counter.
func holderOf(seed maphash.Seed, k *counterKey) uint64 {
	if k.consumer != "" {
		return maphash.String(seed, k.consumer)
	}
	if k.by != byConsumer {
		return maphash.Comparable(seed, *k) // each value is a holder of its own
	}
	return maphash.Comparable(seed, network(k.client))
}

// network is the part of an address that is given out as a whole.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return truncated(a, 24)
	}
	return truncated(a, 48)
}

// CountedAs is the address that a client is counted by: a host has at least a
// /64 of IPv6 at its disposal, so the rest of the address is its own choice.
func CountedAs(a netip.Addr, bits6 int) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	return truncated(a, bits6)
}

func truncated(a netip.Addr, bits int) netip.Addr {
	p, err := a.Prefix(bits)
	if err != nil {
		return a
	}
	return p.Addr()
}

// find returns the counter of a key, made anew if there is none; nil if there is
// none in a dry run.
func (t *table) find(k counterKey, hash uint64, now int64, dry bool) *counter {
	if i, ok := t.index[k]; ok {
		return &t.counters[i]
	}
	if dry {
		if i, ok := t.index[shared(hash)]; ok && len(t.counters) == t.size {
			return &t.counters[i]
		}
		return nil
	}
	if t.index == nil {
		t.index, t.numbers = make(map[counterKey]int32), make(map[uint64]int32)
	}
	i := t.room(now)
	if i < 0 {
		h := t.heaviest()
		switch {
		case h < 0:
			i = t.oldest()
		case t.holders[h].hash == hash:
			return &t.counters[t.overflow(h)]
		default:
			i = t.fold(h)
		}
	}
	k.api, k.consumer = strings.Clone(k.api), strings.Clone(k.consumer)
	t.enter(i, k, hash)
	return &t.counters[i]
}

// room returns a counter that is not in use or has run out, -1 if none is found.
func (t *table) room(now int64) int32 {
	if len(t.counters) < t.size {
		t.counters = append(t.counters, counter{})
		return int32(len(t.counters) - 1)
	}
	for range min(sweepStep, len(t.counters)) {
		t.hand = (t.hand + 1) % len(t.counters)
		if i := int32(t.hand); t.counters[i].expires <= now {
			t.leave(i)
			return i
		}
	}
	return -1
}

// oldest takes the counter that the hand has come to: all are reached in turn.
func (t *table) oldest() int32 {
	t.hand = (t.hand + 1) % len(t.counters)
	t.leave(int32(t.hand))
	return int32(t.hand)
}

// heaviest returns the holder that holds most, or nearly, -1 if none holds many.
// The holders are looked through only when the last result has lost an eighth.
func (t *table) heaviest() int32 {
	if t.most <= many {
		return -1
	}
	if top := t.holders[t.top].n; top > many && top*8 >= t.most*7 {
		return t.top
	}
	t.most = 0
	for i := range t.holders {
		if n := t.holders[i].n; n > t.most {
			t.top, t.most = int32(i), n
		}
	}
	if t.most <= many {
		return -1
	}
	return t.top
}

// shared is the key of the counter that a holder of many shares.
func shared(hash uint64) counterKey { return counterKey{holder: hash} }

// overflow returns the counter that a holder shares, made of one of its others
// if there is none.
func (t *table) overflow(h int32) int32 {
	hash := t.holders[h].hash
	if i, ok := t.index[shared(hash)]; ok {
		return i
	}
	i := t.holders[h].first
	kept := t.counters[i]
	t.leave(i)
	t.enter(i, shared(hash), hash)
	t.counters[i].merge(&kept)
	return i
}

// fold takes a counter from a holder, in favour of the one that it shares.
func (t *table) fold(h int32) int32 {
	into := t.overflow(h)
	i := t.holders[h].first
	if i == into {
		i = t.counters[i].next
	}
	t.counters[into].merge(&t.counters[i])
	t.leave(i)
	return i
}

// merge makes n stand for other as well: at least as much is used up in each
// window as either of them had used.
func (n *counter) merge(other *counter) {
	n.expires = max(n.expires, other.expires)
	for w := range n.number {
		switch {
		case other.number[w] > n.number[w]:
			n.number[w], n.count[w] = other.number[w], other.count[w]
		case other.number[w] == n.number[w]:
			n.count[w] = max(n.count[w], other.count[w])
		}
	}
}

// enter gives a counter that is not in use to a key and its holder.
func (t *table) enter(i int32, k counterKey, hash uint64) {
	h, ok := t.numbers[hash]
	if !ok {
		if last := len(t.free) - 1; last >= 0 {
			h, t.free = t.free[last], t.free[:last]
		} else {
			h = int32(len(t.holders))
			t.holders = append(t.holders, holder{})
		}
		t.holders[h] = holder{hash: hash}
		t.numbers[hash] = h
	}
	x := &t.holders[h]
	t.counters[i] = counter{key: k, holder: h, next: i, prev: i}
	if x.n > 0 { // the ring's last, so that its first is the oldest
		first := &t.counters[x.first]
		t.counters[i].next, t.counters[i].prev = x.first, first.prev
		t.counters[first.prev].next = i
		first.prev = i
	} else {
		x.first = i
	}
	x.n++
	if x.n > t.most {
		t.top, t.most = h, x.n
	}
	t.index[k] = i
}

// leave takes a counter out of use.
func (t *table) leave(i int32) {
	c := &t.counters[i]
	delete(t.index, c.key)
	x := &t.holders[c.holder]
	t.counters[c.prev].next, t.counters[c.next].prev = c.next, c.prev
	if x.first == i {
		x.first = c.next
	}
	if x.n--; x.n == 0 {
		delete(t.numbers, x.hash)
		t.free = append(t.free, c.holder)
	}
}
