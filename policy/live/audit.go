package live

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// Audited is a change of the policy, or a write that was refused (R6). It holds no
// secret: of a document it has the sums and the fields that may be shown.
type Audited struct {
	Seq     uint64    `json:"seq"`              // counts from 1 since the start
	Time    time.Time `json:"time"`             // when this lictor put it in force
	By      string    `json:"by"`               // the access that wrote it, or the kind of the store: it was made there, perhaps by another lictor
	From    string    `json:"from,omitempty"`   // the address of who wrote it
	Key     string    `json:"key"`              // kind/name
	Verb    string    `json:"verb"`             // create, change, delete
	Index   uint64    `json:"index,omitempty"`  // of the store
	Before  string    `json:"before,omitempty"` // the sum of the value before it, "" = there was none: its SHA-256, of a plugin keyed
	After   string    `json:"after,omitempty"`  // of the value after it
	Outcome string    `json:"outcome"`          // in force, or why not
	Fields  []string  `json:"fields,omitempty"` // what differs
}

// inForce is the outcome of a change that is good.
const inForce = "in force"

// audit keeps the last changes, and has each told. The zero value tells nobody.
type audit struct {
	key  [sha256.Size]byte            // of the sums of plugins; random, and told to nobody
	tell func(*Audited)               // may be called by any goroutine, and must not block; nil = nobody is told
	sums map[string][sha256.Size]byte // of the values that are known, by key; of the goroutine of Run

	mu   sync.Mutex // guards what follows
	seq  uint64
	last []Audited // the oldest first
}

// newKey returns a key for the sums of plugins.
func newKey() (key [sha256.Size]byte) {
	rand.Read(key[:]) // never fails
	return key
}

// sum tells values of an object apart. A plugin may hold a secret, which whoever reads
// the audit could find by trying, if the sum were one that anybody can make.
func (a *audit) sum(kind string, value []byte) (sum [sha256.Size]byte) {
	if policy.Kind(kind) != policy.KindPlugins {
		return sha256.Sum256(value)
	}
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write(value)
	mac.Sum(sum[:0])
	return sum
}

// maxAudited is how many changes are kept.
const maxAudited = 1000

// add keeps an entry and tells it.
func (a *audit) add(e Audited) {
	a.mu.Lock()
	a.seq++
	e.Seq = a.seq
	if len(a.last) == maxAudited {
		a.last = slices.Delete(a.last, 0, 1)
	}
	a.last = append(a.last, e)
	a.mu.Unlock()
	if a.tell != nil {
		a.tell(&e)
	}
}

// Changes returns the changes of the policy of late, the newest first: at most limit
// of those before seq, 0 = all. more reports whether there are older ones. The slice
// is the caller's.
func (p *Policy) Changes(limit int, seq uint64) (list []Audited, more bool) {
	a := &p.audit
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range slices.Backward(a.last) {
		switch {
		case seq != 0 && e.Seq >= seq:
		case len(list) == limit:
			return list, true
		default:
			list = append(list, e)
		}
	}
	return list, false
}

// changed is what an update changes, before it is in force.
type changed struct {
	entries []Audited
	former  []policy.Object // by entry, nil = none
}

// begin finds out what an update changes. It learns the values of the first one,
// which changes nothing that anybody has known.
func (p *Policy) begin(u store.Update, first bool) *changed {
	a := &p.audit
	if a.sums == nil {
		a.sums = make(map[string][sha256.Size]byte)
	}
	c := &changed{}
	seen := make(map[string]bool, len(u.Changes))
	for i := range u.Changes {
		one := &u.Changes[i]
		seen[one.Key()] = true
		c.note(p, one, first)
	}
	if !u.Reset {
		return c
	}
	for key := range a.sums {
		if !seen[key] {
			kind, name, _ := strings.Cut(key, "/")
			c.note(p, &store.Change{Object: store.Object{Kind: kind, Name: name, Index: u.Index}, Deleted: true}, first)
		}
	}
	return c
}

// note adds a change, if its value is another one.
func (c *changed) note(p *Policy, one *store.Change, first bool) {
	sums, key := p.audit.sums, one.Key()
	before, known := sums[key]
	after := p.audit.sum(one.Kind, one.Value)
	switch {
	case one.Deleted:
		delete(sums, key)
	default:
		sums[key] = after
	}
	if first || one.Deleted && !known || !one.Deleted && known && before == after || one.Kind == "" {
		return
	}
	e := Audited{Time: time.Now(), Key: key, Index: one.Index, Verb: "change", Outcome: inForce}
	switch {
	case one.Deleted:
		e.Verb = "delete"
	case !known:
		e.Verb = "create"
	}
	if known {
		e.Before = hex.EncodeToString(before[:])
	}
	if !one.Deleted {
		e.After = hex.EncodeToString(after[:])
	}
	e.By, e.From = p.writers.writerOf(one)
	if e.By == "" {
		e.By = p.cfg.Store.Kind()
	}
	c.entries = append(c.entries, e)
	c.former = append(c.former, p.builder.Object(policy.Key{Kind: policy.Kind(one.Kind), Name: one.Name}))
}

// end tells what became of the changes.
func (c *changed) end(p *Policy, rejections []*policy.Rejection) {
	why := make(map[string]string)
	for _, r := range rejections {
		why[string(r.Key.Kind)+"/"+r.Key.Name] = fmt.Sprintf("not in force: %.300s", r.Problems.Error())
	}
	for i := range c.entries {
		e := &c.entries[i]
		if text := why[e.Key]; text != "" {
			e.Outcome = text
		} else {
			kind, name, _ := strings.Cut(e.Key, "/")
			e.Fields = differences(c.former[i], p.builder.Object(policy.Key{Kind: policy.Kind(kind), Name: name}))
		}
		p.audit.add(*e)
	}
}

// refused tells of a write that was not done.
func (a *audit) refused(ops []store.Op, by, from string, err error) {
	for i := range ops {
		if ops[i].Verb == store.Verify {
			continue
		}
		e := Audited{Time: time.Now(), By: by, From: from, Key: store.Key(ops[i].Kind, ops[i].Name), Verb: "change", Outcome: fmt.Sprintf("refused: %.300s", err)}
		if ops[i].Verb == store.Delete {
			e.Verb = "delete"
		} else {
			sum := a.sum(ops[i].Kind, ops[i].Value)
			e.After = hex.EncodeToString(sum[:])
		}
		a.add(e)
	}
}

// replaced tells of a write that was done and that nobody here saw in force: another
// one came behind it too soon.
func (a *audit) replaced(w *writing, by, from string, index uint64) {
	e := Audited{Time: time.Now(), By: by, From: from, Key: w.key, Verb: "change", Index: index, Outcome: "written, and replaced before it was in force here"}
	if w.deleted {
		e.Verb = "delete"
	} else {
		e.After = hex.EncodeToString(w.sum[:])
	}
	a.add(e)
}

// Bounds on what is said of one change.
const (
	maxFields   = 20  // lines
	maxElements = 10  // of a list that came or went
	maxShown    = 200 // bytes of a value
)

// differences says which fields of an object are others, without secrets. nil stands
// for an object that is not there.
func differences(before, after policy.Object) (lines []string) {
	was, is := shown(before, after)
	names := make(map[string]bool)
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, name := range all {
		if reflect.DeepEqual(was[name], is[name]) {
			continue
		}
		if len(lines) == maxFields {
			return append(lines, "and more")
		}
		lines = append(lines, name+": "+difference(was[name], is[name]))
	}
	return lines
}

// shown returns the fields of two versions of an object that may be shown. Of lists it
// has the entries between those that both begin with and those that both end with: a
// line of a large list costs what the line does.
func shown(before, after policy.Object) (was, is map[string]any) {
	b, lists := before.(*policy.List)
	a, also := after.(*policy.List)
	if !lists || !also {
		return document.ShownFields(before), document.ShownFields(after)
	}
	old, next := *b, *a
	old.Entries, next.Entries = policy.Differing(b.Entries, a.Entries)
	return document.ShownFields(&old), document.ShownFields(&next)
}

// difference says how a value became another one: of lists what came and what went.
func difference(was, is any) string {
	before, lists := was.([]any)
	after, also := is.([]any)
	if lists && (also || is == nil) || also && was == nil {
		return elements(before, after)
	}
	return value(was) + " -> " + value(is)
}

// elements says what came to a list and what went from it.
func elements(before, after []any) string {
	count := make(map[string]int)
	for _, e := range before {
		count[value(e)]--
	}
	for _, e := range after {
		count[value(e)]++
	}
	var changes []string
	for text, n := range count {
		if n > 0 {
			changes = append(changes, "+"+text)
		} else if n < 0 {
			changes = append(changes, "-"+text)
		}
	}
	if len(changes) == 0 {
		return "in another order"
	}
	slices.Sort(changes)
	if n := len(changes); n > maxElements {
		changes = append(changes[:maxElements], fmt.Sprintf("and %d more", n-maxElements))
	}
	return strings.Join(changes, " ")
}

func value(v any) string {
	text := document.FieldText(v)
	if len(text) > maxShown {
		return strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return text
}
