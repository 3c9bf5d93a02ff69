package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// mirror is the content as last delivered to the watch: the part that the three
// forms have in common.
type mirror struct {
	log  hclog.Logger
	kept *lastGood // nil: no snapshot

	mu       sync.RWMutex // guards what follows; not held while deliver runs
	kinds    map[string]map[string]*Object
	status   Status
	marks    marks                 // those that are there
	deliver  func(Update) []string // nil: no watch runs
	reported string                // the problem that was logged last
}

func newMirror(kind string, log hclog.Logger, kept *lastGood) *mirror {
	return &mirror{log: log, kept: kept, kinds: map[string]map[string]*Object{}, status: Status{Kind: kind}}
}

// begin starts a watch. What was kept of an earlier life is delivered at once,
// or what an earlier watch of this one had.
func (m *mirror) begin(fn func(Update) []string) error {
	m.mu.Lock()
	if m.deliver != nil {
		m.mu.Unlock()
		return errors.New("store: Watch is already running")
	}
	m.deliver = fn
	again := m.status.Loaded
	m.mu.Unlock()
	if again {
		u := Update{Changes: m.everything(), Reset: true, LastGood: m.Status().LastGood, Index: m.index()}
		m.judge(&u, fn(u), nil)
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
	m.publish(Update{Changes: content.changes, Reset: true, LastGood: true, Index: content.index})
	return nil
}

// end stops the watch that began.
func (m *mirror) end() {
	m.mu.Lock()
	m.deliver = nil
	m.mu.Unlock()
}

// publish takes the changes over and delivers them. An update that changes
// nothing is delivered only if it is the first one or confirms what was kept.
func (m *mirror) publish(u Update) {
	m.mu.Lock()
	if !m.status.Loaded {
		u.Reset = true
	}
	silent := len(u.Changes) == 0 && !u.Reset && m.status.LastGood == u.LastGood
	former := make(map[string]*Version)
	for i := range u.Changes {
		c := &u.Changes[i]
		if v := m.kinds[c.Kind][c.Name].good(); v != nil && !c.Deleted && !u.Reset {
			former[c.Key()] = v
		}
		m.apply(c)
	}
	m.status.Loaded, m.status.LastGood, m.status.Index = true, u.LastGood, u.Index
	deliver := m.deliver
	m.mu.Unlock()
	if silent {
		return
	}
	m.tellLoss(u.Changes)
	var bad []string
	if deliver != nil {
		bad = deliver(u)
	}
	m.judge(&u, bad, former)
	if m.kept != nil && !u.LastGood {
		m.kept.add(u)
	}
}

// judge notes which values of an update are not good, and keeps beside each
// the last good one: former, or what the update itself brought of it. What the
// reader of the update has is not touched.
func (m *mirror) judge(u *Update, bad []string, former map[string]*Version) {
	if len(bad) == 0 && len(former) == 0 && !u.Reset {
		return
	}
	isBad := make(map[string]bool, len(bad))
	for _, key := range bad {
		isBad[key] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u.Changes = slices.Clone(u.Changes)
	for i := range u.Changes {
		c := &u.Changes[i]
		key := c.Key()
		if c.Deleted || c.bad == isBad[key] && (former[key] == nil || !isBad[key]) {
			continue
		}
		if c.bad = isBad[key]; !c.bad {
			c.Former = nil
		} else if former[key] != nil {
			c.Former = former[key]
		}
		m.kinds[c.Kind][c.Name] = &c.Object
	}
}

// good returns the last good value of an object, nil if there is none.
func (o *Object) good() *Version {
	switch {
	case o == nil:
		return nil
	case o.bad:
		return o.Former
	}
	return &Version{Value: o.Value, Index: o.Index, CreateIndex: o.CreateIndex}
}

// mostNamed is how many keys a line of the log names.
const mostNamed = 20

// tellLoss logs what is not in force any more: no object goes without a line.
func (m *mirror) tellLoss(changes []Change) {
	var keys []string
	gone := 0
	for i := range changes {
		if !changes[i].Deleted {
			continue
		}
		if gone++; gone <= mostNamed {
			keys = append(keys, changes[i].Key())
		}
	}
	if gone > 0 {
		m.log.Info("objects were deleted from the policy", "objects", gone, "keys", strings.Join(keys, ", "))
	}
}

// apply takes one change over. The caller holds mu.
func (m *mirror) apply(c *Change) {
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
		m.kinds[c.Kind] = map[string]*Object{}
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

// everything returns the content as the changes of a Reset.
func (m *mirror) everything() []Change {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]Change, 0, m.status.Objects)
	for _, objects := range m.kinds {
		for _, o := range objects {
			all = append(all, Change{Object: *o})
		}
	}
	return all
}

// heldObject returns the object if it is held.
func (m *mirror) heldObject(kind, name string) (Object, bool) {
	o, err := m.get(kind, name)
	return o, err == nil && o.Held
}

// Held returns the objects that are held, by key.
func (m *mirror) Held() []Object {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var held []Object
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
	slices.SortFunc(held, func(a, b Object) int { return strings.Compare(a.Key(), b.Key()) })
	return held
}

// heldProblem tells which objects are held, and why; "" if none is.
func (m *mirror) heldProblem(place string) string {
	held := m.Held()
	if len(held) == 0 {
		return ""
	}
	var keys []string
	for i := range held[:min(len(held), mostNamed)] {
		keys = append(keys, held[i].Key())
	}
	if len(held) > mostNamed {
		keys = append(keys, "...")
	}
	return fmt.Sprintf("%d objects are in force that %s does not show (%s): %s", len(held), place, strings.Join(keys, ", "), held[0].Why)
}

func (m *mirror) list(kind string) ([]Object, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.status.Loaded {
		return nil, fmt.Errorf("%w: nothing loaded yet", ErrUnavailable)
	}
	objects := make([]Object, 0, len(m.kinds[kind]))
	for _, o := range m.kinds[kind] {
		objects = append(objects, *o)
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return objects, nil
}

func (m *mirror) get(kind, name string) (Object, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.status.Loaded {
		return Object{}, fmt.Errorf("%w: nothing loaded yet", ErrUnavailable)
	}
	if o := m.kinds[kind][name]; o != nil {
		return *o, nil
	}
	return Object{}, ErrNotFound
}

// checkEmptying refuses the write that would delete every one of several
// objects at once: the other nodes would not believe it.
func (m *mirror) checkEmptying(ops []Op) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	gone, cleared := 0, m.marks[ClearedName] != 0
	for _, op := range ops {
		switch {
		case op.Kind == "":
			cleared = cleared || op.Name == ClearedName && op.Verb == Put
		case op.Verb == Put:
			return nil
		case op.Verb == Delete && m.kinds[op.Kind][op.Name] != nil:
			gone++
		}
	}
	if gone > 1 && gone == m.status.Objects && !cleared {
		return fmt.Errorf("%w: it would delete all %d objects at once; put %s first to say that this is meant",
			ErrInvalid, gone, ClearedName)
	}
	return nil
}

// contact notes that the store answered.
func (m *mirror) contact() {
	m.mu.Lock()
	m.status.Live, m.status.Contact = true, time.Now()
	m.mu.Unlock()
	if m.kept != nil {
		m.kept.contact(time.Now())
	}
}

// trouble notes that the store cannot be read, or holds objects, and why. It
// reports whether this is news; "" is the end of the trouble.
func (m *mirror) trouble(problem string, live bool) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news = problem != m.reported
	m.reported, m.status.Problem, m.status.Live = problem, problem, live
	return news
}

// setNotes sets what is told beside the problems.
func (m *mirror) setNotes(notes []string) {
	m.mu.Lock()
	m.status.Notes = notes
	m.mu.Unlock()
}

func (m *mirror) index() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.status.Index
}

// Status returns the condition of the store.
func (m *mirror) Status() Status {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.status
}
