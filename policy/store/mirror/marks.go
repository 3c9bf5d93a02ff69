package mirror

import (
	"fmt"
	"maps"
	"slices"

	"lictor/policy/store"
)

// Marks are the marks that are in the store, by name, with their indexes.
type Marks map[string]uint64

// Meaning is what marks say: those that are there, and those that were there
// before, since who deletes a whole prefix deletes the marks with it. The zero
// Meaning says nothing.
type Meaning struct {
	now, before Marks
	first       bool // nothing is known of before
}

// Obeyed notes that all that the marks cover was let go: those that were there
// before say nothing any more.
func (m *Meaning) Obeyed() { m.before = m.now }

// Cover reports whether a mark says that the loss of an object is meant. It
// speaks of what was there when it was written, not of what came later: a mark that
// somebody forgot to take away protects nothing less. What is held may have its
// index from another count; of that it speaks when it appears.
func (m *Meaning) Cover(o *store.Object) bool {
	for _, name := range []string{store.ClearedName, store.ClearedMark(o.Kind, ""), store.ClearedMark(o.Kind, o.Name)} {
		now, before := m.now[name], m.before[name]
		if max(now, before) > o.Index || o.Held && now != 0 && now != before && !m.first {
			return true
		}
	}
	return false
}

// SetMarks notes which marks are there, and returns what they mean.
func (m *Mirror) SetMarks(now Marks) *Meaning {
	m.mu.Lock()
	defer m.mu.Unlock()
	both := &Meaning{now: now, before: m.marks, first: m.marks == nil}
	for name := range now {
		if m.marks[name] == 0 {
			m.log.Info("a mark is there, a loss at once of what it names and what is older will be obeyed", "key", name)
		}
	}
	m.marks = now
	return both
}

// LeastOfKind is how many objects a kind must have had for their loss at once
// to be doubted.
const LeastOfKind = 3

// WithMarks makes ops such as the store can do and every node understands. What
// is held is not in the store: a condition on it is that it is absent there, and
// its deletion needs a mark, as does that of every object of a kind. The marks
// go with the next write of what they name.
func (m *Mirror) WithMarks(ops []store.Op) []store.Op {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]store.Op, 0, len(ops)+1)
	var add []store.Op
	written, deleted := map[string]bool{}, map[string]int{}
	said := map[string]bool{}
	for _, op := range ops {
		if op.Kind == "" {
			said[op.Name] = true
			if op.Verb == store.Put && m.marks[op.Name] != 0 { // a write of the same bytes would leave its index as it is
				op.Value = fmt.Appendf(slices.Clone(op.Value), "again after %d\n", m.status.Index)
			}
			out = append(out, op)
			continue
		}
		o := m.kinds[op.Kind][op.Name]
		held := o != nil && o.Held
		if held && op.Check.Index == o.Index {
			op.Check = store.Check{Absent: true}
		}
		switch {
		case op.Verb == store.Put:
			written[op.Kind] = true
			if mark := store.ClearedMark(op.Kind, op.Name); m.marks[mark] != 0 {
				add = append(add, store.Op{Name: mark, Verb: store.Delete})
			}
		case op.Verb == store.Delete && held:
			add = append(add, store.Op{Name: store.ClearedMark(op.Kind, op.Name), Verb: store.Put, Value: fmt.Appendf(nil, "deleted, it was at %d\n", o.Index)})
		case op.Verb == store.Delete && o != nil:
			deleted[op.Kind]++
		}
		out = append(out, op)
	}
	for kind := range written {
		if mark := store.ClearedMark(kind, ""); m.marks[mark] != 0 {
			add = append(add, store.Op{Name: mark, Verb: store.Delete})
		}
	}
	for kind, count := range deleted {
		if count >= LeastOfKind && !written[kind] && count == m.shownLocked(kind) {
			add = append(add, store.Op{Name: store.ClearedMark(kind, ""), Verb: store.Put, Value: fmt.Appendf(nil, "all were deleted after %d\n", m.status.Index)})
		}
	}
	for _, op := range add {
		if !said[op.Name] {
			out = append(out, op)
		}
	}
	return out
}

// shownLocked is how many objects of a kind the store shows. m.mu is held.
func (m *Mirror) shownLocked(kind string) int {
	count := 0
	for _, o := range m.kinds[kind] {
		count += 1 - boolInt(o.Held)
	}
	return count
}

// MarksAfter returns the marks as a write at index leaves them.
func (m *Mirror) MarksAfter(ops []store.Op, index uint64) Marks {
	m.mu.RLock()
	defer m.mu.RUnlock()
	after := maps.Clone(m.marks)
	if after == nil {
		after = Marks{}
	}
	for _, op := range ops {
		switch {
		case op.Kind != "":
		case op.Verb == store.Put:
			after[op.Name] = index
		case op.Verb == store.Delete:
			delete(after, op.Name)
		}
	}
	return after
}

// CountShown is how many objects of a kind the store showed last.
func (m *Mirror) CountShown(kind string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.shownLocked(kind)
}

// Kinds returns the kinds of which there is or was an object.
func (m *Mirror) Kinds() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Keys(m.kinds))
}

// HasMark reports whether a mark is there.
func (m *Mirror) HasMark(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.marks[name] != 0
}

// Known returns the object of a change as it was before, or what the change says.
func (m *Mirror) Known(c store.Change) *store.Object {
	if o, err := m.Get(c.Kind, c.Name); err == nil {
		return &o
	}
	return &c.Object
}
