// Package packed is a persistent multimap from hashes to short records, made for
// millions of them: a record costs eight bytes besides its own, and the collector
// sees a few objects for every two hundred of them. A batch of changes makes a new
// map that shares all pages it does not touch with the old one, so that who reads
// the old one keeps what it had, a change costs a few pages, and a first load costs
// one pass over what is loaded.
package packed

// Map is a persistent multimap of records by hash. It never changes,
// [Map.With] returns another one. The zero Map is empty. It may be read by any
// number of goroutines.
//
// Records are found by the upper half of their hash, their tag, so that what is
// found has still to be compared. Tags of what strangers write must not be
// foreseeable.
type Map struct {
	pages []*page // a power of two of them; a tag's first bits say in which it lies
	shift uint    // what is left of a tag behind these bits
	n     int
}

// page holds the records of a range of tags, in the order of the tags and, among
// equal ones, in that of the batches' Compare.
type page struct {
	may  [pageBits / 64]uint64 // a bit for every small range of tags that has a record
	tags []uint32
	ends []uint32 // where in data each record ends
	data []byte
}

const (
	tagBits  = 32
	pageBits = 2048 // of may: at 200 records nine look-ups in ten that find nothing end there
	pageFull = 256  // records of the average page beyond which a batch makes more pages
	pageThin = 32   // below which it makes fewer
)

// Len returns the number of records.
func (m *Map) Len() int { return m.n }

// Found is what [Map.Look] found. The zero Found is nothing.
type Found struct {
	page *page
	at   int
	tag  uint32
}

// Look finds the records of a hash, and maybe others: all that have its tag.
func (m *Map) Look(hash uint64) Found {
	if len(m.pages) == 0 {
		return Found{}
	}
	tag := uint32(hash >> tagBits)
	p := m.pages[tag>>m.shift]
	bit := mayBit(tag, m.shift)
	if p == nil || p.may[bit/64]>>(bit%64)&1 == 0 {
		return Found{}
	}
	return Found{page: p, at: p.search(tag, m.shift), tag: tag}
}

// Any reports whether there may be a record.
func (f *Found) Any() bool { return f.page != nil }

// Next returns the next record that was found, nil if there are no more. It must
// not be changed.
func (f *Found) Next() []byte {
	if f.page == nil || f.at >= len(f.page.tags) || f.page.tags[f.at] != f.tag {
		return nil
	}
	f.at++
	return f.page.record(f.at - 1)
}

// All calls yield with every record, until it returns false.
func (m *Map) All(yield func(record []byte) bool) {
	for _, p := range m.pages {
		if p == nil {
			continue
		}
		for i := range p.tags {
			if !yield(p.record(i)) {
				return
			}
		}
	}
}

// mayBit is the bit of a tag in its page's may.
func mayBit(tag uint32, shift uint) uint32 {
	within := uint64(tag) & (1<<shift - 1)
	return uint32(within * pageBits >> shift)
}

// search returns the index of the first record whose tag is not below tag. Tags
// are evenly spread, so it looks first where they would be if they were perfectly so.
func (p *page) search(tag uint32, shift uint) int {
	within := uint64(tag) & (1<<shift - 1)
	i := int(within * uint64(len(p.tags)) >> shift)
	for i > 0 && p.tags[i-1] >= tag {
		i--
	}
	for i < len(p.tags) && p.tags[i] < tag {
		i++
	}
	return i
}

func (p *page) record(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.data[from:p.ends[i]:p.ends[i]]
}
