// Package mirror is what the forms of the policy store have in common: the
// content as it was last delivered, the last good values beside it, what is held
// and which marks say that a loss is meant, and the file that survives a restart.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
)

// Mirror is the content as last delivered to the running watch, if there is one.
// [New] makes it. Any number of goroutines may read it; the changes are brought
// by one at a time, which the store sees to.
type Mirror struct {
	log  hclog.Logger
	kept *LastGood // nil: no snapshot

	mu       sync.RWMutex // guards what follows; not held while deliver runs
	kinds    map[string]map[string]*store.Object
	status   store.Status
	marks    Marks                       // those that are there
	deliver  func(store.Update) []string // nil: no watch runs
	reported string                      // the problem that was logged last
}

// New returns an empty mirror for a store of one of the Kind constants. kept is
// what survives a restart; nil = nothing does.
func New(kind string, log hclog.Logger, kept *LastGood) *Mirror {
	return &Mirror{log: log, kept: kept, kinds: map[string]map[string]*store.Object{}, status: store.Status{Kind: kind}}
}

// Begin starts a watch, and fails if one runs. What was kept of an earlier life is delivered at once,
// or what an earlier watch of this one had: fn is called before Begin returns.
func (m *Mirror) Begin(fn func(store.Update) []string) error {
	m.mu.Lock()
	if m.deliver != nil {
		m.mu.Unlock()
		return errors.New("store: Watch is already running")
	}
	m.deliver = fn
	again := m.status.Loaded
	m.mu.Unlock()
	if again {
		m.Publish(store.Update{Changes: m.Everything(), Reset: true, LastGood: m.Status().LastGood, Index: m.Index()})
		return nil
	}
	if m.kept == nil {
		return nil
	}
	content, err := m.kept.load()
	if err != nil {
		m.log.Warn("cannot use the kept policy", "path", m.kept.path, "error", err)
	}
	if content == nil {
		return nil
	}
	m.mu.Lock()
	m.status.Contact = content.contact
	m.mu.Unlock()
	m.log.Warn("using the kept policy until the store answers",
		"objects", len(content.changes), "age_s", int64(time.Since(content.contact).Seconds()))
	m.Publish(store.Update{Changes: content.changes, Reset: true, LastGood: true, Index: content.index})
	return nil
}

// End ends what [Mirror.Begin] began: fn is not called any more.
func (m *Mirror) End() {
	m.mu.Lock()
	m.deliver = nil
	m.mu.Unlock()
}

// Keep writes what is published to the file of [LastGood] until ctx ends, and
// once more then. Without one it returns at once.
func (m *Mirror) Keep(ctx context.Context) {
	if m.kept != nil {
		m.kept.run(ctx, m)
	}
}

// Publish takes the changes over and delivers them; it blocks while the watch's
// fn runs. An update that changes nothing is delivered only if it is the first one
// or confirms what was kept.
func (m *Mirror) Publish(u store.Update) {
	m.mu.Lock()
	if !m.status.Loaded {
		u.Reset = true
	}
	silent := len(u.Changes) == 0 && !u.Reset && m.status.LastGood == u.LastGood
	own := m.takeLocked(u)
	m.status.Loaded, m.status.LastGood, m.status.Index = true, u.LastGood, u.Index
	deliver := m.deliver
	m.mu.Unlock()
	if silent {
		return
	}
	m.tellLoss(u.Changes)
	if deliver != nil {
		m.judge(own, deliver(u))
	}
	if m.kept != nil && !u.LastGood {
		u.Changes = own
		m.kept.add(u)
	}
}

// takeLocked takes changes over, as its own, for the reader may keep those of u. Each
// value is a bad one until it was judged, with the last good one beside it: whatever is
// written to the file before, or is never judged, opens nothing. m.mu is held.
func (m *Mirror) takeLocked(u store.Update) (own []store.Change) {
	own = slices.Clone(u.Changes)
	for i := range own {
		c := &own[i]
		if !c.Deleted {
			if former := lastGoodOf(m.kinds[c.Kind][c.Name]); former != nil && !u.Reset {
				c.Former = former
			}
			c.Bad = true
		}
		m.applyLocked(c)
	}
	return own
}

// judge marks the values good that the reader did not call bad: they need no last good
// one beside them.
func (m *Mirror) judge(own []store.Change, bad []string) {
	isBad := make(map[string]bool, len(bad))
	for _, key := range bad {
		isBad[key] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range own {
		if c := &own[i]; !c.Deleted && !isBad[c.Key()] {
			c.Bad, c.Former = false, nil
		}
	}
}

// lastGoodOf returns the last good value of an object, nil if there is none.
func lastGoodOf(o *store.Object) *store.Version {
	switch {
	case o == nil:
		return nil
	case o.Bad:
		return o.Former
	}
	return &store.Version{Value: o.Value, Index: o.Index, CreateIndex: o.CreateIndex}
}

// MostNamed is how many keys a line of the log names.
const MostNamed = 20

// tellLoss logs the keys that an update deletes, up to MostNamed of them.
func (m *Mirror) tellLoss(changes []store.Change) {
	var keys []string
	gone := 0
	for i := range changes {
		if !changes[i].Deleted {
			continue
		}
		if gone++; gone <= MostNamed {
			keys = append(keys, changes[i].Key())
		}
	}
	if gone > 0 {
		m.log.Info("objects were deleted from the policy", "objects", gone, "keys", strings.Join(keys, ", "))
	}
}

// applyLocked takes one change over. m.mu is held.
func (m *Mirror) applyLocked(c *store.Change) {
	old := m.kinds[c.Kind][c.Name]
	if old != nil {
		m.status.Objects--
		m.status.Held -= boolInt(old.Held)
	}
	if c.Deleted {
		delete(m.kinds[c.Kind], c.Name)
		return
	}
	if m.kinds[c.Kind] == nil {
		m.kinds[c.Kind] = map[string]*store.Object{}
	}
	m.kinds[c.Kind][c.Name] = &c.Object
	m.status.Objects++
	m.status.Held += boolInt(c.Held)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Everything returns the content as the changes of a Reset.
func (m *Mirror) Everything() []store.Change {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]store.Change, 0, m.status.Objects)
	for _, objects := range m.kinds {
		for _, o := range objects {
			all = append(all, store.Change{Object: *o})
		}
	}
	return all
}

// OfKind yields the objects of a kind, in no order. They must not be changed, and
// the loop must not call Publish.
func (m *Mirror) OfKind(kind string) iter.Seq[*store.Object] {
	return func(yield func(*store.Object) bool) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		for _, o := range m.kinds[kind] {
			if !yield(o) {
				return
			}
		}
	}
}

// HeldObject returns the object if it is held.
func (m *Mirror) HeldObject(kind, name string) (store.Object, bool) {
	o, err := m.Get(kind, name)
	return o, err == nil && o.Held
}

// Held returns the objects that are held, ordered by key.
func (m *Mirror) Held() []store.Object {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var held []store.Object
	if m.status.Held == 0 {
		return nil
	}
	for _, objects := range m.kinds {
		for _, o := range objects {
			if o.Held {
				held = append(held, *o)
			}
		}
	}
	slices.SortFunc(held, func(a, b store.Object) int { return strings.Compare(a.Key(), b.Key()) })
	return held
}

// HeldProblem tells people which objects are held, and why; "" if none is.
func (m *Mirror) HeldProblem(place string) string {
	held := m.Held()
	if len(held) == 0 {
		return ""
	}
	var keys []string
	for i := range held[:min(len(held), MostNamed)] {
		keys = append(keys, held[i].Key())
	}
	if len(held) > MostNamed {
		keys = append(keys, "...")
	}
	return fmt.Sprintf("%d objects are in force that %s does not show (%s): %s", len(held), place, strings.Join(keys, ", "), held[0].Why)
}

// List returns the objects of a kind, ordered by name. It fails with
// store.ErrUnavailable as long as nothing was published.
func (m *Mirror) List(kind string) ([]store.Object, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.status.Loaded {
		return nil, fmt.Errorf("%w: nothing loaded yet", store.ErrUnavailable)
	}
	objects := make([]store.Object, 0, len(m.kinds[kind]))
	for _, o := range m.kinds[kind] {
		objects = append(objects, *o)
	}
	slices.SortFunc(objects, func(a, b store.Object) int { return strings.Compare(a.Name, b.Name) })
	return objects, nil
}

// Get returns an object. It fails with store.ErrNotFound, or with
// store.ErrUnavailable as long as nothing was published.
func (m *Mirror) Get(kind, name string) (store.Object, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.status.Loaded {
		return store.Object{}, fmt.Errorf("%w: nothing loaded yet", store.ErrUnavailable)
	}
	if o := m.kinds[kind][name]; o != nil {
		return *o, nil
	}
	return store.Object{}, store.ErrNotFound
}

// CheckEmptying refuses, with store.ErrInvalid, the write that would delete every one of several
// objects at once: the other nodes would not believe it.
func (m *Mirror) CheckEmptying(ops []store.Op) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	gone, cleared := 0, m.marks[store.ClearedName] != 0
	for _, op := range ops {
		switch {
		case op.Kind == "":
			cleared = cleared || op.Name == store.ClearedName && op.Verb == store.Put
		case op.Verb == store.Put:
			return nil
		case op.Verb == store.Delete && m.kinds[op.Kind][op.Name] != nil:
			gone++
		}
	}
	if gone > 1 && gone == m.status.Objects && !cleared {
		return fmt.Errorf("%w: it would delete all %d objects at once; put %s first to say that this is meant",
			store.ErrInvalid, gone, store.ClearedName)
	}
	return nil
}

// Contact notes that the store answered now.
func (m *Mirror) Contact() {
	m.mu.Lock()
	m.status.Live, m.status.Contact = true, time.Now()
	m.mu.Unlock()
	if m.kept != nil {
		m.kept.contact(time.Now())
	}
}

// Trouble notes that the store cannot be read, or holds objects, and why. It
// reports whether this is news; "" is the end of the trouble.
func (m *Mirror) Trouble(problem string, live bool) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news = problem != m.reported
	m.reported, m.status.Problem, m.status.Live = problem, problem, live
	return news
}

// SetNotes sets what is told beside the problems.
func (m *Mirror) SetNotes(notes []string) {
	m.mu.Lock()
	m.status.Notes = notes
	m.mu.Unlock()
}

// Index is that of the newest change that was published; 0 = none.
func (m *Mirror) Index() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.status.Index
}

// Status returns the condition of the store.
func (m *Mirror) Status() store.Status {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.status
}
