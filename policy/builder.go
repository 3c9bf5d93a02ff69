package policy

import (
	"encoding/hex"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"lictor/policy/internal/packed"
)

// Change is one object of the store that is new, changed or gone.
type Change struct {
	Key     Key
	Index   uint64 // the store's, of this version of the object
	Created uint64 // the store's, when the key came into being; 0 if it does not know. Settles ties: the older wins
	Object  Object // nil = the key is gone, unless Err says that it can not be read
	Err     error  // what is wrong, usually Problems; Object then holds what could be read, if anything
	Lost    Lost   // with Err: what Object does not hold

	contained bool // working it in ended in a panic, see [Builder.work]
}

// Object returns what is in force of a key, nil if nothing is, or if that can be read
// in part only. It must not be changed.
func (b *Builder) Object(k Key) Object {
	if o := b.objects[k]; o != nil && !o.broken {
		return o.Object
	}
	return nil
}

// Builder turns changes into Sets. It belongs to one goroutine; the Sets do not.
type Builder struct {
	set     Set // the next one, always complete
	objects map[Key]*object

	// What compiling the small tables needs; not part of any Set.
	acls     map[string]map[string]*liveACL  // by API, then id
	subjects map[subject]map[string]*liveACL // only with C6
	plugins  map[string]*livePlugin
	mappings map[string]*mappedPlugins
	groups   map[string]*pluginGroup
	routing  map[string]*liveAPI
	numbers  uint32 // of lists, given out so far

	entries [2]packed.Batch // of lists that came and went since the last Set; blacklists, whitelists
	dirty   dirty
	fresh   []*Tally // of what came into force since Stamp

	options Options
	tables  func(*Builder) // brings the small tables up to date: (*Builder).compileDirty, or a test's, which panics
}

// object is a stored object in force, or what stands in for one that can not be
// read.
type object struct {
	Object  // nil: ignored
	index   uint64
	created uint64
	digest  [32]byte
	broken  bool     // stands in (X6)
	notes   Problems // what in it can match nothing

	tally *Tally        // of a rule; nil of what is none
	used  *atomic.Int64 // when a credential was shown last, in seconds since 1970; nil of what is none

	// Of a List.
	number   uint32 // by which its entries name it; 0 = it has none yet
	twice    bool   // some entry is there more than once
	byAddr   int    // entries by address or service
	services int    // entries by service
}

// dirty says which tables the changes so far make out of date.
type dirty struct {
	apis     map[string]bool // whose ACLs
	names    map[string]bool // of APIs of which rules may have come to know, or ceased to
	subjects map[subject]bool
	plugins  bool
	routes   bool
	closed   bool
}

func newDirty() dirty {
	return dirty{apis: make(map[string]bool), names: make(map[string]bool), subjects: make(map[subject]bool)}
}

// Options are what the configuration says about the policy.
type Options struct {
	Prefix        string // of keys in explanations, "lictor/"
	BindConsumers bool   // C6

	// Panicked is told the value of each panic that Apply contains, by the deferred
	// function that recovered it, so that the stack is still that of the panic. It
	// must not panic. Nil: only the Rejection tells of it.
	Panicked func(value any)
}

// NewBuilder returns a builder of an empty policy.
func NewBuilder(o Options) *Builder {
	return &Builder{
		options: o, tables: (*Builder).compileDirty, dirty: newDirty(),
		set: Set{prefix: o.Prefix, bind: o.BindConsumers, counts: map[Kind]int{}, misses: [2]*Tally{new(Tally), new(Tally)}},

		objects: make(map[Key]*object), acls: make(map[string]map[string]*liveACL),
		subjects: make(map[subject]map[string]*liveACL), plugins: make(map[string]*livePlugin),
		mappings: make(map[string]*mappedPlugins), groups: make(map[string]*pluginGroup), routing: make(map[string]*liveAPI),
	}
}

// Apply works changes in, in their order, and returns the Set of all that is
// now in force, with what these changes brought that is not. index is the
// store's as of the changes. A bad value does not undo a former good one and
// never opens anything (X6), nor does one that makes a step panic: it counts as
// one that cannot be read. The cost is that of the changes.
func (b *Builder) Apply(index uint64, changes []Change) (*Set, []*Rejection) {
	b.set.counts = maps.Clone(b.set.counts)
	rejections := b.work(changes)
	b.fileEntries()
	b.set.index, b.set.digits = index, hex.EncodeToString(b.set.sum.bytes()[:4])
	next := b.set
	return &next, rejections
}

// Keys returns the keys of all objects known, readable or not, so that a full
// read of the store can tell what is gone.
func (b *Builder) Keys() []Key {
	keys := slices.Collect(maps.Keys(b.objects))
	b.set.rejected.All(func(k Key, _ *Rejection) bool {
		if b.objects[k] == nil {
			keys = append(keys, k)
		}
		return true
	})
	return keys
}

// apply enters one change into the objects and tables, and returns what is wrong
// with it, nil if nothing is.
func (b *Builder) apply(c *Change) *Rejection {
	old := b.objects[c.Key]
	if c.Err == nil && c.Object == nil {
		b.reject(c.Key, nil)
		b.replace(c.Key, old, nil)
		return nil
	}
	wrong := problemsOf(c)
	next := &object{Object: c.Object, index: c.Index, created: c.Created}
	var read lines
	if l, ok := c.Object.(*List); ok && len(wrong) == 0 {
		read = readLines(l)
		wrong = read.whole
		next.keepList(l, &read)
	}
	if len(wrong) > 0 {
		r := &Rejection{Key: c.Key, Path: b.path(c.Key), Index: c.Index, Problems: wrong}
		if r.Kept = old != nil && !old.broken; !r.Kept {
			next = standIn(c)
			r.Closes = next.Object != nil
			b.replace(c.Key, old, next)
		}
		b.reject(c.Key, r)
		return r
	}
	next.digest = digestOf(c.Key, next)
	next.notes = notesOf(c.Key, c.Object, read.notes)
	var r *Rejection
	if len(read.partly) > 0 {
		r = &Rejection{Key: c.Key, Path: b.path(c.Key), Index: c.Index, Partial: true, Problems: read.partly}
	}
	b.reject(c.Key, r)
	b.replace(c.Key, old, next)
	return r
}

// keepList notes what is known of a list that was read. The lines on which its
// entries stand were for what is wrong with them.
func (o *object) keepList(l *List, r *lines) {
	kept := *l
	kept.Lines = nil
	o.Object, o.twice, o.byAddr, o.services = &kept, r.twice, r.byAddr, r.services
}

// problemsOf returns what is wrong with a changed value as a whole, nil if nothing is.
func problemsOf(c *Change) Problems {
	switch p, ok := errors.AsType[Problems](c.Err); {
	case ok:
		return p
	case c.Err != nil:
		return Problems{{Text: c.Err.Error()}}
	case c.Object.Kind() != c.Key.Kind:
		return Problems{{Text: "is an object of the kind " + string(c.Object.Kind())}}
	}
	return Check(c.Key.Name, c.Object)
}

func (b *Builder) path(k Key) string { return b.set.prefix + k.String() }

// reject records the rejection of a key, or with nil that it has none.
func (b *Builder) reject(k Key, r *Rejection) {
	h := k.hash()
	if r == nil {
		b.set.rejected = b.set.rejected.Without(h, k)
	} else {
		b.set.rejected = b.set.rejected.With(h, k, r)
	}
}

// replace takes the former object out of every table and puts the next one in.
func (b *Builder) replace(k Key, old, next *object) {
	if old != nil {
		b.set.sum.minus(old.digest)
		if !old.broken {
			b.set.counts[k.Kind]--
		}
		delete(b.objects, k)
	}
	if next != nil {
		b.keepCount(k, old, next)
		b.set.sum.plus(next.digest)
		if !next.broken {
			b.set.counts[k.Kind]++
		}
		b.objects[k] = next
	}
	b.remember(k, old, next)
	if k.Kind == KindBlacklist || k.Kind == KindWhitelist {
		b.relist(k, old, next)
		return
	}
	if old != nil && old.Object != nil {
		b.link(k, old, false)
	}
	if next != nil && next.Object != nil {
		b.link(k, next, true)
	}
}

// compileDirty compiles the small tables that b.dirty names anew.
func (b *Builder) compileDirty() {
	for api := range b.dirty.apis {
		b.dirty.names[api] = true
		if acls := b.acls[api]; len(acls) > 0 {
			b.set.acls = b.set.acls.With(hashString(api), api, compileACLs(acls))
		} else {
			delete(b.acls, api)
			b.set.acls = b.set.acls.Without(hashString(api), api)
		}
	}
	for s := range b.dirty.subjects {
		if acls := b.subjects[s]; len(acls) > 0 {
			b.set.bindings = b.set.bindings.With(s.hash(), s, compileBinding(acls))
		} else {
			delete(b.subjects, s)
			b.set.bindings = b.set.bindings.Without(s.hash(), s)
		}
	}
	if b.dirty.plugins || b.set.plugins == nil {
		former := b.set.plugins
		b.set.plugins, b.set.demands = b.compilePlugins()
		maps.Insert(b.dirty.names, names(former))
		maps.Insert(b.dirty.names, names(b.set.plugins))
		b.set.tokenRules = b.compileTokenRules()
	}
	for name := range b.dirty.names {
		b.respell(name)
	}
	if b.dirty.routes {
		b.set.routes, b.set.parts = b.compileRoutes()
	}
	if b.dirty.closed {
		b.set.closed = b.set.compileClosed()
	}
}

// names yields the names of the APIs that plugins are filed under.
func names(plugins map[string]*apiPlugins) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for api := range plugins {
			if !yield(api, true) {
				return
			}
		}
	}
}

// remember keeps the objects that [Set.Closings] and [Set.Notes] report.
func (b *Builder) remember(k Key, old, next *object) {
	h := k.hash()
	if old != nil && old.broken || next != nil && next.broken {
		set(&b.set.broken, h, k, next, next != nil && next.broken && next.Object != nil)
		b.dirty.closed = true
	}
	set(&b.set.noted, h, k, next, next != nil && !next.broken && next.worthNoting())
}

// sortedValues yields the values of a map in the order of the keys, so that the
// order of loading does not show.
func sortedValues[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
