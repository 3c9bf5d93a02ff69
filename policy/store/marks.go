package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// marks are the marks that are in the store, by name, with their indexes.
type marks map[string]uint64

// meaning is what marks say: those that are there, and those that were there
// before, since who deletes a whole prefix deletes the marks with it.
type meaning struct {
	now, before marks
	first       bool // nothing is known of before
}

// cover reports whether a mark says that the loss of an object is meant. It
// speaks of what was there when it was written, not of what came later: a mark that
// somebody forgot to take away protects nothing less. What is held may have its
// index from another count; of that it speaks when it appears.
func (m *meaning) cover(o *Object) bool {
	for _, name := range []string{ClearedName, ClearedMark(o.Kind, ""), ClearedMark(o.Kind, o.Name)} {
		now, before := m.now[name], m.before[name]
		if max(now, before) > o.Index || o.Held && now != 0 && now != before && !m.first {
			return true
		}
	}
	return false
}

// setMarks notes which marks are there, and returns what they mean.
func (m *mirror) setMarks(now marks) *meaning {
	m.mu.Lock()
	defer m.mu.Unlock()
	both := &meaning{now: now, before: m.marks, first: m.marks == nil}
	for name := range now {
		if m.marks[name] == 0 {
			m.log.Info("a mark is there, a loss at once of what it names and what is older will be obeyed", "key", name)
		}
	}
	m.marks = now
	return both
}

// leastOfKind is how many objects a kind must have had for their loss at once
// to be doubted.
const leastOfKind = 3

// withMarks makes ops such as the store can do and every node understands. What
// is held is not in the store: a condition on it is that it is absent there, and
// its deletion needs a mark, as does that of every object of a kind. The marks
// go with the next write of what they name.
func (m *mirror) withMarks(ops []Op) []Op {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]Op, 0, len(ops)+1)
	var add []Op
	written, deleted := map[string]bool{}, map[string]int{}
	said := map[string]bool{}
	for _, op := range ops {
		if op.Kind == "" {
			said[op.Name] = true
			if op.Verb == Put && m.marks[op.Name] != 0 { // a write of the same bytes would leave its index as it is
				op.Value = fmt.Appendf(slices.Clone(op.Value), "again after %d\n", m.status.Index)
			}
			out = append(out, op)
			continue
		}
		o := m.kinds[op.Kind][op.Name]
		held := o != nil && o.Held
		if held && op.Check.Index == o.Index {
			op.Check = Check{Absent: true}
		}
		switch {
		case op.Verb == Put:
			written[op.Kind] = true
			if mark := ClearedMark(op.Kind, op.Name); m.marks[mark] != 0 {
				add = append(add, Op{Name: mark, Verb: Delete})
			}
		case op.Verb == Delete && held:
			add = append(add, Op{Name: ClearedMark(op.Kind, op.Name), Verb: Put, Value: fmt.Appendf(nil, "deleted, it was at %d\n", o.Index)})
		case op.Verb == Delete && o != nil:
			deleted[op.Kind]++
		}
		out = append(out, op)
	}
	for kind := range written {
		if mark := ClearedMark(kind, ""); m.marks[mark] != 0 {
			add = append(add, Op{Name: mark, Verb: Delete})
		}
	}
	for kind, count := range deleted {
		if count >= leastOfKind && !written[kind] && count == m.shown(kind) {
			add = append(add, Op{Name: ClearedMark(kind, ""), Verb: Put, Value: fmt.Appendf(nil, "all were deleted after %d\n", m.status.Index)})
		}
	}
	for _, op := range add {
		if !said[op.Name] {
			out = append(out, op)
		}
	}
	return out
}

// shown is how many objects of a kind the store shows. The caller holds mu.
func (m *mirror) shown(kind string) int {
	count := 0
	for _, o := range m.kinds[kind] {
		count += 1 - boolInt(o.Held)
	}
	return count
}

// asAsked makes a conflict speak of the op as it was asked for.
func asAsked(err error, asked []Op) error {
	conflict, ok := errors.AsType[*ConflictError](err)
	if !ok {
		return err
	}
	for _, op := range asked {
		if op.Kind == conflict.Op.Kind && op.Name == conflict.Op.Name {
			return &ConflictError{Op: op}
		}
	}
	return err
}

// marksAfter returns the marks as a write at index leaves them.
func (m *mirror) marksAfter(ops []Op, index uint64) marks {
	m.mu.RLock()
	defer m.mu.RUnlock()
	after := marks{}
	for name, at := range m.marks {
		after[name] = at
	}
	for _, op := range ops {
		switch {
		case op.Kind != "":
		case op.Verb == Put:
			after[op.Name] = index
		case op.Verb == Delete:
			delete(after, op.Name)
		}
	}
	return after
}

// countShown is how many objects of a kind the store showed last.
func (m *mirror) countShown(kind string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.shown(kind)
}

// kindNames returns the kinds of which there is or was an object.
func (m *mirror) kindNames() iter.Seq[string] {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Values(slices.Collect(maps.Keys(m.kinds)))
}

// hasMark reports whether a mark is there.
func (m *mirror) hasMark(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.marks[name] != 0
}

// known returns the object of a change as it was before, or what the change says.
func (m *mirror) known(c Change) *Object {
	if o, err := m.get(c.Kind, c.Name); err == nil {
		return &o
	}
	return &c.Object
}
