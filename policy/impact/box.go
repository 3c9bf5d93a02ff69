package impact

import (
	"encoding/binary"
	"slices"
)

// box is classes of a road that are one in their effect: all that are made of one
// index of each list.
type box struct {
	group   int
	lists   [dims][]int32 // sorted
	classes int
}

func (b *box) has(c cell) bool {
	for d, i := range c {
		if _, ok := slices.BinarySearch(b.lists[d], i); !ok {
			return false
		}
	}
	return true
}

// maxCells is how many classes of a group are kept one by one, until they are boxes:
// those take less, as most classes differ from others in one dimension. Fewer would be
// joined to more boxes, and told in more lines.
const maxCells = 1 << 16

// boxer collects the classes of a road by their groups.
type boxer struct {
	most  int // cells of a group
	cells map[int][]cell
	boxes map[int][]*box
}

func newBoxer(most int) *boxer {
	return &boxer{most, make(map[int][]cell), make(map[int][]*box)}
}

func (x *boxer) add(group int, c cell) {
	if x.cells[group] = append(x.cells[group], c); len(x.cells[group]) == x.most {
		x.pack(group)
	}
}

func (x *boxer) pack(group int) {
	x.boxes[group] = append(x.boxes[group], packed(boxes(group, x.cells[group]))...)
	x.cells[group] = x.cells[group][:0]
}

// done returns all that was added, by group.
func (x *boxer) done() (all []*box) {
	for _, g := range sortedKeys(x.cells) {
		x.pack(g)
		all = append(all, packed(x.boxes[g])...)
	}
	return all
}

// boxes makes a box of each class.
func boxes(group int, cells []cell) []*box {
	all := make([]*box, len(cells))
	for i, c := range cells {
		b := &box{group: group, classes: 1}
		for d := range c {
			b.lists[d] = []int32{c[d]}
		}
		all[i] = b
	}
	return all
}

// packed joins boxes of one group. Two are joined where they differ in one dimension
// alone, so that the sum is what both were and nothing else.
func packed(all []*box) []*box {
	for {
		before := len(all)
		for d := range dims {
			all = joined(all, d)
		}
		if len(all) == before {
			return all
		}
	}
}

// joined joins boxes that differ in the dimension d alone.
func joined(all []*box, d int) []*box {
	by := make(map[string]*box, len(all))
	var out []*box
	var key []byte
	for _, b := range all {
		key = key[:0]
		for i, list := range b.lists {
			if i == d {
				continue
			}
			key = binary.AppendUvarint(key, uint64(len(list)))
			for _, v := range list {
				key = binary.AppendUvarint(key, uint64(v))
			}
		}
		if same := by[string(key)]; same != nil {
			same.lists[d] = append(same.lists[d], b.lists[d]...)
			same.classes += b.classes
			continue
		}
		by[string(key)] = b
		out = append(out, b)
	}
	for _, b := range out {
		slices.Sort(b.lists[d])
	}
	return out
}
