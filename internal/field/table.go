package field

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Table finds numbers by the names that they stand for, in whatever case these come;
// marks are not the same here. It does not change, so anybody may use it at any time.
type Table struct {
	byLength [longest + 1][]known
}

// longest is the length of the longest name that a Table takes.
const longest = 32

// known is a name in lower case. Its ends are compared as words, for it is looked for
// several times in every request.
type known struct {
	name       string
	is         uint8
	head, tail word
}

// word is some bytes of a name, and the bits of them in which its cases differ.
type word struct{ bytes, cases uint64 }

func (w word) is(bytes uint64) bool { return (w.bytes^bytes)&^w.cases == 0 }

// NewTable returns a table of names in lower case, each at most 32 bytes long. 0 is no
// number to find.
func NewTable[V ~uint8](names map[string]V) *Table {
	t := new(Table)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		head, tail := ends([]byte(name))
		k := known{name: name, is: uint8(names[name]), head: wordOf(head), tail: wordOf(tail)}
		t.byLength[len(name)] = append(t.byLength[len(name)], k)
	}
	return t
}

// Find returns the number of a name, 0 if the table does not have it.
func (t *Table) Find(name []byte) uint8 {
	if len(name) > longest {
		return 0
	}
	head, tail := ends(name)
	for i := range t.byLength[len(name)] {
		k := &t.byLength[len(name)][i]
		if k.head.is(head) && k.tail.is(tail) && k.middleIs(name) {
			return k.is
		}
	}
	return 0
}

// middleIs compares what lies between the ends.
func (k *known) middleIs(name []byte) bool {
	for i := 8; i < len(name)-8; i++ {
		if c := name[i]; c != k.name[i] && (c < 'A' || c > 'Z' || c|0x20 != k.name[i]) {
			return false
		}
	}
	return true
}

// ends returns the first and the last eight bytes of b, which overlap if it has less
// than 16. If it has less than eight they are shorter as well.
func ends(b []byte) (head, tail uint64) {
	switch {
	case len(b) >= 8:
		return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[len(b)-8:])
	case len(b) >= 4:
		return uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	}
	for _, c := range b {
		head = head<<8 | uint64(c)
	}
	return head, 0
}

// wordOf returns the word of bytes that are in lower case.
func wordOf(bytes uint64) word {
	w := word{bytes: bytes}
	for i := 0; i < 64; i += 8 {
		if c := bytes >> i & 0xff; 'a' <= c && c <= 'z' {
			w.cases |= 0x20 << i
		}
	}
	return w
}
