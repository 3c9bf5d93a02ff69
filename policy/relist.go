package policy

import (
	"cmp"

	"lictor/policy/internal/packed"
)

// relist replaces a list object.
func (b *Builder) relist(k Key, old, next *object) {
	kind := listKind(k.Kind == KindWhitelist)
	b.tally(kind, old, -1)
	b.tally(kind, next, 1)
	if next != nil && old != nil {
		next.number = old.number
	}
	if next != nil && next.number == 0 {
		b.numbers++
		next.number = b.numbers
	}
	if number := cmp.Or(numberOf(next), numberOf(old)); next != nil && !next.broken {
		live := &liveList{List: next.Object.(*List), name: k.Name, key: b.path(k), index: next.index, tally: next.tally}
		set(&b.set.lists[kind], hashNumber(number), number, live, true)
	} else {
		set(&b.set.lists[kind], hashNumber(number), number, nil, false)
	}
	b.set.guards[kind].file(&b.entries[kind], old, next)
}

func numberOf(o *object) uint32 {
	if o == nil {
		return 0
	}
	return o.number
}

// fileEntries brings the entries of the next Set up to date.
func (b *Builder) fileEntries() {
	for kind := range b.entries {
		filed, lists := &b.set.guards[kind].filed, b.set.lists[kind]
		*filed = filed.With(&b.entries[kind], compareRecords(func(number uint32) string {
			if live, ok := lists.Get(hashNumber(number), number); ok {
				return live.name
			}
			return ""
		}))
		b.entries[kind] = packed.Batch{}
	}
}

// speaksAt reports whether an entry can match on a listener at all (A17).
func (r *listRule) speaksAt(side int) bool {
	if side == egress {
		return !(r.isPath() && r.host == "")
	}
	return !(r.prefix.IsValid() && r.port != 0)
}

// tally counts what a list has; an unreadable whitelist counts as one entry that
// nothing matches, and so do unreadable entries.
func (b *Builder) tally(kind int, o *object, sign int) {
	if o == nil || o.Object == nil {
		return
	}
	l := o.Object.(*List)
	n := len(l.Entries)
	if o.broken {
		n = 1
	}
	for side, direction := range [...]Direction{gateway: Ingress, egress: Egress} {
		if !l.Direction.covers(direction) {
			continue
		}
		b.set.guards[kind].services[side] += sign * o.services
		switch {
		case !l.Allow:
		case l.Mode.Reports():
			b.set.admits[side].report += sign * n
		default:
			b.set.admits[side].enforced += sign * n
			b.set.admits[side].byAddr += sign * o.byAddr
		}
	}
}
