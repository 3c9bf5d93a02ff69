package policy

import (
	"cmp"
	"fmt"
	"slices"

	"lictor/policy/internal/packed"
)

// lines is a list that was read entry by entry.
type lines struct {
	partly Problems // entries that are bad, which does not spoil the others
	whole  Problems // why the list says nothing at all
	notes  Problems // what in it can match nothing

	twice    bool // some entry is there more than once
	byAddr   int  // entries that speak of addresses or services, each once
	services int  // those that speak of services
}

const (
	maxBadEntries = 100  // of a list that are told one by one
	maxAlike      = 1000 // of a list that differ in port or method only: a request is compared with each of them
)

// line is a good entry of a list, by the key under which it is filed.
type line struct {
	hash uint64
	at   int32
	form int8
}

// readLines reads the entries of a list. One that is bad does not spoil the others,
// and is told in partly. A list in which no entry is good says nothing at all: it was
// written in another format than was meant, and cannot be read as a whole.
func readLines(l *List) lines {
	var r lines
	good, bad := make([]line, 0, len(l.Entries)), 0
	for i, text := range l.Entries {
		e, err := parseEntry(text)
		if err != nil {
			if bad++; bad <= maxBadEntries {
				r.partly = append(r.partly, l.problem(i, fmt.Sprintf("%.200q: %.300s", text, err)))
			}
			continue
		}
		good = append(good, line{e.hash(first(e.paths)), int32(i), int8(e.form())})
		if len(r.notes) < maxProblems {
			if why := (&listRule{entry: e, text: text}).useless(l.Direction); why != "" {
				r.notes = append(r.notes, l.problem(i, fmt.Sprintf("%.200q: %s", text, why)))
			}
		}
	}
	if bad > 0 && len(good) == 0 {
		return lines{notes: r.notes, whole: append(Problems{{Field: "entries", Text: "no entry can be read, so the list is taken for unreadable"}}, r.partly...)}
	}
	if bad > maxBadEntries {
		r.partly = append(r.partly, Problem{Field: "entries", Text: fmt.Sprintf("%d more can not be read", bad-maxBadEntries)})
	}
	if at := r.count(l, good); at >= 0 {
		return lines{notes: r.notes, whole: Problems{l.problem(at, fmt.Sprintf("%.200q: more than %d entries for the same host, address or path", l.Entries[at], maxAlike))}}
	}
	return r
}

// count counts the good entries, each once. It returns the first of which there are
// too many alike, -1 if there is none. It orders good.
func (r *lines) count(l *List, good []line) int {
	slices.SortFunc(good, func(a, b line) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Or(cmp.Compare(l.Entries[a.at], l.Entries[b.at]), cmp.Compare(a.at, b.at))
	})
	first, alike := -1, []int32(nil)
	for i, g := range good {
		if i == 0 || good[i-1].hash != g.hash {
			alike = alike[:0]
		} else if l.Entries[good[i-1].at] == l.Entries[g.at] {
			r.twice = true
			continue
		}
		switch g.form {
		case filedService:
			r.services, r.byAddr = r.services+1, r.byAddr+1
		case filedAddr:
			r.byAddr++
		}
		if alike = append(alike, g.at); len(alike) == maxAlike+1 {
			if at := int(slices.Max(alike)); first < 0 || at < first {
				first = at
			}
		}
	}
	return first
}

// problem is something wrong with an entry, at its line.
func (l *List) problem(entry int, text string) Problem {
	p := Problem{Field: fmt.Sprintf("entries[%d]", entry), Text: text}
	if entry < len(l.Lines) {
		p.Line = l.Lines[entry]
	}
	return p
}

// entriesOf are the entries of the list that an object is, nil if it is none that
// is in force.
func entriesOf(o *object) []string {
	if o == nil || o.Object == nil {
		return nil
	}
	return o.Object.(*List).Entries
}

// differing returns the entries of two versions of a list in which they differ, and
// maybe others that both have. It costs no memory where a few lines of many changed.
func differing(old, next *object) (was, is []string) {
	was, is = entriesOf(old), entriesOf(next)
	if old != nil && old.twice || next != nil && next.twice {
		return was, is // what is taken out of one place may stand in another
	}
	return Differing(was, is)
}

// Differing returns what is left of two lists without what both begin with and what
// both end with: parts of them, which cost no memory.
func Differing(was, is []string) (left, right []string) {
	same := 0
	for same < min(len(was), len(is)) && was[same] == is[same] {
		same++
	}
	was, is = was[same:], is[same:]
	for len(was) > 0 && len(is) > 0 && was[len(was)-1] == is[len(is)-1] {
		was, is = was[:len(was)-1], is[:len(is)-1]
	}
	return was, is
}

// file notes in a batch which entries of a list come and go, so that one line of
// a list of 20,000 costs one line.
func (x *listIndex) file(b *packed.Batch, old, next *object) {
	was, is := differing(old, next)
	var scratch []byte
	enter := func(number uint32, some, others []string, add bool) {
		both := setOf(others)
		for _, text := range some {
			if both[text] {
				continue
			}
			if e, err := parseEntry(text); err == nil {
				scratch = e.file(b, number, text, add, scratch)
				x.note(&e)
			}
		}
	}
	if old != nil {
		enter(old.number, was, is, false)
	}
	if next != nil {
		enter(next.number, is, was, true)
	}
}

func setOf(texts []string) map[string]bool {
	if len(texts) == 0 {
		return nil
	}
	set := make(map[string]bool, len(texts))
	for _, t := range texts {
		set[t] = true
	}
	return set
}
