package packed

import (
	"cmp"
	"math/bits"
	"slices"
)

// Batch is what [Map.With] changes. The zero Batch changes nothing.
type Batch struct {
	ops  []op
	data []byte
	drop func(record []byte) bool
}

// op puts a record in, or takes it out.
type op struct {
	from uint64 // in data, which may be long; the record ends where the next one begins
	tag  uint32
	gone bool
}

// Put enters a record under a hash, once, however often it is put. The batch has
// a copy of it.
func (b *Batch) Put(hash uint64, record []byte) { b.note(hash, record, false) }

// Remove takes a record out, if it is there. Of several ops on one record the last
// one counts.
func (b *Batch) Remove(hash uint64, record []byte) { b.note(hash, record, true) }

// Drop takes out every record of the old map for which f returns true, which costs
// as much as the whole map. It goes before all ops.
func (b *Batch) Drop(f func(record []byte) bool) { b.drop = f }

// Empty reports whether the batch changes nothing.
func (b *Batch) Empty() bool { return len(b.ops) == 0 && b.drop == nil }

func (b *Batch) note(hash uint64, record []byte, gone bool) {
	b.ops = append(b.ops, op{uint64(len(b.data)), uint32(hash >> tagBits), gone})
	b.data = append(b.data, record...)
}

func (b *Batch) record(i int) []byte {
	end := len(b.data)
	if i+1 < len(b.ops) {
		end = int(b.ops[i+1].from)
	}
	return b.data[b.ops[i].from:end:end]
}

// With returns a map that is m with a batch worked in. compare orders records of
// equal tags, and returns 0 for equal records alone.
func (m *Map) With(b *Batch, compare func(x, y []byte) int) Map {
	if b.Empty() {
		return *m
	}
	next := Map{n: m.n}
	next.pages, next.shift = m.room(b)
	whole := b.drop != nil || next.shift != m.shift || len(m.pages) == 0
	order, ends := b.byPage(next.shift, len(next.pages))
	var w writer
	for i, from := 0, 0; i < len(next.pages); i++ {
		ops := order[from:ends[i]]
		from = ends[i]
		if !whole && len(ops) == 0 {
			next.pages[i] = m.pages[i]
			continue
		}
		w.items = m.gather(w.items[:0], uint64(i)<<next.shift, uint64(i+1)<<next.shift)
		next.n -= len(w.items)
		w.work(b, ops, compare)
		next.n += len(w.items)
		next.pages[i] = w.page(next.shift)
	}
	return next
}

// room returns the empty pages of the map that m becomes with a batch.
func (m *Map) room(b *Batch) ([]*page, uint) {
	n, now := m.n, len(m.pages)
	if b.drop != nil {
		for record := range m.All {
			if b.drop(record) {
				n--
			}
		}
	}
	n += len(b.ops)
	if now == 0 || n > pageFull*now || m.n < pageThin*now {
		now = 1 << bits.Len(uint(n/pageFull))
	}
	return make([]*page, now), uint(tagBits - bits.Len(uint(now)) + 1)
}

// byPage returns the indexes of the ops by page, those of a page in their order,
// and where in them each page ends.
func (b *Batch) byPage(shift uint, pages int) (order []int32, ends []int) {
	order, ends = make([]int32, len(b.ops)), make([]int, pages)
	for i := range b.ops {
		ends[b.ops[i].tag>>shift]++
	}
	for i := 1; i < pages; i++ {
		ends[i] += ends[i-1]
	}
	for i := len(b.ops) - 1; i >= 0; i-- {
		at := &ends[b.ops[i].tag>>shift]
		*at--
		order[*at] = int32(i)
	}
	copy(ends, ends[1:]) // they are where pages begin by now
	ends[pages-1] = len(order)
	return order, ends
}

// item is a record on its way to a page.
type item struct {
	tag    uint32
	seq    int32 // 0 = of the old map, else it comes with that op
	gone   bool
	record []byte
}

// gather appends the records of the tags from one to below another one.
func (m *Map) gather(to []item, from, below uint64) []item {
	if len(m.pages) == 0 {
		return to
	}
	for i := from >> m.shift; i <= (below-1)>>m.shift; i++ {
		p := m.pages[i]
		if p == nil {
			continue
		}
		for j, tag := range p.tags {
			if t := uint64(tag); t >= from && t < below {
				to = append(to, item{tag: tag, record: p.record(j)})
			}
		}
	}
	return to
}

// writer makes one page after the other.
type writer struct{ items []item }

// work works ops into the items, which are in order before and behind it.
func (w *writer) work(b *Batch, ops []int32, compare func(x, y []byte) int) {
	if b.drop != nil {
		w.items = slices.DeleteFunc(w.items, func(it item) bool { return b.drop(it.record) })
	}
	for seq, i := range ops {
		w.items = append(w.items, item{b.ops[i].tag, int32(seq) + 1, b.ops[i].gone, b.record(int(i))})
	}
	slices.SortFunc(w.items, func(x, y item) int {
		if x.tag != y.tag {
			return cmp.Compare(x.tag, y.tag)
		}
		if c := compare(x.record, y.record); c != 0 {
			return c
		}
		return cmp.Compare(x.seq, y.seq)
	})
	kept := w.items[:0]
	for i, it := range w.items {
		last := i+1 == len(w.items) || w.items[i+1].tag != it.tag || compare(w.items[i+1].record, it.record) != 0
		if last && !it.gone {
			kept = append(kept, it)
		}
	}
	w.items = kept
}

// page makes a page of the items, nil if there are none.
func (w *writer) page(shift uint) *page {
	if len(w.items) == 0 {
		return nil
	}
	size := 0
	for i := range w.items {
		size += len(w.items[i].record)
	}
	n := len(w.items)
	numbers := make([]uint32, 2*n)
	p := &page{tags: numbers[:n:n], ends: numbers[n:], data: make([]byte, 0, size)}
	for i, it := range w.items {
		p.data = append(p.data, it.record...)
		p.tags[i], p.ends[i] = it.tag, uint32(len(p.data))
		bit := mayBit(it.tag, shift)
		p.may[bit/64] |= 1 << (bit % 64)
	}
	return p
}
