package store

import "io"

// SplitAlways makes c use the split layout for any policy.
func (c *Consul) SplitAlways() { c.splitAt = -1 }

// Scanned is an entry as scanEntries reads it.
type Scanned struct {
	Key, Value     string
	Modify, Create uint64
}

// Scan reads entries by hand.
func Scan(r io.Reader) ([]Scanned, error) {
	var all []Scanned
	err := scanEntries(r, func(e *entry) error {
		all = append(all, Scanned{string(e.key), string(e.value), e.modify, e.create})
		return nil
	})
	return all, err
}

// DecodeKept reads a kept policy, and returns its objects as it would be written again.
func DecodeKept(data []byte) (objects int, again []byte, err error) {
	content, err := decodeKept(data, headOf("test"), false)
	if content == nil {
		return 0, nil, err
	}
	return len(content.changes), appendFrame([]byte(headOf("test")), content.changes, content.index), err
}

// EncodeKept is a kept policy of these objects and these changes after it.
func EncodeKept(objects, later []Change) []byte {
	return appendFrame(appendFrame([]byte(headOf("test")), objects, 1), later, 2)
}

// Kept file and limits, for tests.
const (
	JournalName = journalName
	BlockFor    = blockFor
	RereadEvery = rereadEvery
)

// KeptFile is the path of what c keeps.
func (c *Consul) KeptFile() string { return c.mirror.kept.path }

// Keep makes objects with a last good value, for the fuzz target.
func Keep(o Object, former *Version) Change {
	o.Former, o.bad = former, true
	return Change{Object: o}
}
