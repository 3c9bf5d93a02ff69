package consul

import "io"

// SplitAlways makes c use the split layout for any policy.
func (c *Store) SplitAlways() { c.splitAt = -1 }

// ByKeysAlways makes c, which has the split layout, ask which keys changed of any
// prefix.
func (c *Store) ByKeysAlways() { c.splitAt, c.keyCost = -1, -1<<20 }

// Tenfold makes c, which has read nothing yet, treat a policy as if its values were ten
// times as large.
func (c *Store) Tenfold() { c.splitAt, c.keyCost = c.splitAt/10, c.keyCost/10 }

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

// Limits, for tests.
const (
	BlockFor    = blockFor
	RereadEvery = rereadEvery
)
