package policy

import "lictor/policy/internal/trie"

// work works changes in and brings all tables up to date. If a step panics, the
// builder goes back to what it was and tries the changes in parts, until it is
// known which of them it was; that one is worked in as a value that cannot be
// read. Only where there is a panic does that cost more than the changes.
func (b *Builder) work(changes []Change) []*Rejection {
	before := b.mark(changes)
	rejections, crash := b.attempt(changes)
	if crash == nil {
		return rejections
	}
	b.restore(before)
	if crash.at < 0 { // nobody knows whose tables they were
		half := len(changes) / 2
		return append(b.work(changes[:half]), b.work(changes[half:])...)
	}
	spoilt, ok := changes[crash.at].spoilt()
	if !ok {
		panic(crash.value) // by nothing that anybody wrote: the fault is not contained by leaving that out
	}
	rejections = b.work(changes[:crash.at])
	rejections = append(rejections, b.work([]Change{spoilt})...)
	return append(rejections, b.work(changes[crash.at+1:])...)
}

// crash is a panic in an attempt.
type crash struct {
	at    int // the change that it came of; -1 if that is not known
	value any
}

// attempt works changes in. After a crash the builder is in no order.
func (b *Builder) attempt(changes []Change) (rejections []*Rejection, crashed *crash) {
	at := -1
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if at < 0 && len(changes) < 2 {
			at = len(changes) - 1
			if at < 0 {
				panic(value) // what was in force already does it
			}
		}
		crashed = &crash{at, value}
		if at >= 0 && b.options.Panicked != nil {
			b.options.Panicked(value)
		}
	}()
	b.dirty = newDirty()
	for i := range changes {
		at = i
		if r := b.apply(&changes[i]); r != nil {
			rejections = append(rejections, r)
		}
	}
	at = -1
	b.tables(b)
	return rejections, nil
}

// spoilt returns what takes the place of a change that ended in a panic: first a
// value that cannot be read, whose stand-in is made of what it says, then one of
// which nothing was read. ok is false if it was that already.
func (c Change) spoilt() (next Change, ok bool) {
	if c.contained && c.Object == nil {
		return c, false
	}
	if c.contained {
		c.Object = nil
	}
	c.contained = true
	c.Err = Problems{{Text: "a panic was contained while it was put in force, which the log shows"}}
	return c, true
}

// mark is what an attempt may change of the objects, as it was.
type mark struct {
	objects  map[Key]*object // nil: there was none
	rejected trie.Trie[Key, *Rejection]
}

func (b *Builder) mark(changes []Change) mark {
	m := mark{objects: make(map[Key]*object, len(changes)), rejected: b.set.rejected}
	for i := range changes {
		m.objects[changes[i].Key] = b.objects[changes[i].Key]
	}
	return m
}

// restore makes all tables anew of the objects that there were.
func (b *Builder) restore(before mark) {
	for k, o := range before.objects {
		if o == nil {
			delete(b.objects, k)
		} else {
			b.objects[k] = o
		}
	}
	fresh := NewBuilder(b.options)
	fresh.tables = b.tables
	fresh.numbers = b.numbers // the lists keep theirs, and no other one is to get the same
	for k, o := range b.objects {
		fresh.replace(k, nil, o)
	}
	fresh.set.rejected = before.rejected
	fresh.SetFeeds(b.set.feeds)
	fresh.compileDirty()
	*b = *fresh
}
