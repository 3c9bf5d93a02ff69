// Package store keeps the objects of the policy where operators write them: in
// Consul KV, in a directory of documents, or in memory.
//
// A store knows kinds, names and bytes; what the bytes mean, and which kinds
// there are, is the caller's business. Three promises hold in every form:
//
//   - A watch delivers what changed, in pieces that were written in one piece:
//     no update shows half of a [Store.Write] or of a Consul transaction.
//   - Trouble is not an empty policy. A store that cannot be read, may not be
//     read, or from which everything vanishes at once leaves the last good
//     objects in force, loudly; see [Object.Held] and [ClearedName].
//   - A write is compare-and-set and all or nothing, and what it wrote is in
//     force on this node when it returns.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Forms of the store, as [Store.Kind] names them.
const (
	KindConsul = "consul"
	KindFile   = "file"
	KindMemory = "memory"
)

// Limits of one Write. They are Consul's, and hold in every form, so that what
// works on one store works on the others.
const (
	MaxOps   = 64
	MaxBytes = 512 << 10
)

// Object is one document. Value must not be changed.
type Object struct {
	Kind string // "" for a document that lies beside the kinds
	Name string // for a hand-written one anything, slashes included
	// Value is nil only in a deletion.
	Value []byte
	// Index changes with every write of the object and grows over time. It is
	// the ETag. The objects of one Write share it.
	Index uint64
	// CreateIndex orders objects by age. The directory keeps it only while the
	// process lives; afterwards it is Index.
	CreateIndex uint64
	// Held marks an object that is in force although the store no longer shows
	// it, because the way it vanished is not believed, and Why says why. It comes
	// to rest when the store shows it again or when a mark for it appears. It is
	// read and written like any other: a write of it brings it back, at Index or
	// with Absent, and its deletion makes it gone for good, on every node.
	Held bool
	Why  string
	// Former is the last good value, while Value is not good; nil if there is
	// none, or if Value is good. It comes in a Reset only: who follows the store
	// since then knows it.
	Former *Version
	// Bad: Value is not good, by the word of the watch's fn. The store sets it.
	Bad bool
}

// Version is a value that an object had.
type Version struct {
	Value              []byte
	Index, CreateIndex uint64
}

// Key is kind/name, or the name alone for an object of no kind.
func (o *Object) Key() string { return Key(o.Kind, o.Name) }

// Change is an object that is new, different, or deleted.
type Change struct {
	Object
	Deleted bool
}

// Update is what changed since the one before, in one piece.
type Update struct {
	// Changes has at most one change of an object, in no order. A change may
	// differ in Index, CreateIndex or Held alone.
	Changes []Change
	// Reset: Changes is the whole content and replaces what was there.
	Reset bool
	// LastGood: the content comes from the snapshot of an earlier life, the
	// store has not answered yet. The first update without it, which may be
	// empty, confirms or corrects the content.
	LastGood bool
	// Index of the newest change known. It goes back if the store lost its history.
	Index uint64
}

// Verb is what an [Op] does.
type Verb uint8

const (
	Put    Verb = iota // write Value
	Delete             // remove the object; that it is not there is no error
	Verify             // only Check, write nothing
)

// Check is the condition of an [Op]. The zero value is always met.
type Check struct {
	Absent bool   // the object must not exist
	Index  uint64 // if not 0: the object must exist and have this Index
}

// Op is one step of a [Store.Write].
type Op struct {
	Kind, Name string
	Verb       Verb
	Value      []byte
	Check      Check
}

// Status is a snapshot of a store's condition.
type Status struct {
	Kind     string
	Loaded   bool      // objects have been delivered, from the store or the snapshot
	LastGood bool      // they are from the snapshot, see [Update.LastGood]
	Live     bool      // the last exchange with the store went well
	Contact  time.Time // of that exchange; until the first one, of an earlier life
	Index    uint64
	Objects  int
	Held     int      // objects in force that the store does not show
	Problem  string   // what keeps the store from being read, or why objects are held; "" if nothing
	Notes    []string // what else an operator should know, and keeps nothing from working
}

// Store is where the objects of the policy live.
type Store interface {
	// Kind is one of the Kind constants.
	Kind() string

	// Watch follows the store until ctx ends and returns its error. It calls fn
	// with one update after the other, the first being a Reset. fn returns the
	// keys whose new values are not good: the last good value of each is kept
	// beside them, also in data_dir, so that a restart does not open what it
	// closed. fn must not call Write. Only one Watch may run at a time.
	Watch(ctx context.Context, fn func(Update) (bad []string)) error

	// Refresh returns when what is in the store now has been delivered. It fails
	// with ErrUnavailable if the store cannot be asked.
	Refresh(ctx context.Context) error

	// List returns the objects of a kind as last delivered, by name, those that
	// are held among them. It fails with ErrUnavailable if nothing was delivered
	// yet.
	List(ctx context.Context, kind string) ([]Object, error)

	// Held returns the objects of all kinds that are held, by key.
	Held() []Object

	// Get returns the object as it is in the store now, or as it is held; if the
	// store cannot be asked, as last delivered. It fails with ErrNotFound, or with
	// ErrUnavailable if neither is possible.
	Get(ctx context.Context, kind, name string) (Object, error)

	// Write does all ops or none. It returns the index of the written objects
	// once they are stored and, while a Watch runs, its fn has returned with
	// them. Errors: *ConflictError, ErrInvalid, ErrTooLarge, ErrUnavailable, with
	// which nothing was written; ErrNotSeen, with which the write stands; and
	// ErrUnknown.
	Write(ctx context.Context, ops []Op) (index uint64, err error)

	Status() Status
}

// BeatFor is how often a store shows contact so that it is three times within
// maxStale, however its looks and a query fall; most is the longest, and what 0 means.
func BeatFor(maxStale, most time.Duration) time.Duration {
	if maxStale <= 0 {
		return most
	}
	return max(min(most, maxStale/4), 20*time.Millisecond)
}

// Errors of a store; they are wrapped in what tells more.
var (
	ErrNotFound    = errors.New("no such object")
	ErrUnavailable = errors.New("the policy store is not available")
	ErrInvalid     = errors.New("invalid write")
	ErrTooLarge    = errors.New("write too large")
	ErrNotSeen     = errors.New("written, but not yet seen by this node")
	ErrUnknown     = errors.New("it is not known whether this was written")
)

// ConflictError says that the check of an op was not met; nothing was written.
type ConflictError struct {
	Op Op
}

// Error implements error.
func (e *ConflictError) Error() string {
	switch {
	case e.Op.Check.Absent:
		return fmt.Sprintf("%s already exists", Key(e.Op.Kind, e.Op.Name))
	default:
		return fmt.Sprintf("%s is no longer at index %d", Key(e.Op.Kind, e.Op.Name), e.Op.Check.Index)
	}
}
